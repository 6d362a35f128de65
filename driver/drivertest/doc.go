// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package drivertest proves that a detector driver keeps the contract of package driver. A driver's author runs it from
// a test:
//
//	func TestContract(t *testing.T) {
//		drivertest.Check(t, factory)
//	}
//
// The package also has drivers that misbehave or record, for tests of what surrounds a detector.
package drivertest

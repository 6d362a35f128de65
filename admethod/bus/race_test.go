// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build race

package bus_test

const raceDetector = true

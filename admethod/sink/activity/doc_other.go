// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

// Package activity is the sink that runs a script when an anomaly starts. It needs process groups, which this system
// does not have: nothing is registered here.
package activity

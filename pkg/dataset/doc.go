// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package dataset reads and writes recorded readings. It has a plain type of its own for a reading, so that it depends
// on nothing else of the module.
package dataset

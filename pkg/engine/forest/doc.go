// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forest isolates unusual points with random trees, fitted once.
package forest

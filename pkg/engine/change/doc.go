// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package change finds changes of a stream's level: steps from one reading to the next ([Jump]) and departures too slow
// to see in any single reading ([CUSUM], [SelfStarting]).
package change

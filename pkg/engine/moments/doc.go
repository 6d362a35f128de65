// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package moments estimates the level and the scale of a stream, one reading at a time and without allocation.
//
// [EWMA] forgets exponentially, [Rolling] keeps a window and answers with median and MAD. Both answer in terms of a [Prediction], which turns a reading into a standard normal deviate and accounts for how little
// the estimate itself is known. [Resolution] learns the smallest step of a stream, below which no scale is believable.
//
// Readings must be finite and at most [MaxMagnitude] in size, so that squares stay finite; see [Clamp].
package moments

// MaxMagnitude is the largest reading that the estimators take.
const MaxMagnitude = 1e150

// Clamp bounds x to ±MaxMagnitude. NaN stays NaN.
func Clamp(x float64) float64 { return min(max(x, -MaxMagnitude), MaxMagnitude) }

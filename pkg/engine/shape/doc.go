// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package shape tells how unlike anything before it the shape of the newest readings is.
//
// A [Profile] compares the window that a reading ends with the earlier windows of a bounded past and finds the nearest:
// the newest value of the left matrix profile (C.-C. M. Yeh et al., Matrix Profile I: All Pairs Similarity Joins for
// Time Series, ICDM 2016, section 3), kept up to date by running sums, one for each lag, in O(memory) a reading. There
// are two distances, as each sees what the other does not: with the mean of both windows removed, in the unit of the
// stream (a shape that is known, but larger), and z-normalised, between 0 and 2 (a shape that is not known).
//
// A [Detector] holds a profile of the readings, and where wanted one of the means of two, against what their distances
// were before, and so makes a tail probability of them.
//
// Windows that overlap the newest one are not looked at. A stream may change its unit, offset and sign, and nothing
// changes. No clock is read; a gap in the readings is not seen.
package shape

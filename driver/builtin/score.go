// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
)

// The score of a normal deviate is looked up in a table, linear between its nodes. The error is less than 1e-5 of a
// score; beyond the table it is computed.
const (
	scoreNodes = 64 // to a standard deviation
	scoreSpan  = 8  // standard deviations
)

var scoreTable = func() (t [scoreNodes*scoreSpan + 1]float64) {
	for i := range t {
		t[i] = exactScore(float64(i) / scoreNodes)
	}
	return t
}()

// exactScore is the score of the two-sided tail of the standard normal law beyond ±z, for z ≥ 0.
func exactScore(z float64) float64 { return driver.TailScore(math.Erfc(z / math.Sqrt2)) }

// normalScore is exactScore, from the table.
func normalScore(z float64) float64 {
	if !(z < scoreSpan) {
		return exactScore(z)
	}
	u := z * scoreNodes
	i := int(u)
	lo := scoreTable[i]
	return lo + (u-float64(i))*(scoreTable[i+1]-lo)
}

// deviate2 is the square of the normal deviate that scores s, the inverse of exactScore.
func deviate2(s float64) float64 {
	z := math.Sqrt2 * math.Erfcinv(driver.TailProbability(s))
	return z * z
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// overshoot is by how much a Gaussian random walk passes a boundary on average, in standard deviations: −ζ(1/2)/√(2π).
const overshoot = 0.5825971579390106

// CUSUM is a two-sided cumulative sum of standardised readings. It answers fastest to a shift of twice the slack.
//
// Source: E. S. Page, Continuous inspection schemes, Biometrika 41, 1954.
type CUSUM struct {
	slack, limit float64
	up, down     float64
}

// NewCUSUM returns a sum with the given slack (in standard deviations; 0.5 is customary). Neither sum grows past limit,
// so that a departure that ends is forgotten within limit/slack readings.
func NewCUSUM(slack, limit float64) CUSUM { return CUSUM{slack: slack, limit: limit} }

// Update takes a standardised reading and returns the larger sum.
func (c *CUSUM) Update(z float64) float64 {
	c.up = min(max(c.up+z-c.slack, 0), c.limit)
	c.down = min(max(c.down-z-c.slack, 0), c.limit)
	return max(c.up, c.down)
}

// Up is the sum of departures upwards.
func (c *CUSUM) Up() float64 { return c.up }

// Down is the sum of departures downwards.
func (c *CUSUM) Down() float64 { return c.down }

// TailProbability is the share of readings, independent and standard normal, at which one of the two sums is at least
// h: 2 exp(−2k(h + 0.583)), at most 1.
//
// Source: D. Siegmund, Sequential Analysis, Springer, 1985, chapter VIII: the stationary sum is the maximum of a random
// walk with drift −k, with the correction for the overshoot of its boundary of chapter X.
func (c *CUSUM) TailProbability(h float64) float64 {
	return min(2*math.Exp(-2*c.slack*(h+overshoot)), 1)
}

// EncodeState writes both sums; slack and limit are configuration.
func (c *CUSUM) EncodeState(w *state.Writer) {
	w.Float(c.up)
	w.Float(c.down)
}

// DecodeState reads what EncodeState wrote.
func (c *CUSUM) DecodeState(r *state.Reader) {
	c.up = min(r.Min("upper sum", 0), c.limit)
	c.down = min(r.Min("lower sum", 0), c.limit)
}

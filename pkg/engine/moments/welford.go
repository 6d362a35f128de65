// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments

import "github.com/kubeedge/edge-anomaly/pkg/engine/state"

// Welford is the mean and variance of all readings so far. The zero value is ready for use.
//
// Source: B. P. Welford, Note on a Method for Calculating Corrected Sums of Squares and Products, Technometrics 4(3),
// 1962.
type Welford struct {
	n        uint64
	mean, m2 float64
}

// Update takes a reading.
func (v *Welford) Update(x float64) {
	v.n++
	d := x - v.mean
	v.mean += d / float64(v.n)
	v.m2 += d * (x - v.mean)
}

// Count is the number of readings so far.
func (v *Welford) Count() uint64 { return v.n }

// Mean is the mean; 0 before the first reading.
func (v *Welford) Mean() float64 { return v.mean }

// Variance is the unbiased variance; 0 before the second reading.
func (v *Welford) Variance() float64 {
	if v.n < 2 {
		return 0
	}
	return v.m2 / float64(v.n-1)
}

// EncodeState writes what was learned.
func (v *Welford) EncodeState(w *state.Writer) {
	w.Uint(v.n)
	w.Float(v.mean)
	w.Float(v.m2)
}

// DecodeState reads what EncodeState wrote.
func (v *Welford) DecodeState(r *state.Reader) {
	v.n = r.Readings()
	v.mean = readMagnitude(r, "mean")
	v.m2 = r.Min("sum of squares", 0)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// EWMA is an exponentially weighted mean and variance. A reading k steps old weighs (1−alpha)^k; until 1/alpha readings
// are in, all of them weigh the same, so that the estimates are unbiased from the start. The zero value never forgets.
//
// Source: T. Finch, Incremental calculation of weighted mean and variance, University of Cambridge, 2009, section 9.
type EWMA struct {
	alpha    float64
	mean     float64
	variance float64 // weighted population variance
	weight2  float64 // sum of the squared weights; 1/weight2 is the effective number of readings (Kish)
	n        uint64
}

// NewEWMA returns an estimator that forgets at rate alpha, 0 to 1. Alpha 2/(n+1) remembers about as long as a window of
// n readings.
func NewEWMA(alpha float64) EWMA { return EWMA{alpha: min(max(alpha, 0), 1)} }

// Update takes a reading.
func (e *EWMA) Update(x float64) {
	e.n++
	g := e.alpha
	if n := float64(e.n); n*g < 1 {
		g = 1 / n
	}
	d := x - e.mean
	e.mean += g * d
	e.variance = (1 - g) * (e.variance + g*d*d)
	e.weight2 = (1-g)*(1-g)*e.weight2 + g*g
}

// Count is the number of readings so far.
func (e *EWMA) Count() uint64 { return e.n }

// Mean is the weighted mean; 0 before the first reading.
func (e *EWMA) Mean() float64 { return e.mean }

// Variance is the unbiased weighted variance; 0 before the second reading.
func (e *EWMA) Variance() float64 {
	if e.weight2 >= 1 {
		return 0
	}
	return e.variance / (1 - e.weight2)
}

// Predict is what is known about the next reading. Its scale is at least floor.
func (e *EWMA) Predict(floor float64) Prediction {
	if e.weight2 >= 1 || e.n == 0 {
		return Prediction{Mean: e.mean, variance: floor * floor, doubt: math.Inf(1)}
	}
	r := 1 / (1 - e.weight2)
	return Prediction{
		Mean:     e.mean,
		variance: max(e.variance*(1+e.weight2)*r, floor*floor),
		doubt:    0.5 * e.weight2 * r,
	}
}

// EncodeState writes what was learned; alpha is configuration.
func (e *EWMA) EncodeState(w *state.Writer) {
	w.Uint(e.n)
	w.Float(e.mean)
	w.Float(e.variance)
	w.Float(e.weight2)
}

// DecodeState reads what EncodeState wrote.
func (e *EWMA) DecodeState(r *state.Reader) {
	e.n = r.Readings()
	e.mean = readMagnitude(r, "mean")
	e.variance = r.Min("variance", 0)
	e.weight2 = r.Min("sum of squared weights", 0)
	if e.weight2 > 1 {
		r.Fail("sum of squared weights is %v, want at most 1", e.weight2)
	}
	if e.variance > 4*MaxMagnitude*MaxMagnitude {
		r.Fail("variance is %v, want at most %v", e.variance, 4*MaxMagnitude*MaxMagnitude)
	}
}

func readMagnitude(r *state.Reader, name string) float64 {
	v := r.Finite(name)
	if math.Abs(v) > MaxMagnitude {
		r.Fail("%s is %v, want at most %v in size", name, v, MaxMagnitude)
		return 0
	}
	return v
}

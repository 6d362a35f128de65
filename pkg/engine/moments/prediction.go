// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments

import "math"

// Prediction is what an estimator knows about the next reading of a stream: its mean, the variance of the error of
// that forecast, and how far the variance itself is in doubt.
//
// A reading in units of a scale that was estimated with ν degrees of freedom follows Student's t, not the normal law.
// Prediction turns t into a normal deviate with t (1 − 1/(4ν)) / sqrt(1 + t²/(2ν)), after M. Abramowitz, I. Stegun,
// Handbook of Mathematical Functions, 26.7.8. In the tail it errs on the side of fewer alarms: with ν = 20 a deviate
// of 4 is given as 3.9.
type Prediction struct {
	Mean     float64
	variance float64
	doubt    float64 // 1/(2ν); +Inf where nothing is known
}

// NewPrediction is a forecast with the given scale of its error, estimated with freedom degrees of freedom.
func NewPrediction(mean, scale, freedom float64) Prediction {
	doubt := math.Inf(1)
	if freedom > 0 {
		doubt = 0.5 / freedom
	}
	return Prediction{Mean: mean, variance: scale * scale, doubt: doubt}
}

// Scale is the standard deviation of the forecast error.
func (p Prediction) Scale() float64 { return math.Sqrt(p.variance) }

// shrink is the square of 1 − 1/(4ν).
func (p Prediction) shrink() float64 {
	f := max(1-0.5*p.doubt, 0)
	return f * f
}

// Z2 is the square of the normal deviate of reading x: 0 where nothing is known, at most 2ν.
func (p Prediction) Z2(x float64) float64 {
	d := x - p.Mean
	d2 := d * d
	if d2 == 0 || p.doubt > 1 {
		return 0
	}
	return d2 * p.shrink() / (p.variance + d2*p.doubt)
}

// Z is the normal deviate of reading x, with the sign of x − Mean.
func (p Prediction) Z(x float64) float64 { return math.Copysign(math.Sqrt(p.Z2(x)), x-p.Mean) }

// HalfWidth is the distance from Mean at which the square of the deviate is z2: +Inf where no reading gets so far.
func (p Prediction) HalfWidth(z2 float64) float64 {
	room := p.shrink() - z2*p.doubt
	if !(room > 0) {
		return math.Inf(1)
	}
	return math.Sqrt(z2 * p.variance / room)
}

// Winsorize moves a reading whose squared deviate is more than z2 to that limit. An estimator that learns winsorised
// readings is not blown up by a single spike, but learns a level that stays: each reading at the limit moves the mean
// and widens the scale, so that the number of readings needed grows with the logarithm of the step.
//
// Source: P. J. Huber, Robust Statistics, Wiley, 1981.
func (p Prediction) Winsorize(x, z2 float64) float64 {
	if p.Z2(x) <= z2 {
		return x
	}
	return p.Mean + math.Copysign(p.HalfWidth(z2), x-p.Mean)
}

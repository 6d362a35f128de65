// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package quantile

import "math"

// GPD is a generalised Pareto distribution of excesses over a threshold, P(X > x) = (1 + Shape·x/Scale)^(−1/Shape),
// exponential where Shape is 0.
type GPD struct{ Shape, Scale float64 }

// Survival is P(X > x).
func (g GPD) Survival(x float64) float64 {
	switch {
	case x <= 0:
		return 1
	case !(g.Scale > 0):
		return 0
	case math.Abs(g.Shape) < 1e-9:
		return math.Exp(-x / g.Scale)
	}
	base := 1 + g.Shape*x/g.Scale
	if base <= 0 { // beyond the end point of a short tail
		return 0
	}
	return math.Pow(base, -1/g.Shape)
}

// Quantile is the x with P(X > x) = p, for p in (0, 1].
func (g GPD) Quantile(p float64) float64 {
	if math.Abs(g.Shape) < 1e-9 {
		return -g.Scale * math.Log(p)
	}
	return g.Scale / g.Shape * (math.Pow(p, -g.Shape) - 1)
}

// FitPWM fits a GPD to excesses in ascending order by probability-weighted moments (Hosking and Wallis, Technometrics
// 29, 1987, section 3), which beat maximum likelihood below some 500 excesses. ok is false for fewer than 2 excesses
// or where they do not vary.
func FitPWM(sorted []float64) (g GPD, ok bool) {
	n := float64(len(sorted))
	if n < 2 || sorted[0] == sorted[len(sorted)-1] {
		return GPD{}, false
	}
	var a0, a1 float64
	for i, x := range sorted {
		a0 += x / n
		a1 += x / n * (1 - (float64(i)+0.65)/n)
	}
	d := a0 - 2*a1
	if !(d > 0) || math.IsInf(a0, 0) {
		return GPD{}, false
	}
	return GPD{Shape: 2 - a0/d, Scale: 2 * a0 * a1 / d}, true
}

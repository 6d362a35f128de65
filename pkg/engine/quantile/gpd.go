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

// FitGrimshaw fits a GPD to positive excesses by maximum likelihood. Grimshaw's reduction (Technometrics 35, 1993) leaves one
// unknown, θ = Shape/Scale: for a given θ the best shape is mean ln(1 + θx). The profile is searched on a grid in
// θ·mean and refined by golden section, so the work is bounded. The exponential, θ = 0, is among the candidates. ok is
// false for fewer than 2 excesses or where they do not vary.
func FitGrimshaw(excesses []float64) (g GPD, ok bool) {
	n := float64(len(excesses))
	var sum, top float64
	low := math.Inf(1)
	for _, x := range excesses {
		sum += x
		top, low = max(top, x), min(low, x)
	}
	mean := sum / n
	if n < 2 || low == top || !(mean > 0) || math.IsInf(mean, 0) {
		return GPD{}, false
	}
	shape := func(theta float64) float64 {
		s := 0.0
		for _, x := range excesses {
			s += math.Log1p(theta * x)
		}
		return s / n
	}
	// Mean log-likelihood at θ with its best shape; scale = shape/θ.
	likelihood := func(theta float64) float64 {
		k := shape(theta)
		if scale := k / theta; scale > 0 && k > -1 { // no maximum exists below a shape of −1
			return -math.Log(scale) - k - 1
		}
		return math.Inf(-1)
	}
	g, best := GPD{Scale: mean}, -math.Log(mean)-1
	try := func(theta float64) float64 {
		l := likelihood(theta)
		if l > best {
			k := shape(theta)
			best, g = l, GPD{Shape: k, Scale: k / theta}
		}
		return l
	}
	const grid = 12
	refine := func(at func(u float64) float64) {
		bestU, bestL := 0.0, math.Inf(-1)
		for i := range grid {
			u := (float64(i) + 0.5) / grid
			if l := try(at(u)); l > bestL {
				bestU, bestL = u, l
			}
		}
		const golden = 0.6180339887498949
		lo, hi := bestU-0.5/grid, bestU+0.5/grid
		for range 10 {
			a, b := hi-golden*(hi-lo), lo+golden*(hi-lo)
			if try(at(a)) > try(at(b)) {
				hi = b
			} else {
				lo = a
			}
		}
	}
	refine(func(u float64) float64 { return -u / top })               // short tails: θ in (−1/max, 0)
	refine(func(u float64) float64 { return u / (1 - u) / mean * 2 }) // long tails: θ > 0
	return g, true
}

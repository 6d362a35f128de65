// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"
	"slices"
)

const (
	minTrain = 20      // readings below which a member says nothing about itself
	maxTrain = 100_000 // readings kept for learning, at most
	zLimit   = 50      // a reading counts as at most this many noise scales from the centre
	lag      = 100     // readings over which the wandering of a member is measured
	wander   = 0.2     // share of the mean squared change over lag readings in σ²
	tailZ    = 1.96    // the 95 % quantile of |r| of a normal r, in standard deviations
	minSigma = 0.1     // floor of σ, in noise scales: half the σ of white noise at the default smoothing
	openGain = 100     // first readings, in which the baseline follows with a gain that falls like 1/n
)

// learn sets the member up from its readings, in the order they came. At least minTrain of them, all finite.
func (m *member) learn(c *Config, x []float64) {
	m.centre, m.scale = centreScale(x)
	first := make([]float64, min(40, len(x)/4))
	for i := range first {
		first[i] = m.standard(x[i])
	}
	slices.Sort(first)
	m.fast = quantileOf(first, 0.5)
	m.base = m.fast

	burn := min(50, len(x)/4)
	fast := make([]float64, 0, len(x)-burn)
	spread := make([]float64, 0, len(x)-burn)
	for i, v := range x {
		m.fast += c.Smoothing * (m.standard(v) - m.fast)
		r := m.fast - m.base
		g := c.Adaptation
		if i < openGain {
			g = max(g, 1/float64(i+20))
		}
		m.base += g * r
		if i >= burn {
			fast = append(fast, m.fast)
			spread = append(spread, math.Abs(r))
		}
	}
	slices.Sort(spread)
	sigma := max(minSigma, quantileOf(spread, 0.95)/tailZ)
	m.sigma = math.Sqrt(sigma*sigma + wander*structure(fast, min(lag, len(fast)/2)))
	m.variance = sigma * sigma
	m.phase = watching
}

// centreScale is the median of x and its noise scale: the standard deviation of its noise from successive differences,
// but at least a fiftieth of the standard deviation of x. The scale of readings that never differ is 0.
func centreScale(x []float64) (centre, scale float64) {
	sorted := slices.Clone(x)
	slices.Sort(sorted)
	centre = quantileOf(sorted, 0.5)
	if !finite(centre) { // the two in the middle are further apart than a float64 can tell
		centre = sorted[len(sorted)/2]
	}

	diff := make([]float64, len(x)-1)
	for i := range diff {
		diff[i] = x[i+1] - x[i]
	}
	slices.Sort(diff)
	lo, hi := quantileOf(diff, 0.05), quantileOf(diff, 0.95)
	var ss float64
	for _, d := range diff {
		d = min(max(d, lo), hi)
		ss += d * d
	}
	// Winsorising at 5 % takes a sixth off the standard deviation of normal differences; 1.2 gives it back.
	noise := 1.2 * math.Sqrt(ss/float64(len(diff))/2)

	var mean, m2 float64
	for i, v := range x {
		d := v - mean
		mean += d / float64(i+1)
		m2 += d * (v - mean)
	}
	scale = max(noise, 0.02*math.Sqrt(m2/float64(len(x))))
	if !(scale > resolution*math.Abs(centre)) || math.IsInf(scale, 1) {
		scale = 0
	}
	return centre, scale
}

// resolution is the relative difference below which readings are the same: rounding, not movement.
const resolution = 1e-12

// structure is the mean squared change of v over n steps.
func structure(v []float64, n int) float64 {
	var s float64
	for i := n; i < len(v); i++ {
		d := v[i] - v[i-n]
		s += d * d
	}
	return s / float64(len(v)-n)
}

// quantileOf interpolates between the order statistics of sorted, which is not empty.
func quantileOf(sorted []float64, q float64) float64 {
	p := q * float64(len(sorted)-1)
	i := int(p)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (p-float64(i))*(sorted[i+1]-sorted[i])
}

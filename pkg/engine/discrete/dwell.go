// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package discrete

import (
	"math"

	"gonum.org/v1/gonum/mathext"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	leastDwells       = 8                     // dwells before they are judged
	dwellMemory       = 256                   // dwells remembered
	leastSpread       = 0.01                  // variance of log dwells, however regular they were: a tenth up or down is never unusual
	exponentialSpread = math.Pi * math.Pi / 6 // Var ln X of an exponential X
	largestShape      = 1e4                   // of the gamma distribution
	smallestShape     = 0.05
)

// Dwell learns how long a state lasts, in readings, as a gamma distribution fitted to the first two moments of the
// logarithm: E ln X = ψ(k) + ln θ and Var ln X = ψ′(k). One family so covers what comes at random (k = 1,
// exponential) and what keeps a schedule (k large). Until the dwells say otherwise they are taken to be random, with
// the weight of one dwell, and they are known to half a reading only.
type Dwell struct {
	n, mean, m2  float64 // of ln dwell
	shape, scale float64 // of the gamma distribution, from leastDwells on
}

// Count is the number of dwells remembered.
func (d *Dwell) Count() float64 { return d.n }

// Add learns a dwell of that many readings (at least 1).
func (d *Dwell) Add(readings float64) {
	if !(readings >= 1) || math.IsInf(readings, 0) {
		return
	}
	x := math.Log(readings)
	if d.n >= leastDwells { // an outlier counts as three standard deviations
		bound := 3 * math.Sqrt(max(d.m2/d.n, leastSpread))
		x = min(max(x, d.mean-bound), d.mean+bound)
	}
	if d.n >= dwellMemory {
		d.m2 *= (dwellMemory - 1) / d.n
		d.n = dwellMemory - 1
	}
	d.n++
	delta := x - d.mean
	d.mean += delta / d.n
	d.m2 += delta * (x - d.mean)
	d.fit()
}

func (d *Dwell) fit() {
	if d.n < leastDwells {
		return
	}
	half := math.Exp(-d.mean) / 2
	v := max((d.m2+exponentialSpread)/d.n+half*half, leastSpread)
	// Solve ψ′(k) = v by bisection on a logarithmic scale; ψ′ falls.
	lo, hi := math.Log(smallestShape), math.Log(largestShape)
	for range 40 {
		if mid := (lo + hi) / 2; trigamma(math.Exp(mid)) > v {
			lo = mid
		} else {
			hi = mid
		}
	}
	d.shape = math.Exp(lo)
	d.scale = math.Exp(d.mean - mathext.Digamma(d.shape))
}

// trigamma is ψ′(x) for x > 0: recurrence up to 6, then the asymptotic series (Abramowitz and Stegun 6.4.6, 6.4.12).
func trigamma(x float64) float64 {
	s := 0.0
	for ; x < 6; x++ {
		s += 1 / (x * x)
	}
	y := 1 / (x * x)
	return s + 1/x + y/2 + y/x*(1.0/6-y*(1.0/30-y/42))
}

// Longer is the probability that a dwell lasts longer than that many readings; 1 while too little is known.
func (d *Dwell) Longer(readings float64) float64 {
	if d.n < leastDwells || readings <= d.shape*d.scale { // up to the mean there is nothing to tell
		return 1
	}
	return mathext.GammaIncRegComp(d.shape, readings/d.scale)
}

// Shorter is the probability that a dwell lasts at most that many readings; 1 while too little is known.
func (d *Dwell) Shorter(readings float64) float64 {
	if d.n < leastDwells || readings >= d.shape*d.scale {
		return 1
	}
	return mathext.GammaIncReg(d.shape, readings/d.scale)
}

// EncodeState implements state.Part.
func (d *Dwell) EncodeState(w *state.Writer) { w.Float(d.n); w.Float(d.mean); w.Float(d.m2) }

// DecodeState implements state.Part.
func (d *Dwell) DecodeState(r *state.Reader) {
	d.n, d.mean, d.m2 = r.Min("dwells", 0), r.Finite("mean dwell"), r.Min("dwell spread", 0)
	if r.Err() == nil && (d.n > dwellMemory || math.Abs(d.mean) > 700) {
		r.Fail("%v dwells of mean %v", d.n, d.mean)
	}
	if r.Err() == nil {
		d.fit()
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	blockRows   = 128 // readings a block
	leastBlocks = 4   // before a verdict
	blockMemory = 32  // blocks remembered
	leastBeta   = 0.05
	euler       = 0.5772156649015329
)

// Peaks learns the largest values that a positive statistic takes in blocks of 128 readings, and judges a value by them:
// the logarithm of a block's maximum is taken to follow Gumbel's law, so the maximum itself Fréchet's, which is right
// for heavy tails and errs on the side of silence for light ones. Neighbouring readings may depend on each other.
//
// Source: S. Coles, An Introduction to Statistical Modeling of Extreme Values, Springer, 2001, chapter 3; law fitted by
// moments, with the mean absolute deviation for the sake of outliers.
type Peaks struct {
	largest   float64 // of the open block
	inOpen    int32
	blocks    int32
	mean, dev float64 // of the logarithm of block maxima
}

// Add learns the value s of one reading. A value that was an alarm should be bounded by [Peaks.Limit] first.
func (p *Peaks) Add(s float64) {
	p.largest = max(p.largest, min(s, math.MaxFloat64))
	if p.inOpen++; p.inOpen < blockRows {
		return
	}
	m := p.largest
	p.largest, p.inOpen = 0, 0
	if !(m > 0) {
		return
	}
	l := math.Log(m)
	p.blocks++
	if p.blocks == 1 {
		p.mean = l
		return
	}
	gain := max(1/float64(p.blocks), 1.0/blockMemory)
	if p.blocks > leastBlocks { // a single block may be anything
		l = max(p.mean-3*p.dev, min(p.mean+3*p.dev, l))
	}
	d := math.Abs(l - p.mean)
	p.mean += gain * (l - p.mean)
	if p.blocks == 2 {
		p.dev = d / 2
		return
	}
	p.dev += gain * (d - p.dev)
}

// Ready reports whether enough was seen to judge.
func (p *Peaks) Ready() bool { return p.blocks >= leastBlocks }

// law is the location and the scale of Gumbel's law; the scale is larger while little is known.
func (p *Peaks) law() (mu, beta float64) {
	const toSigma = 1.2533141373155001 // mean absolute to standard deviation
	const toBeta = 0.7796968012336761  // √6/π
	beta = max(p.dev*toSigma*toBeta*(1+2/float64(p.blocks)), leastBeta)
	return p.mean - euler*beta, beta
}

// Limit is the value that is exceeded at a share of tail of all readings; +Inf while not ready.
func (p *Peaks) Limit(tail float64) float64 {
	if !p.Ready() {
		return math.Inf(1)
	}
	mu, beta := p.law()
	return math.Exp(mu - beta*math.Log(tail*blockRows))
}

// Tail is the share of readings, while all is well, that reach s or more: at most 1/128; 1 while not ready.
func (p *Peaks) Tail(s float64) float64 {
	if !p.Ready() || !(s > 0) {
		return 1
	}
	mu, beta := p.law()
	return -math.Expm1(-math.Exp((mu-math.Log(s))/beta)) / blockRows
}

// EncodeState implements state.Part.
func (p *Peaks) EncodeState(w *state.Writer) {
	w.Float(p.largest)
	w.Int(int64(p.inOpen))
	w.Int(int64(p.blocks))
	w.Float(p.mean)
	w.Float(p.dev)
}

// DecodeState implements state.Part.
func (p *Peaks) DecodeState(r *state.Reader) {
	p.largest = r.Min("largest value", 0)
	p.inOpen = int32(r.Count("readings in a block", blockRows-1))
	p.blocks = int32(r.Count("blocks", math.MaxInt32))
	p.mean, p.dev = r.Finite("mean of maxima"), r.Min("deviation of maxima", 0)
	if r.Err() == nil && (math.Abs(p.mean) > 800 || p.dev > 800) {
		r.Fail("maxima have logarithms of %v ± %v", p.mean, p.dev)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	// winsor2 is the squared deviate beyond which a reading counts no more: a spike must not pass for a drift.
	winsor2 = 3 * 3
	// sumLimit bounds the sums, in units of what they usually are: a chance of 2e-9 with slack 0.5.
	sumLimit = 20
	// excessLimit winsorises what is learned of the sums themselves, in units of what they usually are.
	excessLimit = 5
)

// SelfStarting is a CUSUM that learns level and scale as it goes: each reading is standardised by all before it, up to
// the memory, and winsorised.
//
// Readings of a real stream depend on each other, and then the sums of one in order are larger than theory has it. So
// their usual size is learned as well, and the sum is judged in units of it where it is larger than in theory.
//
// Source: D. M. Hawkins, Self-starting Cusum charts for location and scale, The Statistician 36, 1987; winsorised as in
// J. M. Lucas, R. B. Crosier, Robust CUSUM, Communications in Statistics 11(23), 1982.
type SelfStarting struct {
	base  moments.EWMA
	usual moments.EWMA // of the mean of both sums
	sum   CUSUM
}

// NewSelfStarting returns a CUSUM that compares with about the last memory readings. slack is in standard deviations.
func NewSelfStarting(slack, memory float64) SelfStarting {
	alpha := 2 / (memory + 1)
	return SelfStarting{
		base:  moments.NewEWMA(alpha),
		usual: moments.NewEWMA(alpha),
		sum:   NewCUSUM(slack, math.Inf(1)),
	}
}

// Verdict is what a [SelfStarting] CUSUM makes of a reading.
type Verdict struct {
	P        float64 // share of readings with a sum at least as large while all is well
	Up       bool    // the larger sum is that of departures upwards
	Baseline moments.Prediction
}

// Update takes a reading. The scale is at least floor.
func (s *SelfStarting) Update(x, floor float64) Verdict {
	base := s.base.Predict(floor)
	z := min(max(base.Z(x), -3), 3)
	s.base.Update(base.Winsorize(x, winsor2))

	inflation := s.inflation()
	s.sum.limit = sumLimit / s.sum.slack * inflation / 2
	h := s.sum.Update(z) / inflation
	s.usual.Update(min((s.sum.up+s.sum.down)/2, excessLimit*s.theory()*inflation))
	return Verdict{P: s.sum.TailProbability(h), Up: s.sum.up >= s.sum.down, Baseline: base}
}

// theory is the mean of one sum of independent normal readings: the integral of its tail probability.
func (s *SelfStarting) theory() float64 {
	k := 2 * s.sum.slack
	return math.Exp(-k*overshoot) / k
}

// inflation is by how much the sums are usually larger than in theory.
func (s *SelfStarting) inflation() float64 { return max(1, s.usual.Mean()/s.theory()) }

// Count is the number of readings so far.
func (s *SelfStarting) Count() uint64 { return s.base.Count() }

// EncodeState writes what was learned.
func (s *SelfStarting) EncodeState(w *state.Writer) {
	s.base.EncodeState(w)
	s.usual.EncodeState(w)
	s.sum.EncodeState(w)
}

// DecodeState reads what EncodeState wrote.
func (s *SelfStarting) DecodeState(r *state.Reader) {
	s.base.DecodeState(r)
	s.usual.DecodeState(r)
	s.sum.limit = math.Inf(1) // set anew by each Update
	s.sum.DecodeState(r)
}

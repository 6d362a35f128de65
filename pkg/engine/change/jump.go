// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Jump compares the step from one reading to the next with the steps that the stream usually makes. Only steps other
// than zero are learned: how far a light or a setpoint moves when it moves, not how rarely it does. So a stream that
// moves rarely is judged leniently until it has made some steps, and standing still is never a jump.
//
// Steps are winsorised before they are learned, for a robust scale (P. J. Huber, Robust Statistics, Wiley, 1981).
type Jump struct {
	steps moments.EWMA
	last  float64
	seen  bool
}

// NewJump returns a detector that remembers about the last memory steps.
func NewJump(memory float64) Jump { return Jump{steps: moments.NewEWMA(2 / (memory + 1))} }

// Update takes a reading. It returns the forecast made for it (the reading before, moved by the mean step) and the step
// that led to it. The scale is at least floor.
func (j *Jump) Update(x, floor float64) (forecast moments.Prediction, step float64) {
	forecast = j.steps.Predict(floor)
	if j.seen {
		step = x - j.last
	}
	if step != 0 {
		j.steps.Update(forecast.Winsorize(moments.Clamp(step), winsor2))
	}
	forecast.Mean += j.last
	j.last, j.seen = x, true
	return forecast, step
}

// Skip takes a reading that says nothing about steps, such as the first one after a counter was reset.
func (j *Jump) Skip(x float64) { j.last, j.seen = x, true }

// Steps is the number of steps learned.
func (j *Jump) Steps() uint64 { return j.steps.Count() }

// EncodeState writes what was learned.
func (j *Jump) EncodeState(w *state.Writer) {
	j.steps.EncodeState(w)
	w.Bool(j.seen)
	w.Float(j.last)
}

// DecodeState reads what EncodeState wrote.
func (j *Jump) DecodeState(r *state.Reader) {
	j.steps.DecodeState(r)
	j.seen = r.Bool()
	if j.last = r.Finite("last reading"); math.Abs(j.last) > moments.MaxMagnitude {
		r.Fail("last reading is %v, want at most %v in size", j.last, moments.MaxMagnitude)
	}
}

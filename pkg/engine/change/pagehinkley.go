// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// PageHinkley is the Page–Hinkley test, two-sided and standardised: a cumulative sum of departures, each less a slack,
// from the mean of all readings since the last change. A change that is found makes it start anew from the reading
// where it is, so that one change gives one finding, and the next is judged by the new level alone.
//
// The sum m(t) − min m of the test is the sum of a [CUSUM], and is judged as that of [SelfStarting] is.
//
// Source: E. S. Page, Continuous inspection schemes, Biometrika 41, 1954; D. V. Hinkley, Inference about the
// change-point from cumulative sum tests, Biometrika 58, 1971.
type PageHinkley struct {
	sums  SelfStarting
	least float64 // probability at which a change is found
}

// NewPageHinkley returns a test with the given slack, in standard deviations, that learns the usual size of its sums
// from about the last memory readings. A change is found where the tail probability of the sum falls to least.
func NewPageHinkley(slack, memory, least float64) PageHinkley {
	s := NewSelfStarting(slack, memory)
	s.base = moments.NewEWMA(0)
	return PageHinkley{sums: s, least: least}
}

// Update takes a reading. The scale is at least floor.
func (p *PageHinkley) Update(x, floor float64) Verdict {
	v := p.sums.Update(x, floor)
	if v.P <= p.least {
		p.sums.sum.up, p.sums.sum.down = 0, 0
		p.sums.base = moments.NewEWMA(0)
		p.sums.base.Update(x)
	}
	return v
}

// Count is the number of readings since the last change.
func (p *PageHinkley) Count() uint64 { return p.sums.Count() }

// EncodeState implements state.Part.
func (p *PageHinkley) EncodeState(w *state.Writer) { p.sums.EncodeState(w) }

// DecodeState implements state.Part.
func (p *PageHinkley) DecodeState(r *state.Reader) { p.sums.DecodeState(r) }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package neighbor

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Window holds the newest lag vectors of members numbers each, oldest first, as one vector of lag × members numbers.
type Window struct {
	values  []float64
	members int
	filled  int
}

// NewWindow returns an empty window.
func NewWindow(lag, members int) Window {
	members = max(members, 1)
	return Window{values: make([]float64, max(lag, 1)*members), members: members}
}

// Push takes in the newest vector, of members numbers, and reports whether the window is full.
func (w *Window) Push(v []float64) bool {
	copy(w.values, w.values[w.members:])
	copy(w.values[len(w.values)-w.members:], v)
	w.filled = min(w.filled+1, len(w.values)/w.members)
	return w.Full()
}

// Full reports whether lag vectors were pushed.
func (w *Window) Full() bool { return w.filled == len(w.values)/w.members }

// Values is the window, to read until the next Push.
func (w *Window) Values() []float64 { return w.values }

// Reset empties the window.
func (w *Window) Reset() { w.filled = 0 }

// EncodeState implements state.Part.
func (w *Window) EncodeState(s *state.Writer) {
	s.Int(int64(w.filled))
	s.Floats(w.values)
}

// DecodeState implements state.Part.
func (w *Window) DecodeState(r *state.Reader) {
	w.filled = r.Count("filled", len(w.values)/w.members)
	values := make([]float64, len(w.values)) // the old ones may be shared with a copy
	r.FloatsTo("window", values)
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.Fail("window holds %v", v)
		}
	}
	w.values = values
}

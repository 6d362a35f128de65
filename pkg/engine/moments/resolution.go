// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	relativeFloor = 1e-12 // rounding in arithmetic upstream of a reading is below this
	absoluteFloor = 1e-150
)

// Resolution learns the smallest step between two readings in succession: the quantum of a quantised stream, almost
// nothing for a continuous one. As the least scale that is believed, it keeps a stream that stands still most of the
// time from being judged in units of nothing, and makes the first change of a constant stream no finding: what is the
// smallest step ever seen is not a large one. The zero value is ready for use.
type Resolution struct {
	last, step float64
	seen       bool
}

// Update takes a reading and returns its step from the one before; 0 at the first.
func (q *Resolution) Update(x float64) (step float64) {
	if q.seen {
		step = x - q.last
		if d := math.Abs(step); d != 0 && (d < q.step || q.step == 0) {
			q.step = d
		}
	}
	q.last, q.seen = x, true
	return step
}

// Step is the smallest non-zero step so far; 0 where there was none.
func (q *Resolution) Step() float64 { return q.step }

// Floor is the least scale to be believed: the smallest step, or what rounding makes of the present level.
func (q *Resolution) Floor() float64 {
	return max(q.step, relativeFloor*math.Abs(q.last), absoluteFloor)
}

// EncodeState writes what was learned.
func (q *Resolution) EncodeState(w *state.Writer) {
	w.Bool(q.seen)
	w.Float(q.last)
	w.Float(q.step)
}

// DecodeState reads what EncodeState wrote.
func (q *Resolution) DecodeState(r *state.Reader) {
	q.seen = r.Bool()
	q.last = readMagnitude(r, "last reading")
	q.step = r.Min("smallest step", 0)
	if q.step > 2*MaxMagnitude {
		r.Fail("smallest step is %v, want at most %v", q.step, 2*MaxMagnitude)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// resting watches the members of a group that never moved in training. They have no relation to the others, and a model
// leaves them out: that they move is news enough.
type resting struct {
	value   []float64 // of each column; NaN for one that moves
	away    []uint64  // rows since training in which it was not there
	most    uint64    // after which it is one that moves; 0 for never
	watched int
}

// restResolution is the relative difference below which readings are the same.
const restResolution = 1e-12

// learnResting finds the members that rest in all of rows.
func learnResting(rows [][]float64, width int) resting {
	r := newResting(width)
	for _, row := range rows {
		r.learn(row)
	}
	r.settle()
	return r
}

// newResting is of members of which nothing is known yet.
func newResting(width int) resting {
	r := resting{value: make([]float64, width), away: make([]uint64, width)}
	for j := range r.value {
		r.value[j] = math.NaN()
	}
	return r
}

// learn takes in a row that is learned from.
func (r *resting) learn(row []float64) {
	r.most++
	for j, x := range row {
		switch {
		case math.IsNaN(x):
		case math.IsNaN(r.value[j]):
			r.value[j] = x
		case !same(x, r.value[j]):
			r.value[j] = math.Inf(1)
		}
	}
}

// settle ends learning.
func (r *resting) settle() {
	for j, v := range r.value {
		if math.IsInf(v, 0) {
			r.value[j] = math.NaN()
		}
	}
	r.count()
}

func (r *resting) count() {
	r.watched = 0
	for _, v := range r.value {
		if !math.IsNaN(v) {
			r.watched++
		}
	}
}

func same(x, y float64) bool { return math.Abs(x-y) <= restResolution*math.Abs(y) }

// all reports whether no member moves.
func (r *resting) all() bool { return r.watched > 0 && r.watched == len(r.value) }

// moved reports whether member j rested in training and does not in this row. A NaN is neither.
func (r *resting) moved(row []float64, j int) bool {
	return !math.IsNaN(r.value[j]) && !math.IsNaN(row[j]) && !same(row[j], r.value[j])
}

// tell says which members have moved; nothing where none has.
func (r *resting) tell(row []float64, keys []driver.Key) string {
	var parts []string
	for j, x := range row {
		if r.watched > 0 && r.moved(row, j) {
			parts = append(parts, fmt.Sprintf("%v is %.4g, and was %.4g in all of training", keys[j], x, r.value[j]))
		}
	}
	return strings.Join(parts, ", ")
}

// next takes a row and is the number of members that have moved. One that was away in as many rows as it was learned
// from is one that moves from then on.
func (r *resting) next(row []float64, never bool) (moved int) {
	if r.watched == 0 {
		return 0
	}
	for j := range r.value {
		if !r.moved(row, j) {
			continue
		}
		moved++
		if r.away[j]++; r.away[j] > r.most && !never {
			r.value[j] = math.NaN()
			r.watched--
			moved--
		}
	}
	return moved
}

// EncodeState implements state.Part.
func (r *resting) EncodeState(w *state.Writer) {
	w.Floats(r.value)
	for _, n := range r.away {
		w.Uint(n)
	}
	w.Uint(r.most)
}

// DecodeState implements state.Part.
func (r *resting) DecodeState(s *state.Reader) {
	*r = resting{value: s.Floats("values at rest", groupMembers)}
	r.away = make([]uint64, len(r.value))
	for j := range r.away {
		r.away[j] = s.Readings()
	}
	r.most = s.Readings()
	r.count()
}

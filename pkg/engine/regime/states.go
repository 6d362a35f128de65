// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	maxStates = 8
	// newPrior is the pseudo-count of values never met: after n readings without a new one the next is new with
	// probability newPrior/n. The small value says that streams of states show all of them early.
	newPrior  = 0.1
	stillFrom = 0.9 // share of readings that repeat the one before for a stream to be one of states
	stillTo   = 0.7 // and below which it is not any more
)

// states are the values of a stream that takes few and rests on each.
type states struct {
	n        float64
	value    [maxStates]float64
	born     [maxStates]float64 // reading at which it was met first
	seen     [maxStates]float64 // and last
	count    int32
	current  int32
	sinceNew float64
	still    float64
	on       bool
}

// find is the index of x; −1 where it is not among the states.
func (s *states) find(x float64) int {
	if s.count > 0 && s.value[s.current] == x {
		return int(s.current)
	}
	for i, v := range s.value[:s.count] {
		if v == x {
			return i
		}
	}
	return -1
}

// stale is for how many readings a state must not have been met to be forgotten before younger ones.
const stale = 20000

// victim is the state to forget: one not met for long, else the youngest, so that what was usual before an incident is
// known after it.
func (s *states) victim() int {
	youngest := 0
	for i := range s.seen {
		if s.n-s.seen[i] > stale {
			return i
		}
		if s.born[i] > s.born[youngest] {
			youngest = i
		}
	}
	return youngest
}

// learn takes x in.
func (s *states) learn(x float64) {
	s.n++
	s.sinceNew++
	at := s.find(x)
	gain := max(1.0/256, 1/s.n)
	if at >= 0 && at == int(s.current) {
		s.still += gain * (1 - s.still)
	} else {
		s.still -= gain * s.still
	}
	if at < 0 {
		s.sinceNew = 0
		if s.count < maxStates {
			at = int(s.count)
			s.count++
		} else {
			at = s.victim()
		}
		s.value[at], s.born[at] = x, s.n
	}
	s.current = int32(at)
	s.seen[at] = s.n
	switch {
	case s.still < stillTo:
		s.on = false
	case s.count == maxStates && s.sinceNew < 1000: // there are more, and more to come
		s.on = false
	case s.n >= 200 && s.still > stillFrom || s.n >= 50 && s.count <= 2:
		s.on = true
	}
}

// EncodeState implements state.Part.
func (s *states) EncodeState(w *state.Writer) {
	w.Float(s.n)
	w.Float(s.sinceNew)
	w.Float(s.still)
	w.Floats(s.value[:s.count])
	w.Floats(s.seen[:s.count])
	w.Floats(s.born[:s.count])
	w.Int(int64(s.current))
	w.Bool(s.on)
}

// DecodeState implements state.Part.
func (s *states) DecodeState(r *state.Reader) {
	*s = states{n: r.Min("readings", 0), sinceNew: r.Min("readings since a new state", 0), still: r.Min("share of rest", 0)}
	s.count = int32(copy(s.value[:], r.Floats("states", maxStates)))
	if n := copy(s.seen[:], r.Floats("times of states", maxStates)); n != int(s.count) {
		r.Fail("%d states have %d times", s.count, n)
	}
	if n := copy(s.born[:], r.Floats("births of states", maxStates)); n != int(s.count) {
		r.Fail("%d states have %d births", s.count, n)
	}
	for i, v := range s.value {
		if math.IsNaN(v) || math.IsInf(v, 0) || math.IsNaN(s.seen[i]) || math.IsNaN(s.born[i]) {
			r.Fail("state %v was met at %v", v, s.seen[i])
		}
	}
	s.current = int32(r.Count("current state", max(int(s.count)-1, 0)))
	s.on = r.Bool()
}

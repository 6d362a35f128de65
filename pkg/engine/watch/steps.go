// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// steps counts how many readings are due since the one before, from the times of reading and the usual interval between
// them, its median. So a gap does not shift the phase of a season, and another speed of the clock changes nothing.
type steps struct {
	last     int64   // Unix ns
	interval float64 // ns
	seen     bool
}

// mostSteps bounds a gap; longer ones are as long.
const mostSteps = 1 << 20

// next takes the time of a reading and returns its distance to the one before, in usual intervals and at least 1.
func (s *steps) next(at int64) int {
	d := float64(at) - float64(s.last)
	seen := s.seen
	s.last, s.seen = at, true
	if !seen || !(d > 0) {
		return 1
	}
	switch {
	case s.interval == 0:
		s.interval = d
	case d > s.interval:
		s.interval = min(s.interval*1.02, d)
	default:
		s.interval = max(s.interval/1.02, d)
	}
	return int(max(1, min(math.Round(d/s.interval), mostSteps)))
}

// EncodeState implements state.Part.
func (s *steps) EncodeState(w *state.Writer) {
	w.Int(s.last)
	w.Float(s.interval)
	w.Bool(s.seen)
}

// DecodeState implements state.Part.
func (s *steps) DecodeState(r *state.Reader) {
	s.last, s.interval, s.seen = r.Int(), r.Min("interval", 0), r.Bool()
}

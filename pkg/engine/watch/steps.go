// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// steps counts how many readings are due since the one before, from the times of reading: by the usual interval between
// them, its median, and, for the phase of a season, by their mean. A season is found among the readings that came, so where
// many are lost at random it is so many of those, and each of them is as far as they are apart on average. So neither a gap
// nor lost readings shift the phase, and another speed of the clock changes nothing.
type steps struct {
	last     int64   // Unix ns
	interval float64 // ns
	seen     bool
	mean     float64 // ns, of intervals that are no outage
	n        uint32  // intervals in it
	unit     float64 // ns, the mean when the season was found; 0: there is none
	carry    float64 // of the phase, what is not counted yet
}

const (
	mostSteps  = 1 << 20 // bounds a gap; longer ones are as long
	meanMemory = 1 << 13 // intervals in the mean
	outage     = 16      // mean intervals that are no interval any more, but as long as this many
)

// next takes the time of a reading and returns its distance to the one before: in usual intervals and at least 1, and
// in mean ones, with the rest carried over. seasonal tells that there is a season: the mean interval is then held.
func (s *steps) next(at int64, seasonal bool) (step, due int) {
	d := float64(at) - float64(s.last)
	seen := s.seen
	s.last, s.seen = at, true
	if !seen || !(d > 0) {
		return 1, 1
	}
	switch {
	case s.interval == 0:
		s.interval, s.mean = d, d
	case d > s.interval:
		s.interval = min(s.interval*1.02, d)
	default:
		s.interval = max(s.interval/1.02, d)
	}
	s.n = min(s.n+1, meanMemory)
	s.mean += (min(d, outage*s.mean) - s.mean) / float64(s.n)
	switch {
	case !seasonal:
		s.unit = 0
	case s.unit == 0:
		s.unit = s.mean
	}
	unit := s.unit
	if unit == 0 {
		unit = s.mean
	}
	s.carry = min(s.carry+d/unit, mostSteps)
	whole := math.Round(s.carry)
	s.carry -= whole
	return int(max(1, min(math.Round(d/s.interval), mostSteps))), int(whole)
}

// EncodeState implements state.Part.
func (s *steps) EncodeState(w *state.Writer) {
	w.Int(s.last)
	w.Float(s.interval)
	w.Bool(s.seen)
	w.Float(s.mean)
	w.Uint(uint64(s.n))
	w.Float(s.unit)
	w.Float(s.carry + 0.5)
}

// DecodeState implements state.Part.
func (s *steps) DecodeState(r *state.Reader) {
	s.last, s.interval, s.seen = r.Int(), r.Min("interval", 0), r.Bool()
	s.mean, s.n, s.unit = r.Min("mean interval", 0), uint32(r.Count("intervals", meanMemory)), r.Min("interval of the season", 0)
	if s.carry = r.Min("part of an interval", 0) - 0.5; s.carry > 0.5 {
		r.Fail("part of an interval is %v, want at most 1", s.carry+0.5)
	}
	if r.Err() == nil && s.interval > 0 && !(s.mean > 0) {
		r.Fail("mean interval %v of readings that are %v apart", s.mean, s.interval)
	}
}

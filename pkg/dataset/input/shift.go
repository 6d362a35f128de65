// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"time"
)

// shift follows local times over the days on which clocks are set: an hour that is missing is no gap, and one that is
// there twice is no step backwards.
type shift struct {
	on      bool
	cadence time.Duration
	series  map[string]*moved
	told    string
	zones   map[time.Duration]*time.Location
}

// moved is where a series stands: its last time as written, and by how much it is moved.
type moved struct {
	last time.Time
	by   time.Duration
}

// at is the time of a row, in a zone whose clock shows what is written.
func (s *shift) at(written time.Time, series string) time.Time {
	if !s.on {
		return written
	}
	by := s.next(written, series)
	zone := s.zones[by]
	if zone == nil {
		if s.zones == nil {
			s.zones = make(map[time.Duration]*time.Location)
		}
		zone = time.FixedZone("local", int(-by/time.Second))
		s.zones[by] = zone
	}
	return written.Add(by).In(zone)
}

// next is by how much the time of a row is moved.
func (s *shift) next(at time.Time, series string) time.Duration {
	if s.cadence <= 0 || s.cadence >= time.Hour/2 {
		return 0
	}
	if s.series == nil {
		s.series = make(map[string]*moved)
	}
	m := s.series[series]
	if m == nil {
		if len(s.series) < maxColumns {
			s.series[series] = &moved{last: at}
		}
		return 0
	}
	before := m.last
	m.last = at
	if before.Weekday() != time.Sunday || before.Hour() > 4 {
		return m.by
	}
	near := func(d time.Duration) bool { return (at.Sub(before) - d - s.cadence).Abs() <= s.cadence/2 }
	switch {
	case near(-time.Hour):
		m.by += time.Hour
	case near(time.Hour):
		m.by -= time.Hour
	default:
		return m.by
	}
	s.told = fmt.Sprintf("local times: clocks were set at %s; --timezone says of which place they are", before.Format("2006-01-02 15:04"))
	return m.by
}

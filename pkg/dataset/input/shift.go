// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"sync"
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

// mostCadence is the longest time between readings at which an hour more or less tells of a clock.
const mostCadence = 3 * time.Hour

// next is by how much the time of a row is moved.
func (s *shift) next(at time.Time, series string) time.Duration {
	if s.cadence <= 0 || s.cadence > mostCadence {
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
	step := at.Sub(before)
	tolerance := min(s.cadence/2, 10*time.Minute)
	for _, by := range [...]time.Duration{-time.Hour, time.Hour, -time.Hour / 2, time.Hour / 2} {
		if (step-by-s.cadence).Abs() <= tolerance && isSet(before, at, by) {
			m.by -= by
			s.told = fmt.Sprintf("local times: clocks were set at %s; --timezone says of which place they are", before.Format("2006-01-02 15:04"))
			break
		}
	}
	return m.by
}

// places set their clocks in summer at different times: one of each kind.
var places = sync.OnceValue(func() (all []*time.Location) {
	for _, name := range []string{
		"Europe/Berlin", "Europe/London", "Europe/Athens", "Europe/Chisinau", "Atlantic/Azores", "America/New_York", "America/Havana", "America/Santiago", "Pacific/Easter",
		"America/Asuncion", "America/Nuuk", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca", "Asia/Beirut", "Asia/Jerusalem", "Asia/Gaza", "Asia/Amman",
		"Asia/Damascus", "Asia/Tehran", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland",
	} {
		if l, err := time.LoadLocation(name); err == nil { // without time zones nothing is followed
			all = append(all, l)
		}
	}
	return all
})

// isSet reports whether clocks somewhere were set by that between two times that they showed.
func isSet(before, at time.Time, by time.Duration) bool {
	for _, place := range places() {
		// Two hours before, as an hour that is there twice may be either.
		local := time.Date(before.Year(), before.Month(), before.Day(), before.Hour()-2, before.Minute(), before.Second(), 0, place)
		_, end := local.ZoneBounds()
		if end.IsZero() || end.Sub(local) > 2*time.Hour+mostCadence {
			continue
		}
		_, from := end.Add(-time.Second).Zone()
		_, to := end.Zone()
		if time.Duration(to-from)*time.Second != by {
			continue
		}
		// What the clock showed when it was set, and what it shows then.
		set := time.Duration(from) * time.Second
		when := time.Unix(end.Unix(), 0).UTC().Add(set)
		written := time.Date(before.Year(), before.Month(), before.Day(), before.Hour(), before.Minute(), before.Second(), 0, time.UTC)
		after := time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
		if !written.After(when) && !after.Before(when.Add(by)) {
			return true
		}
	}
	return false
}

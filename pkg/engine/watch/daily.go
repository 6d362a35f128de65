// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"time"
)

const habits = 16

// habit is a departure that was no fault, or came back: what comes at the same time of another day may be none.
type habit struct {
	at       int64 // Unix ns
	size     float64
	still    bool // it was a rest
	returned bool // it ended as it began, so that it must come on two days to be a habit
}

// sameTime reports whether a lies about whole days after b.
func sameTime(a, b int64, within time.Duration) bool {
	const day = int64(24 * time.Hour)
	d := a - b
	if d < day/2 {
		return false
	}
	off := d % day
	return min(off, day-off) <= int64(within)
}

// set is when the clock of the place was set last, and by how much, in ns; it is forgotten at a restart.
type set struct{ at, by int64 }

// clockSet says that the clock of the place was set before the next reading.
func (d *Detector) clockSet(by time.Duration) {
	if d.t > 0 {
		d.set = set{at: d.at(d.t).at + 1, by: int64(by)}
	}
}

// sameTime reports whether a is about the time of another day that b is, by the sun or by the clock of the place.
func (d *Detector) sameTime(a, b int64, within time.Duration) bool {
	return sameTime(a, b, within) || b < d.set.at && a >= d.set.at && sameTime(a+d.set.by, b, within)
}

// habitual reports whether the stream departs as it did about this time of other days.
func (d *Detector) habitual(at int64, size float64, still bool) bool {
	days := 0
	for _, h := range d.habits[:min(d.nhabits, habits)] {
		within, least := 90*time.Minute, 1
		switch {
		case h.still != still:
			continue
		case still:
			least = 2
		case h.size*size <= 0 || math.Abs(size) > sameSize*math.Abs(h.size)*1.25:
			continue
		case h.returned: // what comes back by itself is a habit if it is like clockwork
			if math.Abs(size) < 0.75*math.Abs(h.size) {
				continue
			}
			within, least = 20*time.Minute, 3
		case math.Abs(size) > sameSize*math.Abs(h.size):
			continue
		}
		if d.sameTime(at, h.at, within) {
			if days++; days >= least {
				return true
			}
		}
	}
	return false
}

func (d *Detector) remember(h habit) {
	d.habits[d.nhabits%habits] = h
	d.nhabits++
}

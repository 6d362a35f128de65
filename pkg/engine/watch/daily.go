// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"time"
)

const habits = 16

// habit is a departure that was accepted: what comes at the same time of another day is none.
type habit struct {
	at    int64 // Unix ns
	size  float64
	level float64 // where it went or came from
	lasts bool    // where it stayed
}

// sameTime reports whether a lies about whole days after b.
func sameTime(a, b int64) bool {
	const day = int64(24 * time.Hour)
	d := a - b
	if d < day/2 {
		return false
	}
	off := d % day
	return min(off, day-off) <= int64(90*time.Minute)
}

// habitual reports whether the stream departs as it did about this time of another day.
func (d *Detector) habitual(at int64, size, level float64) bool {
	for _, h := range d.habits[:min(d.nhabits, habits)] {
		if h.size != 0 && h.size*size > 0 && math.Abs(size) <= sameSize*math.Abs(h.size) && sameTime(at, h.at) {
			return true
		}
	}
	return false
}

func (d *Detector) remember(at int64, size, level float64, lasts bool) {
	d.habits[d.nhabits%habits] = habit{at, size, level, lasts}
	d.nhabits++
	if lasts {
		d.habits[d.nhabits%habits] = habit{at, 0, d.at(d.t).x, true}
		d.nhabits++
	}
}

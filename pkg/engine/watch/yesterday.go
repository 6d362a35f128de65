// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"time"
)

const (
	blockRows = thin // newest readings whose mean is held against that of a period ago
	seasonal  = 0.6  // share of the difference from half a period ago below which that from a period ago is a season's
	nearDay   = 0.15 // of a day, off which a period is a day
)

// before is the mean of the block of about so long ago; NaN where none is remembered, or not of what is normal.
func (l *long) before(now, ago int64) float64 {
	n := min(l.n, longRing)
	lo, hi := l.n-n, l.n // first block that is not before the time
	want := now - ago
	for lo < hi {
		if m := (lo + hi) / 2; l.ring[m&(longRing-1)].at < want {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == l.n || lo == l.n-n {
		return math.NaN()
	}
	a, b := l.ring[(lo-1)&(longRing-1)], l.ring[lo&(longRing-1)]
	if l.isMixed(lo-1) || l.isMixed(lo) || math.IsNaN(a.x) || math.IsNaN(b.x) || b.at <= a.at {
		return math.NaN()
	}
	f := float64(want-a.at) / float64(b.at-a.at)
	return a.x + f*(b.x-a.x)
}

// lastPeriod holds the mean of the newest readings against that of a period ago; ok where the stream has a season.
func (d *Detector) lastPeriod() (diff, half float64, ok bool) {
	if d.t < blockRows || d.period == 0 {
		return 0, 0, false
	}
	now := d.at(d.t).at
	const day = int64(24 * time.Hour)
	ago := day
	if math.Abs(d.period/float64(day)-1) > nearDay {
		ago = int64(min(d.period, 1e18))
	}
	diff = d.mean - d.far.before(now, ago)
	half = d.mean - d.far.before(now, ago/2)
	if d.set.by != 0 && ago == day && now-ago < d.set.at+int64(2*thin*d.interval) { // the same hour may be that of the clock
		moved := d.mean - d.far.before(now, ago-d.set.by)
		switch {
		case moved*diff < 0: // or between both: an hour was left out
			diff = 0
		case math.Abs(moved) < math.Abs(diff):
			diff = moved
		}
	}
	return diff, half, !math.IsNaN(diff) && !math.IsNaN(half)
}

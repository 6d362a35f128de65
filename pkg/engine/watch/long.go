// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import "math"

const (
	longLags  = 2  // differences over 256 and 512 readings
	thin      = 16 // readings of which one is kept for them
	longRing  = 128
	firstLong = 256 / thin // kept readings
)

// long knows how far the stream moves in a long time: what an incident that lasts is held against.
type long struct {
	ring  [longRing]point
	mixed [longRing / 64]uint64 // a bit for each of the means of which some readings are part of an incident that is over
	n     int64
	scale [longLags]float64
	tails [longLags]tail
}

// keep takes in the mean of thin readings.
func (l *long) keep(p point, mixed bool, interval, smallest float64) {
	l.ring[l.n&(longRing-1)] = p
	l.mark(l.n, mixed)
	l.n++
	for k := range longLags {
		lag := int64(firstLong) << k
		if l.n <= lag {
			return
		}
		seen := float64(l.n - lag)
		then := l.ring[(l.n-1-lag)&(longRing-1)]
		if math.IsNaN(then.x) {
			continue
		}
		diff, z := l.z(k, p.x-then.x, grown(maxGrowth, float64(p.at-then.at), lengthOf(k)*interval), smallest)
		t := &l.tails[k]
		if s := l.scale[k]; seen > 8 {
			diff = min(diff, 5*s)
		}
		l.scale[k] += max(1/seen, thin/float64(memory)) * (diff - l.scale[k])
		if seen > 4 {
			t.add(z)
		}
	}
}

// lengthOf is a lag in readings.
func lengthOf(k int) float64 { return float64(int64(firstLong*thin) << k) }

func (l *long) z(k int, diff, grown, smallest float64) (float64, float64) {
	diff = math.Abs(diff) / grown
	s := l.scale[k] + coarse*smallest
	if s == 0 {
		return diff, 0
	}
	return diff, diff / s
}

// u is how rare it is to be diff away after age readings, where moves grow with a power of time; ok where that is known.
func (l *long) u(age int64, diff, dt, power, interval, smallest float64) (u float64, ok bool) {
	for k := longLags - 1; k >= 0; k-- {
		lag := int64(firstLong) << k
		if age >= lag*thin && l.n > 2*lag {
			_, z := l.z(k, diff, grown(power, dt, lengthOf(k)*interval), smallest)
			return l.tails[k].u(z), true
		}
	}
	return 0, false
}

// skip keeps the place of readings of an incident: NaN is none to compare with.
func (l *long) skip(at int64) {
	if l.n > 0 {
		l.ring[l.n&(longRing-1)] = point{x: math.NaN(), at: at}
		l.n++
	}
}

func (l *long) mark(t int64, mixed bool) {
	word, bit := &l.mixed[t&(longRing-1)/64], uint64(1)<<(t&63)
	if *word &^= bit; mixed {
		*word |= bit
	}
}

func (l *long) isMixed(t int64) bool { return l.mixed[t&(longRing-1)/64]>>(t&63)&1 != 0 }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"math/bits"
	"slices"
)

// The members: what is asked of each reading.
const (
	lags    = 8    // differences over 1, 2, 4 … 128 readings
	noise   = lags // how much the stream scatters
	still   = lags + 1
	season  = lags + 2
	members = lags + 3
	hinted  = members // what somebody else saw
)

const (
	memory = 4000 // readings, of scales
	capU   = 3.5  // what is learned counts as no rarer
)

// measure takes the statistics of the newest reading.
func (d *Detector) measure() {
	p, mixed := d.block(d.t)
	if d.mean = p.x; mixed {
		d.mean = math.NaN()
	}
	usual := 0.0
	for j := range lags {
		usual = max(usual, d.scale[j])
		d.zs[j] = 0
		if d.t-d.bound >= 1<<j && d.t > 1<<j {
			_, d.zs[j] = d.move(d.t, j, usual)
		}
	}
	d.zs[noise], d.zs[still] = 0, d.rest.run+1
	if s := d.scale[0]; s > 0 {
		d.zs[noise] = d.rest.median() / (s + coarse*d.smallest) / math.Sqrt(1+youngNoise*scatterOf/max(d.learned, 1))
	}
	d.zs[season] = 0
	if diff, half, ok := d.lastPeriod(); ok {
		d.diff, d.half = math.Abs(diff), math.Abs(half)
		if s := d.periodScale; s > 0 && s < seasonal*d.halfScale && d.periods > 4*blockRows {
			d.zs[season] = d.diff / (s + coarse*d.smallest)
		}
	} else {
		d.diff, d.half = math.NaN(), math.NaN()
	}
	d.rest.keep(d.t, d.zs[noise], d.rest.ended)
}

// move is how far reading t lies from the one 2^j before, and the same in usual moves. A reading that is part of an
// incident stands for the last one before it. Usual is the largest of the scales up to j.
func (d *Detector) move(t int64, j int, usual float64) (diff, z float64) {
	lag := int64(1) << j
	now, then := d.at(t), d.at(t-lag)
	if back := int64(*d.back(t - lag)); back > 0 {
		if lag+back >= ringSize {
			return 0, 0
		}
		then = d.at(t - lag - back)
	}
	return d.scaled(now.x-then.x, float64(now.at-then.at), j, usual+coarse*d.smallest)
}

// scaled is the size of a move in dt, and the same in usual moves over 2^j readings. Over more time than those usually
// take streams move further, as the square root of it; and while little is known, what is usual is uncertain.
func (d *Detector) scaled(diff, dt float64, j int, usual float64) (size, z float64) {
	lag := float64(int64(1) << j)
	size = math.Abs(diff)
	if r := dt / (lag * d.interval); r > 1 {
		size /= math.Sqrt(r)
	}
	if usual == 0 {
		return size, 0
	}
	return size, size / usual / math.Sqrt(1+8*lag/max(d.learned, 1))
}

// usual is the size of usual moves over 2^j readings. It is no less than over fewer, and steps of the sensor are none.
func (d *Detector) usual(j int) float64 { return slices.Max(d.scale[:j+1]) + coarse*d.smallest }

// lagFor is the longest lag that is no longer than so many readings.
func lagFor(readings int64) int { return min(lags-1, 63-bits.LeadingZeros64(uint64(max(readings, 1)))) }

// learn takes reading t in, as no rarer than 10^-most.
func (d *Detector) learn(t int64, most float64) {
	d.learned++
	if t%thin == 0 {
		p, mixed := d.block(t)
		d.far.keep(p, mixed, d.interval, d.smallest)
	}
	most = min(most, math.Log10(d.learned)+rareMore)
	gain := max(1/d.learned, 1.0/memory)
	usual := 0.0
	for j := range lags {
		if t <= 1<<j {
			break
		}
		size, z := d.move(t, j, max(usual, d.scale[j]))
		l := &d.tails[j]
		if s := d.scale[j]; s > 0 && d.learned > 8 {
			size = min(size, max(5, l.start())*s)
		}
		d.scale[j] += gain * (size - d.scale[j])
		usual = max(usual, d.scale[j])
		if d.learned > lagsLearned*float64(int64(1)<<j) {
			d.take(l, z, most)
		}
	}
	if n, s, ok := d.rest.kept(t, d.t); ok {
		if n > 0 {
			d.take(&d.tails[noise], n, most)
		}
		if s > 0 { // a rest ended here
			d.rest.runs++
			d.rest.rows += s
			d.take(&d.tails[still], s, most)
		}
	}
}

// stillness is how rare rests as long as the present one are, and how rare it is that one begins.
func (d *Detector) stillness() (among, begins float64) {
	const least = 8 // rests that must be known
	r := &d.rest
	if r.runs < least || r.run < 1 || d.states > 2 {
		return 0, 0
	}
	among = d.tails[still].u(d.zs[still] / math.Sqrt(1+least/2/r.runs))
	if repeats := d.tails[still].above(1); repeats < rareRepeat {
		among = min(among, -math.Log10(repeats)*r.run)
	}
	return among, among + math.Log10(r.rows/r.runs)
}

func (d *Detector) take(l *tail, z, most float64) {
	if d.learned > silent && l.rarer(z, most) {
		z = l.at(most)
	}
	l.add(z)
}

// block is the mean of the thin readings up to t; mixed tells that some are part of an incident that is over.
func (d *Detector) block(t int64) (p point, mixed bool) {
	p.at = d.at(t).at
	n := min(int64(thin), t)
	for k := range n {
		p.x += d.at(t-k).x / float64(n)
		mixed = mixed || *d.back(t - k) != 0
	}
	last := &d.open
	return p, mixed || !last.on && last.began <= t && t-n < last.away
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"slices"
	"time"
)

const (
	meanOf    = 4              // newest readings whose mean tells whether it goes on
	awayLeast = 1              // u of the newest one for that
	calmRows  = 2              // that end an incident
	replay    = ringSize - 128 // newest readings of an accepted incident that are learned
	longest   = 12 * time.Hour // until an incident is accepted, unless configured
	leastRows = 100            // of one that is accepted for its time, or as it is longer than all that was learned

	stayU      = 1.0 // of a reading that is not back, if the stream keeps the level that it has gone to
	levelOf    = 64  // newest readings of an incident that tell the level it keeps,
	levelLeast = 4   // if there are so many
	leastMoves = 16  // over a lag until moves are held against them
	leastDrift = 3   // lag from which a departure may be a drift
	maxGrowth  = 0.5 // power of time with which moves grow
)

// incident is the one that is open, or the last one.
type incident struct {
	on      bool
	hint    Kind          // that somebody else gives it
	by      int           // member that began it
	began   int64         // first reading
	chain   int64         // first reading of the first of several that followed each other closely
	away    int64         // newest reading away from normal
	size    float64       // farthest from it
	base    float64       // reading before the first
	at      int64         // and its time
	calm    int           // newest readings that were not away
	unusual float64       // readings that would have been unusual anyway
	fill    float64       // readings of the chain that looked normal but for where they are, less some of the others
	peaks   [lags]float64 // statistics of the beginning
}

// rows is how many readings a member looks back.
func (d *Detector) rows(by int) int64 {
	switch {
	case by < lags:
		return 1 << by
	case by == noise:
		return scatterOf
	case by == season:
		return blockRows
	}
	return min(int64(d.rest.run)+1, ringSize-130)
}

// begin opens an incident of so many readings that member by has found.
func (d *Detector) begin(by int, rows int64) {
	i := &d.open
	began := max(d.t-rows+1, 2)
	if i.chain == 0 || began-i.away > late {
		i.chain, i.fill = began, 0
	}
	for ; d.next < began; d.next++ {
		d.learn(d.next, capU)
	}
	base := *d.at(began - 1)
	base.x = d.stood(began - 1)
	*i = incident{
		on: true, by: by, began: began, chain: i.chain, away: d.t, base: base.x, at: base.at, fill: i.fill,
		size:  d.at(d.t).x - base.x,
		peaks: [lags]float64(d.zs[:lags]),
	}
}

// follow holds a reading against what was normal before the open incident.
func (d *Detector) follow(v *Verdict, hint *Hint) {
	i := &d.open
	now := d.at(d.t)
	if math.Abs(now.x-i.base) > math.Abs(i.size) {
		i.size = now.x - i.base
	}
	u := d.distance(now)
	if rows := d.t - i.began + 1; rows >= meanOf && u >= awayLeast { // one reading back among noise is not the end
		mean := *now
		mean.x = 0
		for t := d.t - meanOf + 1; t <= d.t; t++ {
			mean.x += d.at(t).x / meanOf
		}
		u = max(u, d.distance(&mean))
	}
	u0, un := d.tails[0].u(d.zs[0]), d.tails[noise].u(d.zs[noise])
	us, _ := d.stillness()
	u = max(u, un, us, hint.U)
	if i.by == season {
		u = max(un, us, d.tails[season].u(d.zs[season]))
	}
	if hint.Away {
		u = max(u, awayU)
	}
	if hint.Kind != None {
		i.hint = hint.Kind
	}
	v.Tail = joined(u)
	v.Moved = v.Tail
	d.describe(v)
	v.Open = true
	if u >= awayU {
		v.Away = true
		v.Tail = d.lifted(v.Tail)
		i.calm, i.away = 0, d.t
	} else if (u >= stayU || d.growth(lags-1) < maxGrowth/2) && d.stays(now.x) {
		i.calm = 0
	} else if i.calm++; i.calm >= calmRows {
		v.Open = false
		d.end()
		return
	}
	if max(u0, un, us) < awayU {
		i.fill++
	} else {
		i.fill = max(0, i.fill-fillLess)
		i.unusual++
	}
	if d.acceptable(now.at) {
		v.Accepted, v.Open = true, false
		d.accept()
		i.began, i.away = 0, 0 // it is part of what is normal
	}
}

// stood is where the stream stood at reading t: the median of five, where those that are part of an incident stand for
// where it was before that. Where that cannot be told it is reading t itself.
func (d *Detector) stood(t int64) float64 {
	var five [5]float64
	if t-int64(len(five)) < max(d.bound, 1) {
		return d.at(t).x
	}
	for k := range five {
		five[k] = d.at(t - int64(k)).x
		if *d.back(t - int64(k)) == 0 {
			continue
		}
		if d.open.by == season { // not held against a level
			return d.at(t).x
		}
		five[k] = d.open.base
	}
	slices.Sort(five[:])
	return five[len(five)/2]
}

// distance is how rare it is to be where the stream is now, after so long.
func (d *Detector) distance(now *point) float64 {
	if d.states > 0 {
		return 0
	}
	i := &d.open
	rows, diff, dt := d.t-i.began+1, now.x-i.base, float64(now.at-i.at)
	if u, ok := d.far.u(rows, diff, dt, d.growth(lags-1), d.interval, d.smallest); ok {
		return u
	}
	j := lagFor(rows)
	for j > 0 && d.tails[j].n < leastMoves { // nothing is known of moves over so many readings
		j--
	}
	_, z := d.scaled(diff/grown(d.growth(j), dt, float64(int64(1)<<j)*d.interval)/d.unknown(rows, j), 0, j, d.usual(j))
	return d.tails[j].u(z)
}

// unknown is by how much more moves over so many readings may be than those over 2^j tell, of which nothing longer is
// known.
func (d *Detector) unknown(rows int64, j int) float64 {
	more := min(float64(rows-int64(1)<<j), d.learned)
	return math.Sqrt(1 + 8*max(more, 0)/d.learned)
}

// stays reports whether the stream keeps a level that it has gone to in the open incident: it is nearer to that than to
// where it was before.
func (d *Detector) stays(x float64) bool {
	i := &d.open
	if d.states > 0 || i.by == noise || i.by == still || i.by == season {
		return false
	}
	from, to := max(i.began, d.t-levelOf), d.t-calmRows
	if to-from < levelLeast {
		return false
	}
	level := 0.0
	for t := from; t < to; t++ {
		level += d.at(t).x / float64(to-from)
	}
	return math.Abs(level-i.base) > 0.5*math.Abs(i.size) && math.Abs(x-level) < math.Abs(x-i.base)
}

// growth is the power of time with which the stream's moves grow from 2^j readings on, by how they grew up to there:
// 1/2 at most, as those of a random walk, and 0 where the stream keeps a level.
func (d *Detector) growth(j int) float64 {
	const octaves = 2
	if j < octaves || d.usual(j) == 0 {
		return maxGrowth
	}
	return max(0, min(math.Log2(d.usual(j)/d.usual(j-octaves))/octaves, maxGrowth))
}

// grown is by how much moves in dt are larger than in the time that a lag takes.
func grown(power, dt, lag float64) float64 {
	if r := dt / lag; r > 1 {
		return math.Pow(r, power)
	}
	return 1
}

// acceptable reports whether the incident has lasted long enough to be the new normal.
func (d *Detector) acceptable(at int64) bool {
	i := &d.open
	lasts, rows := time.Duration(at-i.at), d.t-i.began+1
	switch accept := d.config.Accept; {
	case accept < 0:
		return false
	case accept > 0:
		return lasts >= accept
	case d.learned < littleKnown && lasts < d.config.Least:
		return false
	case rows > leastRows && (lasts > longest || float64(rows) > d.learned):
		return true
	}
	return i.fill > max(leastFill, fillShare*min(d.learned, memory))
}

// end closes the incident, as the stream is back or has gone where it goes anyway. In the second case what happened is
// learned.
func (d *Detector) end() {
	i := &d.open
	newest := d.at(d.t)
	_, z := d.scaled(newest.x-i.base, float64(newest.at-i.at), 2, d.usual(2))
	elsewhere := d.states == 0 && d.tails[2].u(z) > awayU
	if elsewhere {
		d.accept()
		return
	}
	if i.away-i.began >= blockRows {
		d.remember(habit{at: i.at, size: i.size, still: i.by == still, returned: true})
	}
	i.on = false
	for t := (i.began + thin - 1) / thin * thin; t <= i.away; t += thin {
		d.far.skip(d.when(t))
	}
	for t := max(i.began, d.t-replay); t <= i.away; t++ {
		*d.back(t) = int32(t - i.began + 1)
	}
	d.next = i.away + 1
}

// accept closes the incident and learns it. Nothing is compared any more with what was before it ended.
func (d *Detector) accept() {
	i := &d.open
	i.on = false
	d.rested = !d.config.Anew && (i.by == still || 2*int64(d.rest.run) >= d.t-i.began) // until it moves
	d.next = max(i.chain, d.t-replay)
	for t := (i.began + thin - 1) / thin * thin; t < d.next; t += thin {
		d.far.skip(d.when(t))
	}
	for t := d.next; t <= d.t; t++ {
		*d.back(t) = 0
	}
	if i.by < lags {
		for j, z := range i.peaks {
			if l := &d.tails[j]; z > 0 && d.us[j] > acceptedU {
				l.add(min(z, l.at(peakU)))
			}
		}
	}
	d.remember(habit{at: i.at, size: i.size, still: i.by == still})
	i.chain, d.bound = 0, d.t
	for ; d.next <= d.t-late; d.next++ {
		d.learn(d.next, acceptedU)
	}
}

// describe names the open incident.
func (d *Detector) describe(v *Verdict) {
	i := &d.open
	rows := d.t - i.began + 1
	v.Rows, v.Base, v.Usual = int(rows), i.base, d.usual(lagFor(rows))
	switch {
	case d.rest.run >= 2 && int64(d.rest.run) >= rows-1 && d.rest.runs*2 > d.rest.rows && d.states == 0:
		v.Kind, v.Rows = Freeze, int(d.rest.run)+1 // all of it is rest, and the stream moves with most readings
	case i.hint != None:
		v.Kind = i.hint
	case i.by == noise:
		v.Kind = Noise
	case i.by == still:
		v.Kind, v.Rows = Freeze, int(d.rest.run)+1
	case i.by == season:
		v.Kind = Pattern
	case d.t-i.began < 4:
		v.Kind = Spike
	default:
		v.Kind = d.departure()
	}
}

// departure names an incident by where its newest readings lie: most of them off to one side make a level, or a drift if
// they did not leap there; on both sides they are noise, and a few that are off are spikes.
func (d *Detector) departure() Kind {
	const part = 0.25 // of the farthest
	i := &d.open
	var devs [levelOf]float64
	n := 0
	for t := max(i.began, d.t-levelOf+1); t <= d.t; t++ {
		devs[n] = d.at(t).x - i.base
		n++
	}
	slices.Sort(devs[:n])
	least, most := min(devs[0], 0), max(devs[n-1], 0)
	size := max(most, -least)
	switch level := math.Abs(devs[(n-1)/2]+devs[n/2])/2 > part*size; {
	case level && i.by >= leastDrift && !d.leapt(i.base, max(i.began, d.t-replay), min(i.began+int64(1)<<i.by, d.t)):
		return Drift
	case level:
		return Level
	case min(most, -least) > part*size:
		return Noise
	}
	return Spike
}

// leapt reports whether one move makes most of how far readings from … to went from a level.
func (d *Detector) leapt(level float64, from, to int64) bool {
	all, most := 0.0, 0.0
	for t := from; t <= to; t++ {
		all = max(all, math.Abs(d.at(t).x-level))
		most = max(most, math.Abs(d.at(t).x-d.at(t-1).x))
	}
	return most > 0.5*all
}

// when is about the time of reading t.
func (d *Detector) when(t int64) int64 {
	if d.t-t < ringSize {
		return d.at(t).at
	}
	i := &d.open
	f := float64(t-i.began+1) / float64(d.t-i.began+1)
	return i.at + int64(f*float64(d.at(d.t).at-i.at))
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"time"
)

const (
	ringSize = 512 // readings remembered
	late     = 32  // readings before one is learned
	silent   = 60  // readings learned before the first verdict
	largest  = 1e150
)

// Config is how a [Detector] decides.
type Config struct {
	// Begin is the tail probability, a reading, from which an incident begins; 0 is 1 in 8,000.
	Begin float64
	// Accept is for how long a stream must behave in a new way until that is normal: 0 leaves it to what the stream is
	// like, and is 12 hours at most; less than 0 is never.
	Accept time.Duration
}

// Kind names what is unusual.
type Kind uint8

// The kinds.
const (
	None   Kind = iota
	Spike       // far from what was before
	Level       // a new level
	Drift       // a departure that took longer than one reading
	Noise       // scatters more than it should
	Freeze      // stands still for longer than it does
)

// Verdict is what a [Detector] makes of one reading.
type Verdict struct {
	Judged bool // false while too little is known
	// Tail is the share of readings that are at least as unusual while all is well; Onset the same of what is news: it
	// is 1 while an incident lasts.
	Tail, Onset float64
	Began       bool    // an incident began with this reading
	Away        bool    // this reading is away from what was normal
	Open        bool    // an incident lasts, whatever this reading
	Accepted    bool    // an incident ended, as it is the new normal
	Kind        Kind    // of the incident
	Rows        int     // of the incident so far; of the rest for a Freeze
	Base        float64 // where the stream stood before the incident; else the reading before
	Usual       float64 // by how much it usually moves in that time
}

// Detector watches one stream.
type Detector struct {
	config Config
	from   float64 // u from which an incident begins

	t        int64 // number of the newest reading, from 1
	first    int64 // Unix ns
	ring     [ringSize]point
	interval float64 // usual time between readings, ns
	bound    int64   // nothing is compared with readings before this one

	next     int64   // number of the reading to be learned next
	learned  float64 // readings
	scale    [lags]float64
	smallest float64 // least move but 0
	tails    [members]tail
	far      long
	rest     rest
	zs       [members]float64 // of the newest reading
	us       [members]float64

	open incident
}

// point is a reading.
type point struct {
	x    float64
	at   int64 // Unix ns
	back int32 // readings to the last before the incident that it is part of; 0: none
}

// New makes a detector.
func New(c Config) *Detector {
	d := &Detector{}
	d.Configure(c)
	return d
}

// Configure sets how the detector decides. It keeps what was learned.
func (d *Detector) Configure(c Config) {
	d.config = c
	d.from = tune[7]
	if c.Begin > 0 {
		d.from = max(-math.Log10(c.Begin/witnesses), tune[8])
	}
}

// witnesses is how many of the members count: their tails are joined as those of so many that know nothing of each
// other, so that 1e-5 of one is 1 in 8,000 of all.
const witnesses = 12.5

// joined is the tail probability of the least of the members' tails, 10^-u.
func joined(u float64) float64 {
	if u <= 0 {
		return 1
	}
	return -math.Expm1(witnesses * math.Log1p(-min(math.Pow(10, -u), 1-1e-9)))
}

func (d *Detector) at(t int64) *point { return &d.ring[t&(ringSize-1)] }

// Next judges a reading taken at a time in Unix ns, and learns. Times may stand still or run backwards.
func (d *Detector) Next(x float64, at int64) Verdict {
	x = max(-largest, min(largest, x))
	d.t++
	t := d.t
	if t == 1 {
		d.first, d.next = at, 1
		for i := range d.ring {
			d.ring[i] = point{x: x, at: at}
		}
		return Verdict{Tail: 1, Onset: 1, Base: x}
	}
	before := *d.at(t - 1)
	*d.at(t) = point{x: x, at: at}
	d.pace(float64(at - before.at))
	move := math.Abs(x - before.x)
	if move > 0 && (d.smallest == 0 || move < d.smallest) {
		d.smallest = move
	}
	d.rest.add(t, move)
	d.measure()

	v := Verdict{Judged: d.learned >= silent, Tail: 1, Onset: 1, Base: before.x}
	if v.Judged {
		if d.open.on {
			d.follow(&v)
		} else {
			d.judge(&v)
		}
	}
	for !d.open.on && d.next <= t-late {
		d.learn(d.next, capU)
		d.next++
	}
	return v
}

// pace learns the usual time between readings: its median.
func (d *Detector) pace(dt float64) {
	switch {
	case !(dt > 0):
	case d.interval == 0:
		d.interval = dt
	case dt > d.interval:
		d.interval = min(d.interval*1.02, dt)
	default:
		d.interval = max(d.interval/1.02, dt)
	}
}

// judge looks for the beginning of an incident.
func (d *Detector) judge(v *Verdict) {
	by := 0
	for k, z := range d.zs {
		if d.us[k] = d.tails[k].u(z); d.us[k] > d.us[by] {
			by = k
		}
	}
	u := d.us[by]
	v.Tail = joined(u)
	v.Onset = v.Tail
	if u >= d.from+d.young() {
		d.begin(by)
		d.describe(v)
		v.Began, v.Away, v.Open = true, true, true
	}
}

// young is what an incident needs more while not even a day was seen.
func (d *Detector) young() float64 {
	age := max(float64(d.at(d.t).at-d.first)/float64(24*time.Hour), d.learned/tune[19])
	return tune[18] * max(0, 1-age)
}

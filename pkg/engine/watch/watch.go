// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"
	"time"
)

const (
	ringSize = 256 // readings remembered
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
	// Least is for how long at least, where that is left to a stream of which little is known yet.
	Least time.Duration
	// Anew has a rest that was accepted begin an incident again, for a caller who knows of it and wants to be told how
	// unusual it is. Otherwise it is normal until the stream moves.
	Anew bool
	// Wary asks more of a stream of which little is known yet even where it has kept a level so far.
	Wary bool
}

// Kind names what is unusual.
type Kind uint8

// The kinds.
const (
	None    Kind = iota
	Spike        // far from what was before
	Level        // a new level
	Drift        // a departure that took longer than one reading
	Noise        // scatters more than it should
	Freeze       // stands still for longer than it does
	Pattern      // does not follow its season
	State        // a value never met, or states that last too long or not long enough
)

// Verdict is what a [Detector] makes of one reading.
type Verdict struct {
	Judged bool // false while too little is known
	// Tail is the share of readings that are at least as unusual while all is well; Onset the same of what is news: it
	// is 1 while an incident lasts.
	Tail, Onset float64
	Moved       float64 // the part of Tail that its moves and rests have
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
	backs    [ringSize]int32 // readings to the last before the incident that one is part of; 0: none
	interval float64         // usual time between readings, ns
	bound    int64           // nothing is compared with readings before this one

	next                            int64   // number of the reading to be learned next
	learned                         float64 // readings
	scale                           [lags]float64
	smallest                        float64 // least move but 0
	tails                           [members]tail
	far                             long
	rest                            rest
	states                          int     // of the stream, as of the newest reading
	period                          float64 // of a season, ns; 0: there is none
	mean                            float64 // of the newest readings
	diff, half                      float64 // from the mean a period ago, and half a period
	periodScale, halfScale, periods float64
	zs                              [members]float64 // of the newest reading
	us                              [members]float64

	open    incident
	lessons []lesson
	excuse  excuse
	habits  [habits]habit
	rested  bool // the present rest is a habit
	nhabits int32
	set     set
}

// point is a reading.
type point struct {
	x  float64
	at int64 // Unix ns
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
	d.from = beginU
	if c.Begin > 0 {
		d.from = max(-math.Log10(c.Begin/witnesses), awayU)
	}
}

const defaultBegin = 1.0 / 8000

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

func (d *Detector) at(t int64) *point   { return &d.ring[t&(ringSize-1)] }
func (d *Detector) back(t int64) *int32 { return &d.backs[t&(ringSize-1)] }

// Hint is what somebody else knows of a reading.
type Hint struct {
	U    float64 // −log10 of the tail probability of what is new about it; 0: nothing
	Kind Kind    // what it is
	Rows int     // readings that it took
	Away bool    // it is still away from what was normal before that
	// States is how many values a stream takes that rests on few: how far it moves says nothing, and how long it rests
	// only where there are two.
	States int
}

// Next judges a reading taken at a time in Unix ns, and learns. Times may stand still or run backwards.
func (d *Detector) Next(x float64, at int64) Verdict { return d.NextWith(x, at, Hint{}) }

// NextWith is Next with a hint.
func (d *Detector) NextWith(x float64, at int64, hint Hint) Verdict {
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
	*d.at(t), *d.back(t) = point{x: x, at: at}, 0
	d.pace(float64(at - before.at))
	move := math.Abs(x - before.x)
	if move > 0 && (d.smallest == 0 || move < d.smallest) {
		d.smallest = move
	}
	d.rest.add(t, move)
	d.measure()
	if d.states = hint.States; d.states > 0 {
		clear(d.zs[:still])
		d.zs[season] = 0
	}

	v := Verdict{Judged: d.learned >= silent, Tail: 1, Onset: 1, Base: before.x}
	if v.Judged {
		if d.open.on {
			d.follow(&v, &hint)
		} else {
			d.judge(&v, &hint)
		}
	}
	if !d.open.on && !math.IsNaN(d.diff) {
		d.periods++
		gain := max(1/d.periods, 1.0/memory)
		if d.periods > blockRows {
			d.diff, d.half = min(d.diff, 5*d.periodScale), min(d.half, 5*d.halfScale)
		}
		d.periodScale += gain * (d.diff - d.periodScale)
		d.halfScale += gain * (d.half - d.halfScale)
		if z := d.zs[season]; z > 0 {
			d.take(&d.tails[season], z, capU)
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
func (d *Detector) judge(v *Verdict, hint *Hint) {
	by, least, common, stands := 0, 1.0, 0, 0.0
	d.rested = d.rested && d.rest.run > 0
	for k, z := range d.zs {
		d.us[k] = 0
		if k == still {
			if _, u := d.stillness(); d.rested {
				stands = u
			} else {
				d.us[k] = u
			}
		} else if share, ok := d.tails[k].common(z); !ok {
			d.us[k] = d.tails[k].u(z)
		} else if share < least {
			least, common = share, k
		}
		if d.us[k] > d.us[by] {
			by = k
		}
	}
	if u := -math.Log10(least); u > d.us[by] { // a logarithm for the rarest of what is common is enough
		d.us[common], by = u, common
	}
	u, rows := d.us[by], d.rows(by)
	if hint.U > u {
		by, u, rows = hinted, hint.U, int64(max(hint.Rows, 1))
	}
	v.Tail = joined(u)
	v.Onset, v.Moved = v.Tail, v.Tail
	if stands > u { // it is unusual as before, and no news
		v.Tail = joined(stands)
		v.Moved = v.Tail
	}
	excused := d.excuse.lesson > 0 && d.excused(rows)
	begins := u >= d.from && u >= d.from+d.young(by, rows)
	if !excused && begins {
		excused = len(d.lessons) > 0 && d.excused(rows)
	}
	if !excused && begins {
		now := d.at(d.t)
		base := d.at(max(d.t-rows, 1))
		if size := now.x - base.x; d.habitual(base.at, size, by == still) {
			d.remember(habit{at: base.at, size: size, still: by == still})
			d.rested = d.rested || by == still
			d.bound = d.t
			v.Tail = max(v.Tail, 1.01*d.beginTail())
			return
		}
		d.begin(by, rows)
		d.open.hint = hint.Kind
		d.describe(v)
		v.Began, v.Away, v.Open = true, true, true
		v.Tail = d.lifted(v.Tail)
		return
	}
	v.Tail = max(v.Tail, 1.01*d.beginTail())
}

// young is what an incident that a member sees in so many rows needs more while little was seen: the first day of a stream
// is all news. One that has kept a level does not drift by itself, though it may leap: how far moves over a while are
// larger than over a quarter of it tells whether it has.
func (d *Detector) young(by int, rows int64) float64 {
	if d.learned >= grownUp {
		return 0
	}
	more := youngU * (1 - d.learned/grownUp)
	if d.config.Wary || by < leastDrift || by >= lags || d.leapt(d.at(d.t-rows).x, d.t-rows+1, d.t) {
		return more
	}
	const part = 8 // of what was learned, over which moves are known
	return more * d.growth(lagFor(int64(d.learned)/part)) / maxGrowth
}

// lifted is the tail probability of a reading that is part of an incident: less than what begins one, but in the order
// of how far each is away.
func (d *Detector) lifted(tail float64) float64 {
	return min(tail, d.beginTail()*math.Sqrt(tail))
}

func (d *Detector) beginTail() float64 {
	if d.config.Begin > 0 {
		return d.config.Begin
	}
	return defaultBegin
}

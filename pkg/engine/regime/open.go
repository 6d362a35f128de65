// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import "math"

const (
	persists     = 5    // readings that make a level of a spike
	toldFor      = 8    // readings that a new name is told for
	departsFor   = 4    // the same for what departs without a leap, which nothing else is told of before
	noiseFor     = 48   // the same for noise, which may begin with what looks like spikes
	stateFor     = 2    // the same for states, of which each dwell may tell anew
	restFor      = 32   // readings in good order that end an incident
	spikeRest    = 8    // the same for a spike
	longIncident = 720  // readings after which the new is the usual
	asFast       = 1.25 // usual rates of the season from which a departure is no drift
	farFaster    = 3    // the same when it has just begun, and its rate is not well known
	jumpRise     = 12   // readings in which a level that came at once is seen
)

// evidence is what is known of one reading while all is well or while an incident is going on.
type evidence struct {
	statistics
	y                                float64
	counting                         bool
	held                             bool    // somebody else follows the incident
	rise                             float64 // readings since the level was near the usual one
	levelLimit                       float64
	seasonRate                       float64 // usual change of the season a reading; 0: none
	leapTail, levelTail, scatterTail float64
}

// incident is what is going on, and its name so far.
type incident struct {
	on       bool
	renamed  bool // by the newest reading
	settled  bool // it lasts so long that it is the usual now
	kind     Kind
	age      float64
	tail     float64 // of the strongest evidence
	base     float64 // what was expected when it began
	dev      float64 // by how much the first reading was off
	sum      float64 // of deviations from base, for counters; else the newest
	out      int32   // readings away in succession
	quiet    int32   // readings in good order in succession
	tell     int32   // readings left for which the name is told
	shift    float64 // 32 readings ago
	changes  int32   // of states
	reversed int32   // changes against the one before
	sign     int32   // of the newest change
}

// holds reports whether the usual level must not be learned.
func (i *incident) holds() bool { return i.on && i.kind != Spike && i.kind != State }

// away reports whether the newest reading is still off.
func (i *incident) away() bool { return i.on && i.out > 0 }

func (i *incident) begin(k Kind, tail float64, tell int32) {
	*i = incident{on: true, kind: k, tail: tail, tell: tell, renamed: true}
}

func (i *incident) rename(k Kind, tell int32) {
	i.kind, i.tell, i.renamed, i.quiet = k, tell, true, 0
}

// rhythm notes that a state lasts too long or, where it is over, lasted not long enough, and returns what is to be told.
func (i *incident) rhythm(tail float64, over bool) (Kind, float64) {
	switch {
	case !i.on:
		i.begin(State, tail, stateFor)
	case i.kind != State:
		return None, 1
	case over:
		i.tell = stateFor
	}
	i.quiet = 0
	i.tail = min(i.tail, tail)
	return i.say()
}

// follow takes the evidence of one reading and returns what is to be told.
func (i *incident) follow(e *evidence) (Kind, float64) {
	i.renamed = false
	if !i.on {
		switch {
		case e.scatterTail <= AlarmTail:
			i.begin(Noise, e.scatterTail, noiseFor)
		case e.leapTail <= AlarmTail:
			i.begin(Spike, e.leapTail, 1)
			i.base, i.dev, i.sum, i.out = e.expected, e.y-e.expected, e.y-e.expected, 1
		case e.levelTail <= AlarmTail:
			i.begin(departure(e), e.levelTail, departsFor)
			i.shift = e.shift
		default:
			return None, 1
		}
		return i.say()
	}
	i.age++
	i.tail = min(i.tail, e.leapTail, e.levelTail, e.scatterTail)
	if i.kind != Noise && e.scatterTail <= AlarmTail && i.age <= restFor {
		i.rename(Noise, noiseFor)
	}
	switch i.kind {
	case Spike, State:
		return i.followSpike(e)
	case Noise:
		i.rested(e.scatterTail > AlarmTail, restFor)
	default:
		i.rested(!(e.level > e.levelLimit/2), restFor)
		i.refine(e)
	}
	if i.on && i.age >= longIncident && !e.held {
		i.settled = true
	}
	if i.quiet > 0 && i.kind == Noise {
		return None, 1
	}
	return i.say()
}

// Going is the name of the incident that is going on, None while all is well.
func (w *Watch) Going() Kind {
	if !w.open.on {
		return None
	}
	return w.open.kind
}

// say tells the name, as long as it is news.
func (i *incident) say() (Kind, float64) {
	if !i.on || i.tell <= 0 {
		return None, 1
	}
	i.tell--
	return i.kind, max(min(i.tail, AlarmTail), 0)
}

// rested ends the incident after enough readings in good order.
func (i *incident) rested(good bool, enough int32) {
	if !good {
		i.quiet = 0
		return
	}
	if i.quiet++; i.quiet >= enough {
		*i = incident{}
	}
}

// departure names a level that is off without a leap.
func departure(e *evidence) Kind {
	switch rate := 0.75 * math.Abs(e.shift) / max(e.rise, 1); {
	case e.seasonRate > 0 && rate > farFaster*e.seasonRate:
		return Pattern // what is about as fast as the season is told of by refine
	case e.seasonRate == 0 && e.rise <= jumpRise:
		return Level
	}
	return Drift
}

func (i *incident) followSpike(e *evidence) (Kind, float64) {
	d := e.y - i.base
	if e.counting {
		i.sum += d
	} else {
		i.sum = d
	}
	leap := e.leapTail <= AlarmTail
	if i.kind == Spike && i.dev != 0 && i.sum*i.dev > 0 && math.Abs(i.sum) >= math.Abs(i.dev)/2 {
		i.quiet = 0
		if i.out++; i.out >= persists {
			i.rename(Level, toldFor)
			i.shift = e.shift
			return i.say()
		}
	} else {
		i.out = 0
		switch {
		case leap:
			i.tell = 1
			i.base, i.dev = e.expected, d
		case e.levelTail <= AlarmTail && i.age > spikeRest:
			i.rename(departure(e), departsFor)
			i.shift = e.shift
			return i.say()
		}
		i.rested(!leap, spikeRest)
	}
	if leap && i.on {
		i.tell = 1
	}
	return i.say()
}

// refine looks once more at a level that is off in a stream with a season: what moves about as fast as the season, or
// turns, is no drift. Once somebody else has ended the incident it gets no other name, which would be news of one that is
// over.
func (i *incident) refine(e *evidence) {
	if !i.on || !e.held || i.quiet > 0 || e.seasonRate == 0 || i.kind == Pattern || int64(i.age)%restFor != 0 {
		return
	}
	moved := math.Abs(e.shift-i.shift) / restFor
	turned := e.shift*i.shift < 0 && math.Abs(i.shift) > math.Abs(e.shift)/4 && e.level > e.levelLimit/2
	i.shift = e.shift
	if (i.kind == Drift || i.age > 2*restFor) && (turned || moved > asFast*e.seasonRate) {
		i.rename(Pattern, toldFor)
	}
}

// Away reports whether an incident lasts and the newest reading is part of it.
func (w *Watch) Away() bool {
	i := &w.open
	switch {
	case !i.on:
		return false
	case i.kind == Spike:
		return i.out > 0
	}
	return i.quiet == 0
}

// Structure is the regime and, where it is Seasonal, the readings of a season.
func (w *Watch) Structure() (r Regime, season int) {
	if w.regime == Seasonal {
		season = int(math.Round(w.season.period))
	}
	return w.regime, season
}

// Counts reports whether the stream is a counter, whether the newest reading reset it, and the sign of its moves.
func (w *Watch) Counts() (counter, reset bool, sign float64) {
	return w.counter.on, w.reset, w.counter.balance
}

// States is how many values a stream that rests on few has; 0 where it is none.
func (w *Watch) States() int {
	if w.regime != Discrete {
		return 0
	}
	return int(w.states.count)
}

// Rise is for how many readings the level has been away from the usual one.
func (w *Watch) Rise() int { return int(w.rise) }

// Hold keeps what is usual as it is, however long an incident lasts, or lets it follow again.
func (w *Watch) Hold(hold bool) { w.held = hold }

// Settle takes what is now for the usual, if an incident is open.
func (w *Watch) Settle() {
	if w.open.on {
		w.open.settled = true
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import "math"

// Kind names an incident.
type Kind uint8

// The kinds.
const (
	None    Kind = iota
	Spike        // far from what was expected, and back
	Level        // a new level that came at once
	Drift        // a slow departure
	Noise        // scatters more than it used to
	Pattern      // does not follow its season
	State        // a value never met, or states that last too long or not long enough
)

// Regime is the structure that a stream shows.
type Regime uint8

// The regimes.
const (
	Plain    Regime = iota // none: wanders about a level
	Counting               // moves one way but for resets: its moves are judged
	Seasonal               // repeats itself over a period
	Modal                  // switches between levels, with noise about each
	Discrete               // rests on few values
)

// leastLevel, in usual moves, is added to how far the level is off before it is held against the past: next to it tiny
// differences between tiny values are none, which on a scale of logarithms they would be.
const leastLevel = 0.5

// AlarmTail is the tail probability, a reading, from which a statistic makes an incident: a sixteenth of one in 8,000,
// as several statistics judge each reading and one incident may show in many readings.
const AlarmTail = 1.0 / 8000 / 16

// briefTail is the tail probability, a reading, of the rarest level that is learned of a departure that has lasted for
// less than restFor readings: in one of four blocks there is one. Such a departure may be a fault that was missed, and
// must not make the next one as usual; how far a stream wanders shows in those that last.
const briefTail = 1.0 / 4 / blockRows

// Verdict is what a [Watch] makes of one reading.
type Verdict struct {
	Regime Regime
	// Kind is the name of an incident that this reading tells something new about, and Tail how improbable it is. An
	// incident that goes on without news is None; so is a stream in good order.
	Kind Kind
	Tail float64
	// Expected, Lower and Upper are the forecast and where a single reading becomes a Spike; NaN where unknown.
	Expected, Lower, Upper float64
}

// Watch is the whole of it. The zero value is ready for use.
type Watch struct {
	rows    float64
	last    float64
	regime  Regime
	counter counter
	held    bool    // set by who follows the incident, before each reading
	reset   bool    // by the newest reading, of a counter
	hour    float32 // readings of it; 0 where the season goes by no clock; set as held is
	season  season
	search  search // for the season
	modes   modes
	states  states
	rhythm  rhythm

	rest    residual
	leap    Peaks
	level   Peaks
	scatter Peaks
	rise    float64 // readings since the level was near the usual one
	open    incident
}

// Next judges a reading and learns it. It comes step readings (at least 1) after the one before, and the season
// goes on by due (at least 0), which is 1 on average where none is lost but at random; resting says that it
// repeats the one before though the stream usually moves, which is for others to judge. h is the history of the stream
// up to and with x.
func (w *Watch) Next(x float64, step, due int, resting bool, h History) Verdict {
	step = max(step, 1)
	quiet := Verdict{Tail: 1, Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN()}
	if w.rows++; w.rows == 1 {
		w.last = x
		w.states.learn(x)
		w.modes.learn(x)
		return quiet
	}
	move := x - w.last
	w.last = x
	reset := step == 1 && w.counter.learn(move)
	w.reset = reset && w.counter.on
	known := w.states.find(x)
	sinceNew, before := w.states.sinceNew, w.states.current
	w.states.learn(x)
	if !w.open.holds() {
		w.modes.learn(x)
	}
	if w.season.period > 0 {
		w.season.advance(max(due, 0))
	}
	w.choose(h)
	quiet.Regime = w.regime
	switch w.regime {
	case Discrete:
		return w.discrete(x, known, before, sinceNew, step)
	case Counting:
		if move == 0 || reset || step > 1 {
			return quiet
		}
		return w.judge(move, w.last-move, 1, resting)
	case Seasonal:
		w.season.suspect(x, float64(w.hour), w.held)
		w.season.weigh(x)
		v := w.judge(x-w.season.value(), w.season.value(), step, resting)
		if !w.season.learn(x, w.open.holds() || resting) && !w.open.on {
			w.season = season{}
		}
		return v
	case Modal:
		k, _ := w.modes.nearest(x)
		if k < 0 {
			return quiet
		}
		v := w.judge(x-w.modes.center[k], w.modes.center[k], step, resting)
		if w.open.away() { // a reading far from all modes says nothing of which it is
			return v
		}
		if tail := w.rhythm.next(k, step); tail <= AlarmTail {
			v.Kind, v.Tail = w.open.rhythm(tail, w.rhythm.dwell == 1)
		}
		return v
	default:
		return w.judge(x, 0, step, resting)
	}
}

// Hour says how many readings an hour of the season has, which may go by a clock; 0: it does not.
func (w *Watch) Hour(readings float64) { w.hour = float32(readings) }

// Move says that a season may be so many readings further than it was, as the clock of the place was set.
func (w *Watch) Move(readings float64) { w.season.move(readings) }

// Season is the period in readings of the season that is expected; 0: none is.
func (w *Watch) Season() float64 { return w.season.period }

// due says that a season is to be looked for: every 256 readings, or as often as there is an eighth more of what may be one.
func (w *Watch) due(h History) bool {
	const every, share = 256, 8
	if int64(w.rows)%every != 0 {
		return false
	}
	p, _ := h.Period()
	return int64(w.rows)/every%int64(max(1, p/share/every)) == 0
}

// choose finds the structure of the stream, unless an incident is going on.
func (w *Watch) choose(h History) {
	if w.open.on && (w.held || w.open.age < longIncident) {
		return
	}
	w.season.revise(&w.search)
	if w.search.center > 0 || w.season.period == 0 && w.due(h) && !w.counter.on && !w.states.on {
		if w.season.find(&w.search, h) { // what was left of an older one was larger
			w.level = Peaks{}
		}
	}
	next := Plain
	switch {
	case w.states.on && (w.regime == Discrete || !w.held): // what stands still while it is held has no states
		next = Discrete
	case w.counter.on:
		next = Counting
	case w.season.period > 0:
		next = Seasonal
	case w.modes.on:
		next = Modal
	}
	if next == w.regime {
		return
	}
	w.regime = next
	w.rest, w.rhythm, w.open = residual{}, rhythm{}, incident{}
	w.leap, w.level, w.scatter, w.rise = Peaks{}, Peaks{}, Peaks{}, 0
}

// judge judges what is left of a reading when its structure, base, is taken out.
func (w *Watch) judge(y, base float64, step int, resting bool) Verdict {
	s := w.rest.judge(y)
	v := Verdict{Regime: w.regime, Tail: 1, Expected: base + s.expected, Lower: math.NaN(), Upper: math.NaN()}
	limit := w.leap.Limit(AlarmTail)
	if half := limit * s.sigma * max(w.rest.scatter, 1); !math.IsInf(limit, 1) {
		v.Lower, v.Upper = v.Expected-half, v.Expected+half
	}
	if resting {
		return v
	}
	const longGap = 8
	if step > longGap { // a forecast over a gap is none
		s.leap = 0
	}
	levelLimit := w.level.Limit(AlarmTail) - leastLevel
	if w.rise++; s.level < levelLimit/4 {
		w.rise = 0
	}
	e := evidence{
		statistics: s, y: y, counting: w.regime == Counting, held: w.held, rise: w.rise, levelLimit: levelLimit,
		leapTail: w.leap.Tail(s.leap), levelTail: w.level.Tail(s.level + leastLevel), scatterTail: w.scatter.Tail(s.scatter),
	}
	if w.regime == Seasonal {
		e.seasonRate = w.season.rate
	}
	wasOpen := w.open.on
	settle := w.open.settled
	v.Kind, v.Tail = w.open.follow(&e)
	w.open.settled = w.open.settled || settle && w.open.on
	switch {
	case w.open.settled:
		w.open = incident{}
		w.rest.settle(y)
		w.rest.move *= max(w.rest.scatter, 1)
		w.rest.scatter = 1
	case w.open.renamed && w.open.kind == Level:
		for i := range w.rest.forecast {
			w.rest.forecast[i] = y
		}
	}
	if w.open.kind == Spike && w.open.away() { // not to be learned unless it stays
		w.rest.last = y
		return v
	}
	w.rest.learn(y, w.open.holds())
	const young = 64 // readings in which scales are not yet known
	if !wasOpen && !w.open.on && w.rest.n > young {
		w.leap.Add(min(s.leap, limit))
		levelMost := levelLimit
		if w.rise < restFor {
			levelMost = min(levelMost, w.level.Limit(briefTail)-leastLevel)
		}
		w.level.Add(min(s.level, levelMost) + leastLevel)
		w.scatter.Add(min(s.scatter, w.scatter.Limit(AlarmTail)))
	}
	return v
}

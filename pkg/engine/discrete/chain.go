// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package discrete learns streams of states, such as on/off, modes and enumerations, as a semi-Markov process: which
// state follows which, and how long each lasts.
package discrete

import (
	"math"

	"gonum.org/v1/gonum/mathext"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	// MaxStates is the number of states told apart; all others count as one more.
	MaxStates = 32
	other     = MaxStates
	rows      = MaxStates + 1

	rowMemory = 1024 // transitions out of a state after which its counts are halved
	recent    = 6    // dwells in the test for flapping
	rateGain  = 1.0 / 8192
	settled   = 100 // readings in which a stream usually shows its states
)

// Event is what a [Chain] finds most unusual about a reading.
type Event uint8

// The events.
const (
	Nothing    Event = iota
	NewState         // a value never met before
	Transition       // a state that does not follow the one before
	TooShort         // the state before ended too soon
	TooLong          // the state lasts too long
	Flapping         // a run of dwells, each short
)

// Verdict is the probability, per reading and while all is well, of something at least as unusual as the event.
type Verdict struct {
	Event       Event
	Probability float64
}

// Chain learns transitions between states (with the Dirichlet estimator of Krichevsky and Trofimov, but a prior weight
// that the caller chooses) and dwell times. The zero value is not ready; use [NewChain]. It takes about 4.5 KiB.
type Chain struct {
	prior   float64
	values  [MaxStates]float64
	states  int
	counts  [rows][rows]uint16 // transitions from one state to another
	totals  [rows]uint32
	dwells  [rows]Dwell
	current int // state; −1 before the first reading
	dwell   float64
	cut     bool            // the current dwell began before the first reading
	shorts  [recent]float64 // −ln P(shorter) of the newest dwells
	next    int
	n       float64 // readings
	late    float64 // states met after the first readings
	rate    float64 // changes a reading
}

// NewChain returns an empty chain. prior is the pseudo-count of all that was never met, together: the smaller, the
// firmer the belief that the stream shows all of its states and transitions early. It must be positive; 0 means 0.05.
func NewChain(prior float64) Chain {
	if !(prior > 0) || math.IsInf(prior, 0) {
		prior = 0.05
	}
	return Chain{prior: prior, current: -1}
}

// States is the number of states met, at most [MaxStates].
func (c *Chain) States() int { return c.states }

// Count is the number of readings learned.
func (c *Chain) Count() float64 { return c.n }

// Current is the value of the current state, NaN before the first reading and for the lumped rest; Dwell is how many
// readings it lasted.
func (c *Chain) Current() (value, dwell float64) {
	if c.current < 0 || c.current == other {
		return math.NaN(), c.dwell
	}
	return c.values[c.current], c.dwell
}

// Likely is the most frequent successor of the current state; NaN where none is known.
func (c *Chain) Likely() float64 {
	best, value := uint16(0), math.NaN()
	if c.current < 0 {
		return value
	}
	for j, n := range c.counts[c.current][:c.states] {
		if n > best {
			best, value = n, c.values[j]
		}
	}
	return value
}

// Next judges x, which comes step readings (at least 1) after the one before, and learns it. NaN is ignored.
func (c *Chain) Next(x float64, step int) Verdict {
	if math.IsNaN(x) {
		return Verdict{Nothing, 1}
	}
	c.n++
	to, isNew := c.find(x)
	if c.current < 0 {
		c.current, c.dwell, c.cut = to, 1, true
		return Verdict{Nothing, 1}
	}
	gain := max(rateGain, 1/(c.n+1))
	if to == c.current {
		c.rate -= gain * c.rate
		c.dwell += float64(max(step, 1))
		if to == other {
			return Verdict{Nothing, 1}
		}
		// The share of readings in dwells that are this old is that of dwells that get this old, where changes come
		// at random, and less where they keep a schedule.
		return verdict(TooLong, c.dwells[to].Longer(c.dwell), 1)
	}
	v := Verdict{Nothing, 1}
	weigh := func(e Event, p float64) {
		if p < v.Probability {
			v = Verdict{e, p}
		}
	}
	from := c.current
	rate := c.changeRate()
	if isNew {
		weigh(NewState, (c.prior+c.late)/(c.prior+c.late+c.n))
	} else if from != other && to != other {
		weigh(Transition, c.transition(from, to)*rate)
	}
	if !c.cut && from != other {
		short := c.dwells[from].Shorter(c.dwell)
		weigh(TooShort, short*rate)
		c.shorts[c.next] = -math.Log(max(short, 1e-12))
		c.next = (c.next + 1) % recent
		sum := 0.0
		for _, s := range c.shorts {
			sum += s
		}
		if sum > recent { // Fisher's method: −Σ ln p of k dwells is Gamma(k)
			weigh(Flapping, mathext.GammaIncRegComp(recent, sum)*rate)
		}
		c.dwells[from].Add(c.dwell)
	}
	c.rate += gain * (1 - c.rate)
	c.count(from, to)
	if isNew && c.n > settled {
		c.late++
	}
	c.current, c.dwell, c.cut = to, 1, false
	return verdict(v.Event, v.Probability, 4)
}

// verdict corrects for the number of tests made.
func verdict(e Event, p, tests float64) Verdict {
	if p *= tests; !(p < 1) {
		return Verdict{Nothing, 1}
	}
	return Verdict{e, p}
}

// changeRate is the share of readings that change the state, not underestimated while few are known.
func (c *Chain) changeRate() float64 { return min(c.rate+1/c.n, 1) }

// transition is the probability of a successor that is at most as likely as to.
func (c *Chain) transition(from, to int) float64 {
	total := float64(c.totals[from]) + c.prior
	seen := c.counts[from][to]
	sum := c.prior
	if seen == 0 {
		return sum / total
	}
	for _, n := range c.counts[from][:] {
		if n <= seen {
			sum += float64(n)
		}
	}
	return min(sum/total, 1)
}

func (c *Chain) count(from, to int) {
	c.counts[from][to]++
	c.totals[from]++
	if c.totals[from] < rowMemory {
		return
	}
	c.totals[from] = 0
	for j, n := range c.counts[from][:] {
		n = (n + 1) / 2 // what was met once is never forgotten wholly
		c.counts[from][j] = n
		c.totals[from] += uint32(n)
	}
}

// find is the state of x, a new one where there is room.
func (c *Chain) find(x float64) (s int, isNew bool) {
	if c.current >= 0 && c.current < other && c.values[c.current] == x {
		return c.current, false
	}
	for i, v := range c.values[:c.states] {
		if v == x {
			return i, false
		}
	}
	if c.states == MaxStates {
		return other, false
	}
	c.values[c.states] = x
	c.states++
	return c.states - 1, c.states > 1
}

// EncodeState implements state.Part.
func (c *Chain) EncodeState(w *state.Writer) {
	w.Floats(c.values[:c.states])
	w.Int(int64(c.current))
	w.Bool(c.cut)
	w.Int(int64(c.next))
	for _, v := range []float64{c.dwell, c.n, c.late, c.rate} {
		w.Float(v)
	}
	w.Floats(c.shorts[:])
	for i := range rows {
		if i < c.states || i == other {
			c.dwells[i].EncodeState(w)
			for j := range rows {
				if j < c.states || j == other {
					w.Uint(uint64(c.counts[i][j]))
				}
			}
		}
	}
}

// DecodeState implements state.Part.
func (c *Chain) DecodeState(r *state.Reader) {
	values := r.Floats("states", MaxStates)
	c.states = copy(c.values[:], values)
	c.current = int(r.Int())
	c.cut = r.Bool()
	c.next = r.Count("next dwell", recent-1)
	c.dwell, c.n = r.Min("dwell", 0), r.Min("readings", 0)
	c.late, c.rate = r.Min("late states", 0), r.Min("rate", 0)
	r.FloatsTo("dwells", c.shorts[:])
	if r.Err() == nil && (c.current < -1 || c.current > other || c.current >= c.states && c.current != other) {
		r.Fail("current state is %d of %d", c.current, c.states)
	}
	for _, s := range c.shorts {
		if !(s >= 0) || s > 100 {
			r.Fail("a dwell has evidence %v", s)
		}
	}
	for i := range rows {
		c.totals[i] = 0
		if i < c.states || i == other {
			c.dwells[i].DecodeState(r)
			for j := range rows {
				if j < c.states || j == other {
					c.counts[i][j] = uint16(r.Count("transitions", rowMemory))
					c.totals[i] += uint32(c.counts[i][j])
				}
			}
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import "math"

const (
	newTail  = 3.4e-5 // of a value never met: some 3,000 readings without a new one
	homeRest = 16     // readings on a known state that end an incident
)

// discrete judges a reading of a stream that rests on few values. known is the state of x before it was learned, −1 for
// a new one; before is the state of the reading before.
func (w *Watch) discrete(x float64, known int, before int32, sinceNew float64, step int) Verdict {
	v := Verdict{Regime: Discrete, Tail: 1, Expected: w.states.value[before], Lower: math.NaN(), Upper: math.NaN()}
	i := &w.open
	was := w.rest.last // the reading before, in this regime
	w.rest.last = x
	first := w.rest.n == 0
	w.rest.n++
	if first {
		was = x
	}
	if !i.on {
		p := newPrior / max(sinceNew, 1)
		if known < 0 && p <= newTail {
			i.begin(Spike, p*AlarmTail/newTail, 1)
			i.out, i.changes, i.sign = 1, 1, sign(x-was)
			v.Kind, v.Tail = i.say()
			return v
		}
		if known >= 0 {
			if tail := w.rhythm.next(int(w.states.current), step); tail <= AlarmTail {
				i.begin(State, tail, stateFor)
				v.Kind, v.Tail = i.say()
			}
		}
		return v
	}
	i.age++
	if i.kind == State {
		tail := w.rhythm.next(int(w.states.current), step)
		if tail <= AlarmTail && w.rhythm.dwell == 1 { // another dwell that ended too soon
			i.tell = stateFor
		}
		i.tail = min(i.tail, tail)
		i.rested(tail > AlarmTail, restFor)
		v.Kind, v.Tail = i.say()
		return v
	}
	if c := sign(x - was); c != 0 {
		i.changes++
		if c == -i.sign {
			i.reversed++
		}
		i.sign, i.out = c, 0
	}
	i.out++
	fresh := w.states.n-w.states.born[w.states.current] <= i.age // met first since the incident began
	switch {
	case i.kind != Noise && i.reversed >= 3:
		i.rename(Noise, noiseFor)
	case i.kind != Noise && i.changes >= 2 && i.reversed == 0 && i.out == 1:
		i.rename(Drift, 2*toldFor)
	case i.kind == Spike && fresh && i.out == persists:
		i.rename(Level, toldFor)
	}
	i.rested(!fresh || i.out > longIncident, homeRest)
	w.rhythm.dwell = 0 // what comes of an incident is no dwell
	v.Kind, v.Tail = i.say()
	return v
}

func sign(x float64) int32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

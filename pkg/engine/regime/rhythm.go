// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	leastDwells  = 4    // of a state before its dwells are judged
	leastPace    = 12   // dwells of all states before their pace is judged
	leastRecord  = 8    // dwells of all states before the record of all is judged
	leastRegular = 6    // dwells of a state before it may be regular
	regular      = 2    // times the shortest that the longest dwell of a state lasts at most where it is regular
	paceGain     = 0.25 // of the newest dwell in the pace
	// paceVar is the variance of the pace, half as large again as that of independent normal deviates, as the logarithm
	// of an exponential dwell has a heavy lower tail.
	paceVar     = 1.5 * paceGain / (2 - paceGain)
	leastSpread = 0.1 // of the logarithm of a dwell: a tenth up or down is never unusual
	mostZ       = 2.5
)

// rhythm learns how long the states of a stream last, as the mean and the spread of the logarithm of their dwells, and
// the record of the longest.
type rhythm struct {
	state   [maxStates]dwells
	current int32
	dwell   float64 // readings of the present one; 0 before the first reading
	cut     bool    // it began before the first reading, or a gap fell into it
	total   float64 // dwells judged
	pace    float64 // weighted mean of standardised dwells
	changes float64 // dwells learned
	rows    float64 // readings in them
	longest float64 // dwell of all states
}

type dwells struct{ n, mean, dev, shortest, longest float64 }

// next takes the state of one reading and returns the chance, a reading, of a dwell or a pace as unusual.
func (h *rhythm) next(now, step int) (tail float64) {
	if h.dwell == 0 {
		h.current, h.dwell, h.cut = int32(now), 1, true
		return 1
	}
	if now == int(h.current) {
		h.dwell += float64(step)
		return h.longer(now) * h.rate()
	}
	tail = 1
	if !h.cut {
		d := &h.state[h.current]
		if z, ok := d.standard(h.dwell); ok {
			h.total++
			h.pace += max(paceGain, 1/h.total) * (z - h.pace)
			if h.total >= leastPace {
				tail = math.Erfc(math.Abs(h.pace)/math.Sqrt(2*paceVar)) * h.rate()
			}
		}
		d.add(h.dwell)
		h.changes++
		h.rows += h.dwell
		if h.changes == 1 {
			h.longest = h.dwell
		}
		h.longest = max(h.longest, min(h.dwell, 2*h.longest))
		if h.changes > 1024 {
			h.changes /= 2
			h.rows /= 2
		}
	}
	h.current, h.dwell, h.cut = int32(now), 1, false
	return tail
}

// rate is the share of readings that change the state.
func (h *rhythm) rate() float64 { return (h.changes + 1) / (h.rows + 1) }

// longer is the chance that a dwell gets as long as the present one. The next of n + 1 exchangeable dwells is the longest
// with probability 1/(n+1); beyond the record the tail falls with a power. Where the dwells of a state hardly differ the
// record is that of the state and the power 3/ln(longest/shortest), up to the twelfth. Else the record is that of all
// states, the power the cube, as heavy as still has a variance, and less than twice the record is never unusual.
func (h *rhythm) longer(now int) float64 {
	d := &h.state[now]
	if d.n >= leastRegular && d.longest <= regular*d.shortest && h.dwell > d.longest {
		return math.Pow(d.longest/h.dwell, min(3/math.Log(d.longest/d.shortest), 12)) / (d.n + 1)
	}
	if h.changes < leastRecord || h.dwell < 2*h.longest {
		return 1
	}
	r := h.longest / h.dwell
	return r * r * r / (h.changes + 1)
}

func (d *dwells) standard(rows float64) (z float64, ok bool) {
	if d.n < leastDwells {
		return 0, false
	}
	spread := max(d.dev*1.25, leastSpread) * (1 + 2/d.n)
	return max(-mostZ, min(mostZ, (math.Log(rows)-d.mean)/spread)), true
}

func (d *dwells) add(rows float64) {
	l := math.Log(rows)
	d.n++
	if d.n == 1 {
		*d = dwells{1, l, 0, rows, rows}
		return
	}
	gain := max(1/d.n, 1.0/128)
	e := math.Abs(l - d.mean)
	d.mean += gain * (l - d.mean)
	if d.n == 2 {
		d.dev = e / 2
	} else {
		d.dev += gain * (e - d.dev)
	}
	d.shortest = min(d.shortest, rows)
	d.longest = max(d.longest, min(rows, 2*d.longest))
}

// EncodeState implements state.Part.
func (h *rhythm) EncodeState(w *state.Writer) {
	w.Int(int64(h.current))
	w.Bool(h.cut)
	for _, v := range []float64{h.dwell, h.total, h.pace, h.changes, h.rows, h.longest} {
		w.Float(v)
	}
	for i := range h.state {
		d := &h.state[i]
		for _, v := range []float64{d.n, d.mean, d.dev, d.shortest, d.longest} {
			w.Float(v)
		}
	}
}

// DecodeState implements state.Part.
func (h *rhythm) DecodeState(r *state.Reader) {
	h.current = int32(r.Count("current state", maxStates-1))
	h.cut = r.Bool()
	h.dwell, h.total, h.pace = r.Min("dwell", 0), r.Min("dwells judged", 0), r.Min("pace", -mostZ)
	h.changes, h.rows = r.Min("dwells", 0), r.Min("readings in dwells", 0)
	h.longest = r.Min("longest dwell", 0)
	for i := range h.state {
		d := &h.state[i]
		*d = dwells{r.Min("dwells", 0), r.Min("mean dwell", 0), r.Min("spread of dwells", 0), r.Min("shortest dwell", 0), r.Min("longest dwell", 0)}
		if r.Err() == nil && d.n > 0 && (d.shortest < 1 || d.longest < d.shortest) {
			r.Fail("dwells of %v to %v", d.shortest, d.longest)
		}
	}
}

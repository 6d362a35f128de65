// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

type phase uint8

const (
	learning phase = iota
	watching
	alarm
	recovering
	phases
)

// The shares of its peak at which an alarm ends although the deviation is still above Stop: at once, and once it has
// stayed there for Recover readings.
const (
	peakShare = 0.15
	restShare = 1.0 / 3
)

const (
	settle     = 3000 // readings that σ is corrected by
	settleMost = 3    // σ that one of them counts as at most
	habitOf    = 4    // excursions that raise what is usual e-fold
	allowShare = 1.25 // of a peak that was said to be normal
	habitEvery = 1000 // readings to an excursion that is usual
)

// member is one property of the group. Its levels are in noise scales from the centre.
type member struct {
	phase         phase
	history       []float64 // readings to learn from; nil from then on
	centre, scale float64   // in the unit of the member; scale 0 = it has not moved yet
	fast, base    float64
	sigma         float64
	variance      float64    // of fast mean against baseline, since training
	deviation     float64    // of the last reading, in σ
	peak          float64    // of the deviation in this alarm
	age           int        // readings in this phase, where that is limited
	habit         float64    // logarithm of how much further than Start it often goes
	allowed       [2]float64 // how much further than Start it may go down and up, as was said; 0 for no further
	rest          int        // readings in a row at restShare of the peak or less
}

func (m *member) standard(x float64) float64 {
	d := x - m.centre
	if m.scale == 0 {
		// A member that never moved has no noise to compare with: its first movement becomes the unit.
		if math.Abs(d) <= resolution*math.Abs(m.centre) || math.IsInf(d, 0) {
			return 0
		}
		m.scale = math.Abs(d)
	}
	return min(max(d/m.scale, -zLimit), zLimit)
}

// observe takes a finite reading.
func (m *member) observe(c *Config, x float64) (accepted bool) {
	if m.phase == learning {
		m.history = append(m.history, x)
		if len(m.history) >= c.TrainRows {
			m.learn(c, m.history)
			m.history = nil
		}
		return false
	}
	m.fast += c.Smoothing * (m.standard(x) - m.fast)
	r := m.fast - m.base
	m.deviation = math.Abs(r) / m.sigma
	switch m.phase {
	case alarm:
		m.age++
		m.peak = max(m.peak, m.deviation)
		if m.deviation <= restShare*m.peak {
			m.rest++
		} else {
			m.rest = 0
		}
		back := m.deviation <= max(c.Stop, peakShare*m.peak) || m.rest > 0 && m.rest >= c.Recover
		if accepted = !back && c.MaxAge > 0 && m.age >= c.MaxAge; back || accepted {
			m.recover(c)
		}
	case recovering:
		m.base += c.Smoothing * r
		m.age++
	default:
		m.habit = max(m.habit-1.0/(habitOf*habitEvery), 0)
		switch {
		case m.deviation > m.start(c):
			m.phase, m.age, m.rest, m.peak = alarm, 0, 0, m.deviation
		case m.deviation > settleMost && m.allowed[m.side()] > 0: // allowed, but neither its level nor its noise
		default:
			m.base += c.Adaptation * r
			m.variance += (min(r*r, settleMost*settleMost*m.sigma*m.sigma) - m.variance) / settle
			m.sigma = max(m.sigma, math.Sqrt(m.variance))
		}
	}
	if m.phase == recovering && m.age >= c.Recover {
		m.phase = watching
	}
	return accepted
}

// recover ends an alarm. What goes so far so often is usual.
func (m *member) recover(c *Config) {
	m.phase, m.age = recovering, 0
	if m.peak >= m.start(c) {
		m.habit += 1.0 / habitOf
	}
}

// allow lets the member go as far as it does in column j of the rows, from where it is at first; where it goes nowhere
// from there, from where it is to be now. It reports whether that is far enough for an alarm.
func (m *member) allow(c *Config, rows [][]float64, j int) (far bool) {
	if m.phase == learning {
		return false
	}
	const first = 10 // rows that tell where it was
	var begin []float64
	for _, row := range rows[:min(first, len(rows))] {
		if j < len(row) && finite(row[j]) {
			begin = append(begin, m.standard(row[j]))
		}
	}
	if len(begin) == 0 {
		return false
	}
	slices.Sort(begin)
	most := c.Start * c.crowd
	for _, base := range [...]float64{quantileOf(begin, 0.5), m.base} {
		probe := *m
		probe.base = base
		if base != m.base {
			probe.fast = base
		}
		for side, p := range probe.peaks(c, rows, j) {
			if p > most {
				far, m.allowed[side] = true, max(m.allowed[side], allowShare*p/most)
			}
		}
		if far {
			break
		}
	}
	return far
}

// peaks is how far a copy of the member goes down and up in column j of the rows.
func (m *member) peaks(c *Config, rows [][]float64, j int) (peak [2]float64) {
	for _, row := range rows {
		if j < len(row) && finite(row[j]) {
			m.fast += c.Smoothing * (m.standard(row[j]) - m.fast)
			side := m.side()
			peak[side] = max(peak[side], math.Abs(m.fast-m.base)/m.sigma)
		}
	}
	return peak
}

// side is 1 above the baseline, else 0.
func (m *member) side() int {
	if m.fast > m.base {
		return 1
	}
	return 0
}

// start is where an alarm begins: what happens often is no alarm.
func (m *member) start(c *Config) float64 {
	return c.Start * c.crowd * max(math.Exp(m.habit), m.allowed[m.side()])
}

// level is the deviation relative to Start, and at least 1 in alarm.
func (m *member) level(c *Config) float64 {
	switch m.phase {
	case alarm:
		return max(1, m.deviation/m.start(c))
	case watching:
		return m.deviation / m.start(c)
	}
	return 0
}

func (m *member) encode(w *state.Writer) {
	w.Uint(uint64(m.phase))
	if m.phase == learning {
		w.Floats(m.history)
		return
	}
	for _, v := range [...]float64{m.centre, m.scale, m.fast, m.base, m.sigma, m.variance, m.deviation, m.peak, m.habit, m.allowed[0], m.allowed[1]} {
		w.Float(v)
	}
	w.Int(int64(m.age))
	w.Int(int64(m.rest))
}

func (m *member) decode(r *state.Reader, c *Config) {
	m.phase = phase(r.Count("phase", int(phases)-1))
	if m.phase == learning {
		history := r.Floats("history", c.TrainRows-1)
		for _, v := range history {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				r.Fail("history holds %v, want finite numbers", v)
			}
		}
		m.history = append(make([]float64, 0, c.TrainRows), history...)
		return
	}
	m.centre = r.Finite("centre")
	m.scale = r.Min("scale", 0)
	m.fast = r.Finite("fast mean")
	m.base = r.Finite("baseline")
	m.sigma = r.Min("sigma", minSigma)
	m.variance = r.Min("variance", 0)
	m.deviation = r.Min("deviation", 0)
	m.peak = r.Min("peak", 0)
	m.habit = r.Min("habit", 0)
	m.allowed = [2]float64{r.Min("what is allowed down", 0), r.Min("what is allowed up", 0)}
	m.age = r.Count("age", math.MaxInt32)
	m.rest = r.Count("rest", math.MaxInt32)
	for _, v := range [...]float64{m.fast, m.base} {
		if math.Abs(v) > zLimit {
			r.Fail("a level is %v, want at most %v", v, zLimit)
		}
	}
}

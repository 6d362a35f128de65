// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"

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

// member is one property of the group. Its levels are in noise scales from the centre.
type member struct {
	phase         phase
	history       []float64 // readings to learn from; nil from then on
	centre, scale float64   // in the unit of the member; scale 0 = it has not moved yet
	fast, base    float64
	sigma         float64
	deviation     float64 // of the last reading, in σ
	peak          float64 // of the deviation in this alarm
	age           int     // readings in this phase, where that is limited
	rest          int     // readings in a row at restShare of the peak or less
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
func (m *member) observe(c *Config, x float64) {
	if m.phase == learning {
		m.history = append(m.history, x)
		if len(m.history) >= c.TrainRows {
			m.learn(c, m.history)
			m.history = nil
		}
		return
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
		if back || c.MaxAge > 0 && m.age >= c.MaxAge {
			m.phase, m.age = recovering, 0
		}
	case recovering:
		m.base += c.Smoothing * r
		m.age++
	default:
		if m.deviation > c.Start {
			m.phase, m.age, m.rest, m.peak = alarm, 0, 0, m.deviation
		} else {
			m.base += c.Adaptation * r
		}
	}
	if m.phase == recovering && m.age >= c.Recover {
		m.phase = watching
	}
}

// level is the deviation relative to Start, and at least 1 in alarm.
func (m *member) level(c *Config) float64 {
	switch m.phase {
	case alarm:
		return max(1, m.deviation/c.Start)
	case watching:
		return m.deviation / c.Start
	}
	return 0
}

func (m *member) encode(w *state.Writer) {
	w.Uint(uint64(m.phase))
	if m.phase == learning {
		w.Floats(m.history)
		return
	}
	for _, v := range [...]float64{m.centre, m.scale, m.fast, m.base, m.sigma, m.deviation, m.peak} {
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
	m.deviation = r.Min("deviation", 0)
	m.peak = r.Min("peak", 0)
	m.age = r.Count("age", math.MaxInt32)
	m.rest = r.Count("rest", math.MaxInt32)
	for _, v := range [...]float64{m.fast, m.base} {
		if math.Abs(v) > zLimit {
			r.Fail("a level is %v, want at most %v", v, zLimit)
		}
	}
}

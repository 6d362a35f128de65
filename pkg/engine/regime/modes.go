// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	maxModes    = 6
	reachSigmas = 5   // of the noise about a mode
	apart       = 2.5 // reaches that modes are apart at least
	modeRows    = 100 // readings that establish a mode
	modeMemory  = 4096
	fitFrom     = 0.97 // share of readings near an established mode for the modes to be used
	fitTo       = 0.9  // below which they are used no more
)

// modes finds levels that a process switches between, each with the same noise about it, by leader clustering (J. A.
// Hartigan, Clustering Algorithms, Wiley, 1975, chapter 3) in units of the noise, which is learned from the median step.
type modes struct {
	n      float64
	last   float64
	unit   float64 // median |step|
	center [maxModes]float64
	weight [maxModes]float64
	fit    float64 // share of readings near an established mode
	on     bool
}

// reach is how far from its centre a reading of a mode may be: the noise is 1.05 median steps where it is normal.
func (m *modes) reach() float64 { return reachSigmas * 1.05 * m.unit }

func (m *modes) nearest(x float64) (k int, d float64) {
	k, d = -1, math.Inf(1)
	for i, w := range m.weight {
		if a := math.Abs(x - m.center[i]); a < d && (w >= modeRows || !m.on && w > 0) {
			k, d = i, a
		}
	}
	return k, d
}

// learn takes x in, and finds now and then whether the stream has modes.
func (m *modes) learn(x float64) {
	m.n++
	step := math.Abs(x - m.last)
	m.last = x
	if m.n == 1 {
		return
	}
	switch {
	case m.unit == 0:
		m.unit = step
	case step > m.unit:
		m.unit *= 1.02
	default:
		m.unit /= 1.02
	}
	if m.unit == 0 {
		return
	}
	reach, best, least := m.reach(), -1, 0
	d := math.Inf(1)
	for i := range m.weight {
		m.weight[i] *= 1 - 1.0/modeMemory
		if a := math.Abs(x - m.center[i]); m.weight[i] > 0 && a < d {
			best, d = i, a
		}
		if m.weight[i] < m.weight[least] {
			least = i
		}
	}
	near := 0.0
	if d <= reach {
		m.weight[best]++
		m.center[best] += max(1/m.weight[best], 1.0/1000) * (x - m.center[best])
		if m.weight[best] >= modeRows {
			near = 1
		}
	} else {
		m.center[least], m.weight[least] = x, 1
	}
	m.fit += max(1.0/512, 1/m.n) * (near - m.fit)
	if m.fit < fitTo {
		m.on = false
	}
	if int64(m.n)%256 == 0 && !m.on {
		m.merge()
		m.on = m.found()
	}
}

// merge makes one of two modes whose noise overlaps.
func (m *modes) merge() {
	for i := range m.weight {
		for j := range i {
			a, b := m.weight[i], m.weight[j]
			if a > 0 && b > 0 && math.Abs(m.center[i]-m.center[j]) < m.reach() {
				m.center[j] = (a*m.center[i] + b*m.center[j]) / (a + b)
				m.weight[j], m.weight[i] = a+b, 0
			}
		}
	}
}

func (m *modes) found() bool {
	if m.fit < fitFrom {
		return false
	}
	n := 0
	for i, w := range m.weight {
		if w < modeRows {
			continue
		}
		n++
		for j := range i {
			if m.weight[j] >= modeRows && math.Abs(m.center[i]-m.center[j]) < apart*m.reach() {
				return false
			}
		}
	}
	return n >= 2
}

// EncodeState implements state.Part.
func (m *modes) EncodeState(w *state.Writer) {
	for _, v := range []float64{m.n, m.last, m.unit, m.fit} {
		w.Float(v)
	}
	w.Floats(m.center[:])
	w.Floats(m.weight[:])
	w.Bool(m.on)
}

// DecodeState implements state.Part.
func (m *modes) DecodeState(r *state.Reader) {
	m.n, m.last = r.Min("readings", 0), r.Finite("last reading")
	m.unit, m.fit = r.Min("median step", 0), r.Min("fit", 0)
	r.FloatsTo("centres", m.center[:])
	r.FloatsTo("weights", m.weight[:])
	for i, c := range m.center {
		if math.IsNaN(c) || math.Abs(c) > 1e200 || !(m.weight[i] >= 0) || m.weight[i] > 1e9 {
			r.Fail("a mode at %v weighs %v", c, m.weight[i])
		}
	}
	m.on = r.Bool()
}

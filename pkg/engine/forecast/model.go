// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forecast

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	confirmAt = 0.5  // share of the variance that may be left for a profile to be used
	abandonAt = 0.8  // share from which it is not used any more
	trialGain = 0.5  // weight of the newest cycle in that share
	outlier   = 4    // standard deviations that a reading departs at most
	searchAt  = 0.25 // share above which the search goes on, for a better period
	otherwise = 0.1  // of a cycle, by which periods differ that are the same
	tooStale  = 64   // missing cycles after which the smoother starts anew
)

// Prediction is what a [Model] says of one reading, before it learns it.
type Prediction struct {
	Expected float64 // NaN before the first reading
	Residual float64 // reading − Expected, short-term: it follows slow changes
	Sigma    float64 // scale of Residual at this time of the season; 0 where nothing varied yet

	// Where a season is known, the reading against the time of the season alone: a shape that fails to come stays
	// visible for all of its length, where a short-term forecast gives in after a few readings.
	Seasonal         bool
	SeasonalExpected float64
	SeasonalResidual float64
	SeasonalSigma    float64
}

// Model is exponential smoothing with damped trend over an automatically found season. A period that the [Finder]
// proposes is on trial for a cycle: it is used once the profile leaves at most half of the variance, and dropped when
// it leaves more than 0.8. The zero value is ready
// for use. It takes about 10 KiB.
type Model struct {
	smoother Smoother
	finder   Finder
	season   Season
	mean     float64 // running mean, against which the profile must prove itself
	spread   float64 // variance about it
	left     float64 // mean square of what the profile leaves
	trial    float64 // readings on trial
	active   bool
}

// Period is the period in use, in readings; 0 where there is none.
func (m *Model) Period() float64 {
	if m.active {
		return m.season.period
	}
	return 0
}

// Next predicts x, which comes step readings (at least 1) after the one before, and learns it. A NaN or infinite x
// moves the season on but teaches nothing; all of its prediction but Expected is NaN.
func (m *Model) Next(x float64, step int) Prediction {
	p := m.Predict(x, step)
	m.Learn(x, step)
	return p
}

// Predict predicts x as Next does, and moves the season on, but learns nothing: that is for [Model.Learn] to do, with the
// same arguments, or to leave.
func (m *Model) Predict(x float64, step int) Prediction {
	step = max(step, 1)
	if m.season.period > 0 {
		m.season.advance(step)
	}
	p := Prediction{Expected: math.NaN(), Residual: math.NaN(), SeasonalExpected: math.NaN(), SeasonalResidual: math.NaN()}
	base := 0.0
	if m.active {
		base = m.season.Value()
		p.Seasonal = true
		p.SeasonalExpected, p.SeasonalSigma = m.season.Expected(), m.season.Sigma()
	}
	p.Expected = m.smoother.Forecast(step) + base
	p.Sigma = m.smoother.Sigma()
	if m.active && m.season.overall.mean > 0 { // the noise may vary over the season
		p.Sigma *= m.season.Sigma() / m.season.overall.Sigma()
	}
	if !usable(x) {
		return p
	}
	p.Residual = x - p.Expected
	if m.active {
		p.SeasonalResidual = x - p.SeasonalExpected
	}
	return p
}

// Learn learns the reading that was predicted last.
func (m *Model) Learn(x float64, step int) {
	if !usable(x) {
		return
	}
	step = max(step, 1)
	base := 0.0
	if m.active {
		base = m.season.Value()
	}
	if step > tooStale {
		m.smoother.restart(x - base)
	} else {
		m.smoother.Add(x-base, step)
	}
	m.learnSeason(x, step)
}

func (m *Model) learnSeason(x float64, step int) {
	s := &m.season
	found := m.finder.Add(x, step)
	if s.period > 0 {
		if m.trial == 0 {
			m.mean, m.spread = s.level, s.overall.Sigma()*s.overall.Sigma()
			m.left = m.spread
		}
		m.trial++
		// Outliers are not seasonal, but neither do they speak against a season.
		bound := outlier * math.Sqrt(m.spread)
		d := min(max(x-m.mean, -bound), bound)
		gain := max(trialGain/s.period, 1/(m.trial+1))
		m.mean += levelShare / s.period * d // as fast as the level of the season: a level that wanders is none
		m.spread += gain * (d*d - m.spread)
		e := min(max(s.learn(x), -bound), bound)
		m.left += gain * (e*e - m.left)
		switch share := m.left / m.spread; {
		case m.trial < s.period:
		case !m.active && share <= confirmAt:
			m.active = true
			m.smoother.shift(-s.Value())
		case share > abandonAt || !m.active && m.trial > 3*s.period:
			m.drop()
		}
	}
	if found > 0 && (s.period == 0 || m.active && m.left > searchAt*m.spread && !multiple(found, s.period)) {
		m.drop()
		s.reset(found, &m.finder)
	}
}

// multiple reports whether a period is another, or that of a few of its cycles.
func multiple(period, of float64) bool {
	n := math.Round(period / of)
	return n >= 1 && math.Abs(period-n*of) <= otherwise*of
}

// drop forgets the season; the smoother goes on where it is.
func (m *Model) drop() {
	if m.active {
		m.smoother.shift(m.season.Value())
	}
	m.season = Season{}
	m.active, m.trial, m.mean, m.spread, m.left = false, 0, 0, 0, 0
}

// shift moves the level, when what is subtracted from readings changes.
func (s *Smoother) shift(by float64) {
	for i := range s.copies {
		s.copies[i].level += by
		s.copies[i].trend = 0
	}
}

// restart begins at level x and keeps the scale of errors.
func (s *Smoother) restart(x float64) {
	for i := range s.copies {
		s.copies[i].level, s.copies[i].trend = x, 0
	}
	s.n = 1
}

// EncodeState implements state.Part.
func (m *Model) EncodeState(w *state.Writer) {
	m.smoother.EncodeState(w)
	m.finder.EncodeState(w)
	m.season.EncodeState(w)
	for _, v := range []float64{m.mean, m.spread, m.left, m.trial} {
		w.Float(v)
	}
	w.Bool(m.active)
}

// DecodeState implements state.Part.
func (m *Model) DecodeState(r *state.Reader) {
	m.smoother.DecodeState(r)
	m.finder.DecodeState(r)
	m.season.DecodeState(r)
	m.mean, m.spread = r.Finite("mean"), r.Min("spread", 0)
	m.left, m.trial = r.Min("rest", 0), r.Min("trial", 0)
	m.active = r.Bool()
	if m.active && m.season.period == 0 {
		r.Fail("a season is active without a period")
	}
}

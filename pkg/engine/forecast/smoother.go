// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package forecast predicts the next reading of a stream from those before it: exponential smoothing with a damped
// trend ([Smoother]), a seasonal profile whose period is found on the stream itself ([Season], [Finder]), and both
// together with prediction intervals ([Model]).
package forecast

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	trendShare = 0.1  // gain of the trend as a share of that of the level
	damping    = 0.9  // of the trend a reading
	scaleGain  = 0.01 // memory of residual scales: about 100 readings
)

// alphas are the gains of the level that compete: a noisy level, something between, and a random walk.
var alphas = [...]float64{0.05, 0.3, 0.95}

type holt struct {
	level, trend float64
	errors       Scale
}

// Smoother is damped-trend exponential smoothing, ETS(A,Ad,N) in error-correction form (Hyndman, Koehler, Ord and
// Snyder, "Forecasting with Exponential Smoothing", 2008, section 2.5), in three copies with gains of 0.05, 0.3 and
// 0.95; the copy whose recent one-step errors are smallest makes the forecast.
type Smoother struct {
	copies [len(alphas)]holt
	n      uint64
}

// Forecast is the expected value step readings ahead (at least 1); NaN before the first reading.
func (s *Smoother) Forecast(step int) float64 {
	if s.n == 0 {
		return math.NaN()
	}
	h := &s.copies[s.best()]
	return h.level + h.trend*dampedSteps(step)
}

// dampedSteps is φ + φ² + … + φ^step.
func dampedSteps(step int) float64 {
	if step <= 1 {
		return damping
	}
	return damping * (1 - math.Pow(damping, float64(step))) / (1 - damping)
}

func (s *Smoother) best() int {
	b := 0
	for i := range s.copies {
		if s.copies[i].errors.mean < s.copies[b].errors.mean {
			b = i
		}
	}
	return b
}

// Sigma is the scale of recent one-step errors.
func (s *Smoother) Sigma() float64 { return s.copies[s.best()].errors.Sigma() }

// Add learns x, step readings after the one before it. A finite x whose square overflows is ignored.
func (s *Smoother) Add(x float64, step int) {
	if !usable(x) {
		return
	}
	if s.n == 0 {
		for i := range s.copies {
			s.copies[i] = holt{level: x}
		}
		s.n = 1
		return
	}
	s.n++
	ahead, fade := dampedSteps(step), damping
	if step > 1 {
		fade = math.Pow(damping, float64(step))
	}
	young := 1 / float64(s.n)
	for i, a := range alphas {
		h := &s.copies[i]
		expected := h.level + h.trend*ahead
		e := x - expected
		bounded := e // a single outlier must not set the trend
		if limit := 3 * h.errors.mean; h.errors.n > 8 {
			bounded = min(max(e, -limit), limit)
		}
		h.errors.Add(e, scaleGain)
		a = max(a, young)
		h.level = expected + a*e
		h.trend = h.trend*fade + a*trendShare*bounded
	}
}

// most bounds readings so that squares of their differences stay finite.
const most = 1e150

func usable(x float64) bool { return x >= -most && x <= most }

// EncodeState implements state.Part.
func (s *Smoother) EncodeState(w *state.Writer) {
	w.Uint(s.n)
	for i := range s.copies {
		h := &s.copies[i]
		w.Float(h.level)
		w.Float(h.trend)
		h.errors.EncodeState(w)
	}
}

// DecodeState implements state.Part.
func (s *Smoother) DecodeState(r *state.Reader) {
	s.n = r.Readings()
	for i := range s.copies {
		h := &s.copies[i]
		h.level, h.trend = r.Finite("level"), r.Finite("trend")
		h.errors.DecodeState(r)
	}
}

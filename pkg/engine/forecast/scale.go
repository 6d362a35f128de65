// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forecast

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// toSigma turns the mean absolute deviation of normal noise into its standard deviation: sqrt(π/2).
const toSigma = 1.2533141373155001

// Scale follows the typical size of residuals: an exponentially weighted mean of absolute residuals, each clipped to
// five times the mean before it, so that an outlier moves it by little (Gelper, Fried and Croux, "Robust forecasting
// with exponential and Holt–Winters smoothing", J. Forecasting 29, 2010).
type Scale struct {
	mean float64
	n    float64
}

// Sigma is the scale as the standard deviation of normal noise of that size; 0 before anything was learned.
func (s *Scale) Sigma() float64 { return s.mean * toSigma }

// Add learns the residual r; gain is the weight of one residual once 1/gain of them are known.
func (s *Scale) Add(r, gain float64) {
	r = math.Abs(r)
	if math.IsNaN(r) || math.IsInf(r, 0) {
		return
	}
	s.n++
	if s.mean > 0 && s.n > 8 {
		r = min(r, 5*s.mean)
	}
	s.mean += max(gain, 1/s.n) * (r - s.mean)
}

// EncodeState implements state.Part.
func (s *Scale) EncodeState(w *state.Writer) { w.Float(s.mean); w.Float(s.n) }

// DecodeState implements state.Part.
func (s *Scale) DecodeState(r *state.Reader) {
	s.mean = r.Min("scale", 0)
	s.n = r.Min("scale count", 0)
}

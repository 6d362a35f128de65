// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	outside   = 0.01 // share of readings that the band leaves out
	bandGain  = 0.1
	bandFirst = 64 // readings that give its first width
)

// band finds how far 99 of 100 readings stay from what was expected: its half grows by a tenth with each reading outside
// and shrinks by a thousandth with each inside (I. Gibbs, E. Candès, Adaptive conformal inference under distribution
// shift, NeurIPS 2021, on a logarithmic scale), so that no reading, however large, moves it far.
type band struct {
	n    float64
	half float64
}

// next is the forecast of x, then x is learned. Within an incident what is expected is where the stream stood before,
// unless its structure says more, and nothing is learned.
func (b *band) next(x, expected, base float64, open bool) Forecast {
	nan := math.NaN()
	if math.IsNaN(expected) {
		expected = base
	}
	f := Forecast{expected, nan, nan}
	if b.n >= bandFirst {
		f.Lower, f.Upper = expected-b.half, expected+b.half
	}
	if open {
		return f
	}
	e := math.Abs(x - expected)
	b.n++
	switch {
	case b.n <= bandFirst: // three mean errors, of errors that are bounded
		if b.n > 8 && b.half > 0 {
			e = min(e, 4*b.half)
		}
		b.half += (3*e - b.half) / b.n
	case e > b.half:
		b.half = max(b.half*(1+bandGain*(1-outside)), min(e, 1e-9*math.Abs(expected)+1e-300))
	default:
		b.half /= 1 + bandGain*outside
	}
	return f
}

// EncodeState implements state.Part.
func (b *band) EncodeState(w *state.Writer) {
	w.Float(b.n)
	w.Float(b.half)
}

// DecodeState implements state.Part.
func (b *band) DecodeState(r *state.Reader) { b.n, b.half = r.Min("forecasts", 0), r.Min("band", 0) }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shape

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	// Window is the number of readings, and of means of two, in the windows of a Detector.
	Window = 50
	// Windows is how many earlier windows of each kind a Detector is to remember where nothing else is wanted.
	Windows = 320

	young  = 150  // distances that are learned before one is judged
	keeps  = 4000 // distances that the typical one is the mean of
	alike  = 0.4  // z-normalised distance up to which two windows are the same: a stream at rest would rank by rounding
	lowest = -5   // evidence of a window that was met before, in natural units
)

// Detector judges the shape of the newest readings by a profile of readings, or by two, the other one of means of two,
// which looks twice as far back. Each window counts by the logarithms of its distances over what is typical of them,
// that of the z-normalised one by half, and the larger of the two profiles counts. With 320 windows a profile takes about
// 8 KiB. It is not safe for concurrent use.
type Detector struct {
	scales []scale
	rarity quantile.LogTail
	first  float64 // of two readings
	halved bool    // first waits for the second
}

// scale is a profile and what its distances typically are.
type scale struct {
	profile Profile
	typical [2]moments.EWMA
	strange float64 // how unlike the others the newest window is
	ok      bool
}

// New makes a Detector of one profile or two that remembers that many windows of each kind.
func New(profiles, windows int) *Detector {
	d := &Detector{scales: make([]scale, max(1, min(profiles, 2)))}
	for i := range d.scales {
		s := &d.scales[i]
		s.profile = NewProfile(Window, windows)
		for j := range s.typical {
			s.typical[j] = moments.NewEWMA(1.0 / keeps)
		}
	}
	return d
}

// Next takes a finite reading and returns −log10 of the probability of a window at least as unlike those before while
// nothing is wrong. ok is false for about the first 250 readings, and where no earlier window is left to compare with.
// What is held is judged and not learned.
func (d *Detector) Next(x float64, hold bool) (evidence float64, ok bool) {
	d.scales[0].next(x, hold)
	if len(d.scales) > 1 {
		if d.halved {
			d.scales[1].next(d.first/2+x/2, hold)
		}
		d.first, d.halved = x, !d.halved
	}
	strange := math.Inf(-1)
	for i := range d.scales {
		if s := &d.scales[i]; s.ok {
			strange = max(strange, s.strange)
		}
	}
	if math.IsInf(strange, -1) {
		return 0, false
	}
	ratio := math.Exp(strange)
	evidence, ok = d.rarity.Evidence(ratio), d.rarity.Count() >= young
	if !hold {
		d.rarity.Add(ratio)
	}
	return evidence, ok
}

func (s *scale) next(x float64, hold bool) {
	var d Distance
	if d, s.ok = s.profile.Next(x, hold); !s.ok {
		return
	}
	if !hold {
		s.typical[0].Update(d.Offset)
		s.typical[1].Update(d.Shape)
	}
	s.strange = max(logRatio(d.Offset, s.typical[0].Mean())+logRatio(max(d.Shape, alike), max(s.typical[1].Mean(), alike))/2, lowest)
}

// logRatio is the logarithm of v over what is typical, 0 where that is nothing.
func logRatio(v, typical float64) float64 {
	if !(typical > 0) {
		return 0
	}
	return math.Log(v / typical)
}

// EncodeState implements state.Part.
func (d *Detector) EncodeState(w *state.Writer) {
	for i := range d.scales {
		s := &d.scales[i]
		s.profile.EncodeState(w)
		for j := range s.typical {
			s.typical[j].EncodeState(w)
		}
		w.Float(s.strange)
		w.Bool(s.ok)
	}
	d.rarity.EncodeState(w)
	w.Float(d.first)
	w.Bool(d.halved)
}

// DecodeState implements state.Part. The Detector must remember as many windows as the one that was encoded.
func (d *Detector) DecodeState(r *state.Reader) {
	for i := range d.scales {
		s := &d.scales[i]
		s.profile.DecodeState(r)
		for j := range s.typical {
			s.typical[j].DecodeState(r)
		}
		s.strange = r.Finite("strangeness")
		s.ok = r.Bool()
	}
	d.rarity.DecodeState(r)
	d.first = r.Finite("first of two readings")
	d.halved = r.Bool()
}

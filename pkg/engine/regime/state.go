// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func (w *Watch) parts() [9]state.Part {
	return [...]state.Part{
		&w.counter, &w.season, &w.modes, &w.states, &w.rhythm, &w.rest, &w.leap, &w.level, &w.scatter,
	}
}

// EncodeState implements state.Part.
func (w *Watch) EncodeState(out *state.Writer) {
	out.Float(w.rows)
	out.Float(w.last)
	out.Float(w.rise)
	out.Int(int64(w.regime))
	for _, p := range w.parts() {
		p.EncodeState(out)
	}
	w.open.EncodeState(out)
	w.search.EncodeState(out)
}

// DecodeState implements state.Part.
func (w *Watch) DecodeState(r *state.Reader) {
	w.rows, w.last, w.rise = r.Min("readings", 0), r.Finite("last reading"), r.Min("rise", 0)
	w.regime = Regime(r.Count("regime", int(Discrete)))
	for _, p := range w.parts() {
		p.DecodeState(r)
	}
	w.open.DecodeState(r)
	w.search.DecodeState(r)
	// A season that was given up leaves the regime to the next reading, but never in the middle of an incident.
	if r.Err() == nil && w.regime == Seasonal && w.season.period == 0 && w.open.on {
		r.Fail("seasonal without a season")
	}
}

// EncodeState implements state.Part.
func (i *incident) EncodeState(w *state.Writer) {
	w.Bool(i.on)
	w.Int(int64(i.kind))
	for _, v := range i.floats() {
		w.Float(*v)
	}
	for _, v := range i.counts() {
		w.Int(int64(*v))
	}
	w.Int(int64(i.sign) + 1)
}

// DecodeState implements state.Part.
func (i *incident) DecodeState(r *state.Reader) {
	*i = incident{on: r.Bool(), kind: Kind(r.Count("kind", int(State)))}
	for _, v := range i.floats() {
		*v = r.Finite("of the incident")
	}
	for _, v := range i.counts() {
		*v = int32(r.Count("of the incident", math.MaxInt32))
	}
	i.sign = int32(r.Count("sign", 2) - 1)
}

func (i *incident) floats() [6]*float64 {
	return [...]*float64{&i.age, &i.tail, &i.base, &i.dev, &i.sum, &i.shift}
}

func (i *incident) counts() [5]*int32 {
	return [...]*int32{&i.out, &i.quiet, &i.tell, &i.changes, &i.reversed}
}

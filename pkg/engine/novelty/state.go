// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// EncodeState implements state.Part.
func (d *Detector) EncodeState(w *state.Writer) {
	w.Uint(uint64(d.t))
	for _, v := range []float64{d.prev, d.slow} {
		w.Float(v)
	}
	w.Floats(d.hist[:])
	w.Floats(d.med[:])
	for _, l := range d.scales() {
		l.EncodeState(w)
	}
	d.pair.EncodeState(w)
	d.seas.EncodeState(w)
	d.returns.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *Detector) DecodeState(r *state.Reader) {
	d.t = uint32(r.Count("readings", math.MaxInt32-1))
	d.prev, d.slow = value(r, "last reading"), value(r, "average")
	for i, n := 0, r.Count("newest readings", medianRows); i < n && r.Err() == nil; i++ {
		d.hist[i] = value(r, "newest reading")
	}
	for i, n := 0, r.Count("median's readings", medianRows); i < n && r.Err() == nil; i++ {
		d.med[i] = value(r, "median's reading")
	}
	for _, l := range d.scales() {
		l.decode(r, d.t)
	}
	d.pair.DecodeState(r)
	d.seas.DecodeState(r)
	d.returns.decode(r, d.t)
}

// value reads a number of the size that readings have.
func value(r *state.Reader, name string) float64 {
	v := r.Finite(name)
	if math.Abs(v) > 2*largest {
		r.Fail("%s is %v, want at most %v in size", name, v, largest)
		return 0
	}
	return v
}

// single reads a number that is kept in single precision.
func single(r *state.Reader, name string, least float64) float32 {
	v := r.Min(name, least)
	if v > 4*largest {
		r.Fail("%s is %v, want at most %v", name, v, 4*largest)
		return 0
	}
	return float32(v)
}

// EncodeState implements state.Part.
func (k *ranks) EncodeState(w *state.Writer) {
	w.Int(int64(k.n))
	for _, d := range k.d[:k.n] {
		w.Float(float64(d))
	}
}

// DecodeState implements state.Part.
func (k *ranks) DecodeState(r *state.Reader) {
	*k = ranks{n: int32(r.Count("largest distances", topSize))}
	for i := range k.d[:k.n] {
		k.d[i] = single(r, "distance", 0)
	}
}

// EncodeState writes what was learned.
func (l *levels) EncodeState(w *state.Writer) {
	w.Int(int64(l.n))
	for i, v := range l.values[:l.n] {
		w.Float(v)
		w.Uint(uint64(l.seen[i]))
	}
	l.top.EncodeState(w)
}

func (l *levels) decode(r *state.Reader, now uint32) {
	*l = levels{n: int32(r.Count("stored values", storeSize))}
	for i := range int(l.n) {
		l.values[i] = value(r, "stored value")
		l.seen[i] = uint32(r.Count("time of a stored value", int(now)))
		if i > 0 && l.values[i] < l.values[i-1] {
			r.Fail("stored values are not in order")
		}
	}
	l.top.DecodeState(r)
}

// EncodeState implements state.Part.
func (p *pairs) EncodeState(w *state.Writer) {
	w.Int(int64(p.n))
	for i := range int(p.n) {
		w.Float(p.a[i])
		w.Float(p.b[i])
		w.Float(float64(p.d[i]))
	}
	p.top.EncodeState(w)
}

// DecodeState implements state.Part.
func (p *pairs) DecodeState(r *state.Reader) {
	*p = pairs{n: int32(r.Count("stored pairs", storeSize))}
	for i := range int(p.n) {
		p.a[i], p.b[i] = value(r, "stored pair"), value(r, "stored pair")
		p.d[i] = single(r, "novelty of a pair", 0)
	}
	p.top.DecodeState(r)
}

// EncodeState writes what was learned.
func (k *returns) EncodeState(w *state.Writer) {
	w.Int(int64(k.n))
	for _, m := range k.stack[:k.n] {
		w.Float(float64(m.e))
		w.Uint(uint64(m.t))
	}
}

func (k *returns) decode(r *state.Reader, now uint32) {
	*k = returns{n: int32(r.Count("marks", stackRows))}
	for i := range k.stack[:k.n] {
		k.stack[i] = mark{single(r, "evidence", 0), uint32(r.Count("time of a mark", int(now)))}
	}
}

// EncodeState implements state.Part.
func (s *seasonality) EncodeState(w *state.Writer) {
	w.Int(int64(s.size))
	w.Int(int64(s.n))
	for i := range s.n {
		k := (s.head + i) % seasRing
		w.Float(float64(s.z[k]))
		w.Int(int64(s.q[k]) + clip)
	}
	for _, v := range []int32{s.inOpen, s.lag, s.end, s.best, s.period, s.since} {
		w.Int(int64(v))
	}
	for _, v := range []float64{
		s.origin, s.sum, s.mean, s.dev, s.smooth, s.v0, s.m0, s.a1, s.a2, s.rho, s.errSeason, s.errLevel,
	} {
		w.Float(v)
	}
	w.Bool(s.below)
}

// DecodeState implements state.Part.
func (s *seasonality) DecodeState(r *state.Reader) {
	*s = seasonality{size: int32(r.Count("readings a block", seasMax)), n: int32(r.Count("blocks", seasRing))}
	for i := range s.n {
		s.z[i] = single(r, "block", -4*largest)
		s.q[i] = int8(r.Count("centred block", 2*clip) - clip)
	}
	s.inOpen = int32(r.Count("readings in the open block", seasMax-1))
	for _, v := range []*int32{&s.lag, &s.end, &s.best, &s.period} {
		*v = int32(r.Count("lag", seasRing-1))
	}
	s.since = int32(r.Count("blocks forecast", math.MaxInt32))
	for _, v := range []*float64{
		&s.origin, &s.sum, &s.mean, &s.dev, &s.smooth, &s.v0, &s.m0, &s.a1, &s.a2, &s.rho, &s.errSeason, &s.errLevel,
	} {
		*v = r.Finite("of the season")
	}
	s.below = r.Bool()
	if r.Err() == nil && (s.n > 0 && s.size == 0 || s.inOpen > s.size || 2*s.end > s.n ||
		s.end > 0 && s.lag > s.end) { // between two scans the lag is that of the last one
		r.Fail("season with %d blocks of %d, %d open, at lag %d of %d", s.n, s.size, s.inOpen, s.lag, s.end)
	}
}

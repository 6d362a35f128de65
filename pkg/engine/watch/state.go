// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// most bounds row numbers; only damage gets there.
const most = 1 << 53

func row(r *state.Reader, name string) int64 {
	n := r.Int()
	if n < 0 || n > most {
		r.Fail("%s is %d, want 0 to %d", name, n, int64(most))
		return 0
	}
	return n
}

// within reads a finite float that bounds sums of its like.
func within(r *state.Reader, name string) float64 {
	v := r.Finite(name)
	if math.Abs(v) > 2*largest {
		r.Fail("%s is %v", name, v)
	}
	return v
}

// EncodeState implements state.Part.
func (d *Detector) EncodeState(w *state.Writer) {
	w.Int(d.t)
	n := min(d.t, ringSize)
	for t := d.t - n + 1; t <= d.t; t++ {
		p := d.at(t)
		w.Float(p.x)
		w.Int(p.at)
		w.Int(int64(*d.back(t)))
	}
	w.Int(d.first)
	w.Float(d.interval)
	w.Int(d.bound)
	w.Int(d.next)
	w.Float(d.learned)
	w.Float(d.smallest)
	w.Floats(d.scale[:])
	w.Floats(d.us[:]) // of the beginning of what is open
	for _, v := range d.season() {
		w.Float(*v)
	}
	for k := range d.tails {
		d.tails[k].EncodeState(w)
	}
	d.far.EncodeState(w)
	d.rest.EncodeState(w)
	d.open.EncodeState(w)
	d.encodeLessons(w)
	w.Int(int64(d.nhabits))
	w.Bool(d.rested)
	for _, h := range d.habits[:min(d.nhabits, habits)] {
		w.Int(h.at)
		w.Float(h.size)
		w.Bool(h.still)
		w.Bool(h.returned)
	}
}

// DecodeState implements state.Part. The configuration stays.
func (d *Detector) DecodeState(r *state.Reader) {
	*d = Detector{config: d.config, from: d.from}
	d.t = row(r, "readings")
	n := min(d.t, ringSize)
	for t := d.t - n + 1; t <= d.t; t++ {
		*d.at(t) = point{x: within(r, "reading"), at: r.Int()}
		*d.back(t) = int32(r.Count("distance", math.MaxInt32))
	}
	if 0 < n && n < ringSize { // before the first reading all were as it
		for t := n + 1; t <= ringSize; t++ {
			d.ring[t&(ringSize-1)] = point{x: d.at(1).x, at: d.at(1).at}
		}
	}
	d.first = r.Int()
	d.interval = r.Min("interval", 0)
	d.bound = row(r, "bound")
	d.next = row(r, "next reading")
	d.learned = r.Min("readings learned", 0)
	d.smallest = r.Min("smallest move", 0)
	r.FloatsTo("scales", d.scale[:])
	for j, s := range d.scale {
		if !(s >= 0 && s <= 4*largest) {
			r.Fail("scale %d is %v", j, s)
		}
	}
	r.FloatsTo("rarities", d.us[:])
	for _, u := range d.us {
		if !(u >= 0 && u <= 4*mostU) {
			r.Fail("a rarity is %v", u)
		}
	}
	for _, v := range d.season() {
		*v = r.Min("of the season", 0)
	}
	for k := range d.tails {
		d.tails[k].DecodeState(r)
	}
	d.far.DecodeState(r)
	d.rest.DecodeState(r)
	d.open.DecodeState(r)
	d.decodeLessons(r)
	d.nhabits = int32(r.Count("habits", math.MaxInt32))
	d.rested = r.Bool()
	for i := range min(d.nhabits, habits) {
		d.habits[i] = habit{r.Int(), within(r, "habit"), r.Bool(), r.Bool()}
	}
	if r.Err() == nil && (d.bound > d.t || d.next > d.t+1 || d.t > 0 && d.next < 1 || d.open.began > d.t ||
		d.open.away > d.t || d.open.on && d.open.began < 2 || d.t-d.next > ringSize && !d.open.on) {
		r.Fail("reading %d, next %d, incident from %d to %d", d.t, d.next, d.open.began, d.open.away)
	}
}

// EncodeState implements state.Part.
func (l *tail) EncodeState(w *state.Writer) {
	last := len(l.count)
	for last > 0 && l.count[last-1] == 0 {
		last--
	}
	w.Int(int64(last))
	for _, c := range l.count[:last] {
		w.Int(int64(c))
	}
	w.Int(int64(l.fresh))
	w.Int(int64(l.from))
	w.Float(l.share)
	w.Float(l.index)
}

// DecodeState implements state.Part.
func (l *tail) DecodeState(r *state.Reader) {
	*l = tail{}
	for b := range r.Count("bins", tailBins) {
		l.count[b] = uint16(r.Count("values in a bin", math.MaxUint16))
		l.n += int32(l.count[b])
	}
	l.sum()
	l.fresh = int16(r.Count("fresh values", mostFresh))
	l.from = int16(r.Count("first bin of the tail", tailBins-1))
	l.share, l.index = r.Min("share of the tail", 0), r.Min("index of the tail", 0)
	if r.Err() == nil && l.n > fullCount {
		r.Fail("%d values in a tail, want at most %d", l.n, fullCount)
	}
	if r.Err() == nil && (l.share > 1 || l.index > 100 || l.n > 0 && (l.share == 0 || l.index == 0)) {
		r.Fail("tail of %v with index %v", l.share, l.index)
	}
}

// EncodeState implements state.Part.
func (l *long) EncodeState(w *state.Writer) {
	w.Int(l.n)
	n := min(l.n, longRing)
	for t := l.n - n; t < l.n; t++ {
		p := l.ring[t&(longRing-1)]
		skipped := math.IsNaN(p.x)
		if skipped {
			p.x = 0
		}
		w.Float(p.x)
		w.Int(p.at)
		w.Bool(skipped)
		w.Bool(l.isMixed(t))
	}
	w.Floats(l.scale[:])
	for k := range l.tails {
		l.tails[k].EncodeState(w)
	}
}

// DecodeState implements state.Part.
func (l *long) DecodeState(r *state.Reader) {
	*l = long{n: row(r, "kept readings")}
	n := min(l.n, longRing)
	for t := l.n - n; t < l.n; t++ {
		p := point{x: within(r, "kept reading"), at: r.Int()}
		if r.Bool() {
			p.x = math.NaN()
		}
		l.ring[t&(longRing-1)] = p
		l.mark(t, r.Bool())
	}
	r.FloatsTo("long scales", l.scale[:])
	for k := range l.tails {
		l.tails[k].DecodeState(r)
		if s := l.scale[k]; !(s >= 0 && s <= 4*largest) {
			r.Fail("long scale %d is %v", k, s)
		}
	}
}

// EncodeState implements state.Part.
func (p *rest) EncodeState(w *state.Writer) {
	w.Float(p.run)
	w.Float(p.runs)
	w.Float(p.rows)
	w.Floats(p.moves[:])
	for k := range p.noise {
		w.Float(float64(p.noise[k]))
		w.Float(float64(p.still[k]))
	}
}

// DecodeState implements state.Part.
func (p *rest) DecodeState(r *state.Reader) {
	*p = rest{run: r.Min("rest", 0), runs: r.Min("rests", 0), rows: r.Min("readings in rests", 0)}
	r.FloatsTo("moves", p.moves[:])
	for _, m := range p.moves {
		if !(m >= 0 && m <= 4*largest) {
			r.Fail("a move is %v", m)
		}
	}
	p.sorted = p.moves
	sortMoves(&p.sorted)
	for k := range p.noise {
		p.noise[k], p.still[k] = float32(r.Min("noise", 0)), float32(r.Min("rest", 0))
	}
}

// EncodeState implements state.Part.
func (i *incident) EncodeState(w *state.Writer) {
	w.Bool(i.on)
	w.Int(int64(i.by))
	w.Int(int64(i.hint))
	for _, v := range i.rows() {
		w.Int(*v)
	}
	w.Int(i.at)
	w.Int(int64(i.calm))
	w.Float(i.base)
	w.Float(i.size)
	w.Float(i.unusual)
	w.Float(i.fill)
	w.Floats(i.peaks[:])
}

// DecodeState implements state.Part.
func (i *incident) DecodeState(r *state.Reader) {
	*i = incident{on: r.Bool(), by: r.Count("member", hinted), hint: Kind(r.Count("kind", int(State)))}
	for _, v := range i.rows() {
		*v = row(r, "reading of the incident")
	}
	i.at = r.Int()
	i.calm = r.Count("calm readings", calmRows)
	i.base = within(r, "base")
	i.size = r.Finite("size")
	if math.Abs(i.size) > 8*largest {
		r.Fail("size is %v", i.size)
	}
	i.unusual, i.fill = r.Min("unusual readings", 0), r.Min("usual readings", 0)
	r.FloatsTo("peaks", i.peaks[:])
	for _, z := range i.peaks {
		if !(z >= 0) {
			r.Fail("a peak is %v", z)
		}
	}
}

func (i *incident) rows() [3]*int64 { return [...]*int64{&i.began, &i.chain, &i.away} }

func (d *Detector) season() [4]*float64 {
	return [...]*float64{&d.period, &d.periodScale, &d.halfScale, &d.periods}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch

import (
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	lessonParts = 32  // of an accepted stretch
	mostLessons = 8   // the oldest goes first
	lessonMore  = 1.2 // times its length after which a stretch is longer than the lesson
	lessonOff   = 0.2 // of the size of the stretch, by which another one may be off
	partsOff    = 2   // parts by which another one may come early or late
)

// Point is a reading taken at a time in Unix ns.
type Point struct {
	X  float64
	At int64
}

// lesson is a departure that somebody has said was normal: how far the stream was, least and most, in each part of it
// from where it stood before.
type lesson struct {
	rows   int64
	lo, hi [lessonParts]float64
	size   float64
}

// excuse is a departure that follows a lesson.
type excuse struct {
	lesson int // 1 + its number; 0: none
	began  int64
	base   float64
}

// Remembered are the readings from one time to another; none where the first of them are not known any more, as the rest
// has another shape.
func (d *Detector) Remembered(from, to int64) []Point {
	var ps []Point
	first := max(d.t-ringSize+1, 1)
	if first > 1 && d.at(first).at > from {
		return nil
	}
	for t := first; t <= d.t; t++ {
		if p := d.at(t); p.at >= from && p.at <= to {
			ps = append(ps, Point{p.x, p.at})
		}
	}
	return ps
}

// Accept takes readings in order of time for normal: from now on a departure of the same shape begins no incident. An
// incident that they are part of ends.
func (d *Detector) Accept(ps []Point) error {
	if len(ps) == 0 {
		return fmt.Errorf("accept: no readings of the stretch")
	}
	base := ps[0].X
	for t := d.t; t > max(d.t-ringSize, 0); t-- {
		if p := d.at(t); p.at < ps[0].At {
			base = p.x
			break
		}
	}
	return d.AcceptAfter(base, ps)
}

// AcceptAfter is Accept where the reading before the stretch is known to the caller.
func (d *Detector) AcceptAfter(base float64, ps []Point) error {
	if len(ps) == 0 {
		return fmt.Errorf("accept: no readings of the stretch")
	}
	from, to := ps[0].At, ps[len(ps)-1].At
	i := &d.open
	if i.began > 0 && i.at <= to && from <= d.when(min(max(i.away, i.began), d.t)) { // what was told
		base = i.base
		for len(ps) > 1 && ps[0].At <= i.at {
			ps = ps[1:]
		}
	}
	l := lesson{rows: int64(len(ps))}
	for k := range lessonParts {
		a := k * len(ps) / lessonParts
		b := max(a+1, (k+1)*len(ps)/lessonParts)
		l.lo[k], l.hi[k] = math.Inf(1), math.Inf(-1)
		for _, p := range ps[a:b] {
			x := max(-largest, min(largest, p.X)) - base
			l.lo[k], l.hi[k] = min(l.lo[k], x), max(l.hi[k], x)
		}
		l.size = max(l.size, math.Abs(l.lo[k]), math.Abs(l.hi[k]))
	}
	if len(d.lessons) == mostLessons {
		d.lessons = d.lessons[1:]
	}
	d.lessons = append(d.lessons[:len(d.lessons):len(d.lessons)], l) // never in memory that a copy shares
	d.excuse = excuse{}
	if i.on {
		d.accept()
	}
	return nil
}

// follows reports whether the newest reading is where the lesson lets expect, for a departure that began then.
func (d *Detector) follows(l *lesson, began int64, base float64) bool {
	at := d.t - began
	if float64(at) > lessonMore*float64(l.rows)+2 {
		return false
	}
	k := int(at * lessonParts / l.rows)
	lo, hi := math.Inf(1), math.Inf(-1)
	for p := max(k-partsOff, 0); p <= k+partsOff; p++ {
		if p >= lessonParts { // it is over
			lo, hi = min(lo, 0), max(hi, 0)
			break
		}
		lo, hi = min(lo, l.lo[p]), max(hi, l.hi[p])
	}
	if k <= partsOff {
		lo, hi = min(lo, 0), max(hi, 0)
	}
	slack := lessonOff*l.size + 4*d.usual(0)
	x := d.at(d.t).x - base
	return x >= lo-slack && x <= hi+slack
}

// excused reports whether what departs now was said to be normal.
func (d *Detector) excused(rows int64) bool {
	e := &d.excuse
	if e.lesson > 0 {
		l := &d.lessons[e.lesson-1]
		if d.follows(l, e.began, e.base) {
			return true
		}
		over := float64(d.t-e.began) > lessonMore*float64(l.rows)+2
		*e = excuse{}
		if over && d.t > 0 { // and what follows is not held against it
			d.bound = d.t
			return true
		}
		return false
	}
	base := d.at(max(d.t-rows, 1)).x
	for k := range d.lessons {
		l := &d.lessons[k]
		for began := max(d.t-rows+1, 2); began <= d.t; began++ {
			if d.follows(l, began, base) {
				*e = excuse{k + 1, began, base}
				return true
			}
		}
		for back := rows; back < min(rows+max(l.rows/2, lessonParts), ringSize/2, d.t-2); back++ { // it began before it showed
			if began := d.t - back; d.follows(l, began, d.stood(began-1)) {
				*e = excuse{k + 1, began, d.stood(began - 1)}
				return true
			}
		}
	}
	return false
}

func (d *Detector) encodeLessons(w *state.Writer) {
	w.Int(int64(len(d.lessons)))
	for k := range d.lessons {
		l := &d.lessons[k]
		w.Int(l.rows)
		w.Floats(l.lo[:])
		w.Floats(l.hi[:])
		w.Float(l.size)
	}
	w.Int(int64(d.excuse.lesson))
	w.Int(d.excuse.began)
	w.Float(d.excuse.base)
}

func (d *Detector) decodeLessons(r *state.Reader) {
	d.lessons = nil
	for range r.Count("lessons", mostLessons) {
		l := lesson{rows: row(r, "readings of a lesson")}
		r.FloatsTo("least of a lesson", l.lo[:])
		r.FloatsTo("most of a lesson", l.hi[:])
		l.size = r.Min("size of a lesson", 0)
		for k := range l.lo {
			if !(l.lo[k] <= l.hi[k]) || l.lo[k] < -4*largest || l.hi[k] > 4*largest {
				r.Fail("a lesson is from %v to %v", l.lo[k], l.hi[k])
			}
		}
		if l.rows < 1 {
			r.Fail("a lesson of %d readings", l.rows)
		}
		if r.Err() != nil {
			return
		}
		d.lessons = append(d.lessons, l)
	}
	d.excuse = excuse{r.Count("lesson", len(d.lessons)), row(r, "beginning"), within(r, "base")}
	if r.Err() == nil && d.excuse.began > d.t {
		r.Fail("an excuse from reading %d of %d", d.excuse.began, d.t)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stillness finds streams that stand still although they usually move: frozen sensors, stuck registers, caches
// that are no longer filled.
package stillness

import (
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	margin    = 1.5 // a rest is unusual only when it is this many times longer than the longest before
	maxLevels = 3   // distinct values are counted up to here
	minRuns   = 20  // fewer rests than this say nothing about the next one
	halfLife  = 1 << 16
)

// Detector learns how long a stream usually rests on one value. A rest is a run of equal readings in succession; its
// length is the number of repeats, 0 for a reading that differs from both neighbours.
//
// A rest of r repeats is judged by the less damning of two probabilities:
//   - the repeats are independent: q^r, where q is the share of repeats among all readings (rule of succession);
//   - the rests are exchangeable: the next of m + 1 is the longest with probability 1/(m+1), and beyond the longest, L,
//     the tail falls with the cube of the length, ((L+1)/(r+1))³/(m+1), as heavy a tail as still has a variance.
//
// It is silent about streams that show no usual movement: with two or fewer distinct values (lights, switches), and
// with fewer than MinMovement of their readings moving (constants, setpoints). The zero value is ready for use.
type Detector struct {
	MinMovement float64 // least share of readings that move; 0 means any
	MinRepeats  int     // shorter rests are never unusual

	last    float64
	repeats float64 // of the present rest
	longest float64 // repeats of the longest rest that ended
	rests   float64 // that ended
	total   float64 // readings in them
	levels  [maxLevels]float64
	level   int // how many of levels are in use
	seen    bool
}

// Update takes a reading and returns the probability of a rest at least as long while all is well.
func (d *Detector) Update(x float64) float64 {
	d.addLevel(x)
	switch {
	case !d.seen:
		d.seen = true
	case x == d.last:
		d.repeats++
	default:
		d.endRest()
	}
	d.last = x
	if d.repeats < max(float64(d.MinRepeats), 1) || d.repeats <= margin*d.longest || !d.Moves() {
		return 1
	}
	q := (d.total - d.rests + 1) / (d.total + 2)
	record := (d.longest + 1) / (d.repeats + 1)
	return max(math.Pow(q, d.repeats), record*record*record/(d.rests+1))
}

// endRest learns a rest. A rest much longer than the longest before counts as twice that, so that a single freeze does
// not hide the next one, while rests that keep coming are soon learned.
func (d *Detector) endRest() {
	learned := min(d.repeats, 2*d.longest+max(float64(d.MinRepeats), 1))
	d.longest = max(d.longest, learned)
	d.rests++
	d.total += 1 + learned
	d.repeats = 0
	if d.total > halfLife { // old habits fade
		d.total /= 2
		d.rests /= 2
	}
}

func (d *Detector) addLevel(x float64) {
	if d.level == maxLevels || slices.Contains(d.levels[:d.level], x) {
		return
	}
	d.levels[d.level] = x
	d.level++
}

// Movement is the share of readings that differed from the one before, the present rest left out.
func (d *Detector) Movement() float64 {
	if d.total == 0 {
		return 0
	}
	return d.rests / d.total
}

// Levels is the number of distinct values so far, counted up to 3.
func (d *Detector) Levels() int { return d.level }

// Moves reports whether there is evidence that the stream usually moves.
func (d *Detector) Moves() bool {
	return d.level == maxLevels && d.rests >= minRuns && d.Movement() >= d.MinMovement
}

// Longest is the number of repeats in the longest rest that was learned.
func (d *Detector) Longest() float64 { return d.longest }

// Repeats is the number of repeats in the present rest.
func (d *Detector) Repeats() float64 { return d.repeats }

// EncodeState writes what was learned; the exported fields are configuration.
func (d *Detector) EncodeState(w *state.Writer) {
	w.Bool(d.seen)
	for _, v := range []*float64{&d.last, &d.repeats, &d.longest, &d.rests, &d.total} {
		w.Float(*v)
	}
	w.Uint(uint64(d.level))
	for _, v := range d.levels {
		w.Float(v)
	}
}

// DecodeState reads what EncodeState wrote.
func (d *Detector) DecodeState(r *state.Reader) {
	d.seen = r.Bool()
	d.last = r.Finite("last reading")
	d.repeats = r.Min("repeats", 0)
	d.longest = r.Min("longest rest", 0)
	d.rests = r.Min("rests", 0)
	d.total = r.Min("readings", d.rests)
	d.level = r.Count("levels", maxLevels)
	for i := range d.levels {
		d.levels[i] = r.Finite("level")
	}
}

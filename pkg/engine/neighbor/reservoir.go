// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package neighbor finds the nearest of a bounded number of remembered vectors, such as delay windows of a stream.
package neighbor

import (
	"cmp"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// rounding is the margin within which bounds are not trusted.
const rounding = 1 + 1e-9

// MaxNeighbors is the most neighbours that [Reservoir.Distance] takes the mean of.
const MaxNeighbors = 8

// Reservoir remembers up to a fixed number of vectors, kept sorted by their projection on a unit vector u. As
// |u·(q − w)| ≤ ‖q − w‖, the search for the nearest walks outwards from the query's place in that order and stops where
// the projections alone are too far apart. On the way it passes over vectors whose length across u differs too much
// from the query's, by the triangle inequality, and abandons a distance as soon as its partial sum is too large. The
// result is exact, after a few dozen distances instead of all for most streams.
//
// A full reservoir replaces vectors at random, so that a vector survives n replacements with probability
// (1 − 1/size)^n: old ones thin out exponentially (Aggarwal, "On biased reservoir sampling", VLDB 2006).
type Reservoir struct {
	dim    int
	unit   []float64 // projection
	data   []float64 // size × dim, slot by slot
	order  []entry   // filled slots by projection
	size   int
	random uint64
}

type entry struct {
	key  float64 // projection
	rest float64 // length across it
	slot int32
}

// NewReservoir returns an empty reservoir of size vectors of dim numbers. unit is the projection, of length dim and
// norm 1; nil is the mean direction, which suits windows of a stream. Equal seeds make equal choices.
func NewReservoir(size, dim int, unit []float64, seed uint64) Reservoir {
	size, dim = max(size, 1), max(dim, 1)
	if len(unit) != dim {
		unit = make([]float64, dim)
		for i := range unit {
			unit[i] = 1 / math.Sqrt(float64(dim))
		}
	}
	return Reservoir{
		dim: dim, unit: unit, size: size, random: seed*0x9e3779b97f4a7c15 + 1,
		data: make([]float64, size*dim), order: make([]entry, 0, size),
	}
}

// Len is the number of vectors remembered.
func (r *Reservoir) Len() int { return len(r.order) }

// Size is the most vectors it remembers.
func (r *Reservoir) Size() int { return r.size }

// project splits a vector into its projection and its length across that.
func (r *Reservoir) project(v []float64) (key, rest float64) {
	for i, u := range r.unit {
		key += u * v[i]
	}
	for i, u := range r.unit {
		d := v[i] - key*u
		rest += d * d
	}
	return key, math.Sqrt(rest)
}

// Distance is the mean Euclidean distance from q, of dim finite numbers, to its k nearest (at most [MaxNeighbors])
// vectors; NaN where fewer are remembered or q is not finite.
func (r *Reservoir) Distance(q []float64, k int) float64 {
	key, rest := r.project(q)
	if k = min(max(k, 1), MaxNeighbors); len(r.order) < k || math.IsNaN(key) || math.IsInf(key, 0) {
		return math.NaN()
	}
	var nearest [MaxNeighbors]float64 // squared, ascending
	for i := range k {
		nearest[i] = math.Inf(1)
	}
	hi := r.search(key)
	lo := hi - 1
	for lo >= 0 || hi < len(r.order) {
		var e entry
		if hi == len(r.order) || lo >= 0 && key-r.order[lo].key <= r.order[hi].key-key {
			e = r.order[lo]
			lo--
		} else {
			e = r.order[hi]
			hi++
		}
		gap, across := e.key-key, e.rest-rest
		bound := nearest[k-1]
		if gap *= gap; gap > bound*rounding {
			break
		}
		if gap+across*across > bound*rounding {
			continue
		}
		d := r.squared(q, int(e.slot), bound)
		if !(d < bound) {
			continue
		}
		i := k - 1
		for i > 0 && nearest[i-1] > d {
			nearest[i] = nearest[i-1]
			i--
		}
		nearest[i] = d
	}
	sum := 0.0
	for _, d := range nearest[:k] {
		sum += math.Sqrt(d)
	}
	return sum / float64(k)
}

// squared is the squared distance, or something larger than bound where it is larger than that.
func (r *Reservoir) squared(q []float64, slot int, bound float64) float64 {
	w := r.data[slot*r.dim:][:len(q)]
	s := 0.0
	for len(q) >= 4 && len(w) >= 4 {
		a, b, c, d := q[0]-w[0], q[1]-w[1], q[2]-w[2], q[3]-w[3]
		if s += a*a + b*b + c*c + d*d; s > bound {
			return s
		}
		q, w = q[4:], w[4:]
	}
	for i, x := range q {
		s += (x - w[i]) * (x - w[i])
	}
	return s
}

// search is the place of key in the order.
func (r *Reservoir) search(key float64) int {
	lo, hi := 0, len(r.order)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); r.order[mid].key < key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Add remembers v, in place of a vector chosen at random where the reservoir is full. A vector that is not finite is
// ignored.
func (r *Reservoir) Add(v []float64) {
	if len(v) != r.dim {
		return
	}
	key, rest := r.project(v)
	if math.IsNaN(key) || math.IsInf(key, 0) {
		return
	}
	slot := len(r.order)
	if slot == r.size {
		// A slot is drawn, not a place in the order, so that the choice does not depend on the vectors.
		slot = int(r.draw() % uint64(r.size))
		victim := slices.IndexFunc(r.order, func(e entry) bool { return int(e.slot) == slot })
		r.order = slices.Delete(r.order, victim, victim+1)
	}
	copy(r.data[slot*r.dim:], v)
	r.order = slices.Insert(r.order, r.search(key), entry{key, rest, int32(slot)})
}

// Offer adds v with probability 1/every: at random, because a fixed stride would see only some phases of a rhythm.
func (r *Reservoir) Offer(v []float64, every int) {
	if every <= 1 || r.draw()%uint64(every) == 0 {
		r.Add(v)
	}
}

// draw is xorshift64* (Vigna, ACM TOMS 42, 2016).
func (r *Reservoir) draw() uint64 {
	r.random ^= r.random >> 12
	r.random ^= r.random << 25
	r.random ^= r.random >> 27
	return (r.random * 0x2545f4914f6cdd1d) >> 11
}

// Reset forgets all vectors.
func (r *Reservoir) Reset() { r.order = r.order[:0] }

// EncodeState implements state.Part.
func (r *Reservoir) EncodeState(w *state.Writer) {
	w.Uint(r.random)
	w.Int(int64(len(r.order)))
	for _, x := range r.data[:len(r.order)*r.dim] {
		w.Float(x)
	}
}

// DecodeState implements state.Part.
func (r *Reservoir) DecodeState(rd *state.Reader) {
	random := rd.Uint()
	n := rd.Count("vectors", r.size)
	if rd.Err() == nil && random == 0 {
		rd.Fail("random state is 0")
	}
	order := make([]entry, 0, r.size)
	data := make([]float64, len(r.data))
	for slot := range n {
		v := data[slot*r.dim:][:r.dim]
		for i := range v {
			v[i] = rd.Finite("vector")
		}
		key, rest := r.project(v)
		if math.IsInf(key, 0) || math.IsNaN(key) {
			rd.Fail("vector %d is too large", slot)
		}
		order = append(order, entry{key, rest, int32(slot)})
	}
	slices.SortFunc(order, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	if rd.Err() == nil {
		r.random, r.order, r.data = random, order, data
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments

import (
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// NormalMAD is the ratio of the standard deviation to the median absolute deviation of normal readings.
const NormalMAD = 1.482602218505602

// normalMeanAD is the ratio of the standard deviation to the mean absolute deviation of normal readings, sqrt(π/2).
const normalMeanAD = 1.2533141373155003

// Rolling keeps the last readings in order of arrival and in order of size. Push costs a binary search and a move of at
// most the window; Median is constant, MAD two binary searches. Make it with [NewRolling].
type Rolling struct {
	ring   []float64 // in order of arrival, from next on once it is full
	sorted []float64
	next   int
}

// NewRolling returns an empty window of size readings, at least 1. It takes 16 bytes a reading.
func NewRolling(size int) Rolling {
	size = max(size, 1)
	return Rolling{ring: make([]float64, 0, size), sorted: make([]float64, 0, size)}
}

// Len is the number of readings in the window.
func (w *Rolling) Len() int { return len(w.sorted) }

// Push takes a reading, and drops the oldest one if the window is full. A NaN is ignored.
func (w *Rolling) Push(x float64) {
	if math.IsNaN(x) {
		return
	}
	to, _ := slices.BinarySearch(w.sorted, x)
	if len(w.ring) < cap(w.ring) {
		w.ring = append(w.ring, x)
		w.sorted = slices.Insert(w.sorted, to, x)
		return
	}
	from, _ := slices.BinarySearch(w.sorted, w.ring[w.next])
	if to > from {
		to--
		copy(w.sorted[from:to], w.sorted[from+1:to+1])
	} else {
		copy(w.sorted[to+1:from+1], w.sorted[to:from])
	}
	w.sorted[to] = x
	w.ring[w.next] = x
	w.next++
	if w.next == len(w.ring) {
		w.next = 0
	}
}

// Median is the middle reading, or the mean of the two in the middle; NaN in an empty window.
func (w *Rolling) Median() float64 {
	n := len(w.sorted)
	if n == 0 {
		return math.NaN()
	}
	return w.sorted[(n-1)/2]/2 + w.sorted[n/2]/2
}

// MAD is the median absolute deviation from the median; NaN in an empty window. For normal readings it is the standard
// deviation over [NormalMAD].
func (w *Rolling) MAD() float64 {
	n := len(w.sorted)
	if n == 0 {
		return math.NaN()
	}
	m := w.Median()
	if n%2 == 1 {
		return w.deviation(m, n/2+1)
	}
	return w.deviation(m, n/2)/2 + w.deviation(m, n/2+1)/2
}

// deviation is the k-th smallest distance from m. The k readings nearest to m stand side by side in the sorted window:
// it finds the first of them.
func (w *Rolling) deviation(m float64, k int) float64 {
	s := w.sorted
	lo, hi := 0, len(s)-k
	for lo < hi {
		if mid := (lo + hi) / 2; m-s[mid] > s[mid+k]-m {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(m-s[lo], s[lo+k-1]-m)
}

// Scale is an estimate of the standard deviation: NormalMAD × MAD, or, where more than half of the readings are equal,
// the mean absolute deviation from the median times sqrt(π/2).
//
// Source: B. Iglewicz, D. Hoaglin, How to Detect and Handle Outliers, ASQC, 1993, section 3.3, for the MAD; the
// recourse to the mean deviation is that of the "modified z score" of IBM SPSS Modeler.
func (w *Rolling) Scale() float64 {
	if mad := w.MAD(); mad != 0 {
		return NormalMAD * mad
	}
	m, sum, n := w.Median(), 0.0, float64(len(w.sorted))
	for _, x := range w.sorted {
		sum += math.Abs(x-m) / n
	}
	return normalMeanAD * sum
}

// EncodeState writes the window.
func (w *Rolling) EncodeState(sw *state.Writer) {
	sw.Uint(uint64(len(w.ring)))
	for i := range w.ring {
		sw.Float(w.ring[(w.next+i)%len(w.ring)])
	}
}

// DecodeState reads what EncodeState wrote into new memory. A window longer than this one is refused.
func (w *Rolling) DecodeState(r *state.Reader) {
	v := r.Floats("window", cap(w.ring))
	for _, x := range v {
		if !(math.Abs(x) <= MaxMagnitude) {
			r.Fail("window holds %v, want a number of at most %v in size", x, MaxMagnitude)
			return
		}
	}
	next := NewRolling(cap(w.ring))
	next.ring = append(next.ring, v...)
	next.sorted = append(next.sorted, v...)
	slices.Sort(next.sorted)
	*w = next
}

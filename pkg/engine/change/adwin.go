// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	adwinBuckets = 5  // of one size
	adwinRows    = 12 // sizes 1, 2, 4 …; the window holds at most 5 (2^12 − 1) readings
	adwinShort   = 5  // fewest readings on either side of a cut
	adwinBound   = 3  // standard deviations a reading may depart from the window's mean; the range of the bound
	adwinTheory  = 2.0
)

// ADWIN keeps a window of the newest readings as long as their mean has not changed: whenever the older and the newer
// part of the window differ by more than chance lets expect, the older part is dropped. The window is an exponential
// histogram of at most 60 buckets, so that a reading costs the logarithm of the window's length.
//
// Readings are winsorised at three standard deviations of the window: the paper wants them bounded, and a spike is no
// change. Readings that depend on each other differ more than independent ones; as with [SelfStarting], the usual
// evidence is learned and what is found is judged in units of it.
//
// Source: A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007, section 3.2
// (ADWIN2) with the bound of section 3.3.
type ADWIN struct {
	least float64
	rows  [adwinRows]adwinRow // row i: buckets of 2^i readings
	all   bucket
	usual moments.EWMA // evidence
	n     uint64
}

type adwinRow struct {
	used    int
	buckets [adwinBuckets + 1]bucket // oldest first; the last is room for one to be merged
}

// bucket sums up readings: mean and sum of squared departures from it.
type bucket struct{ n, mean, m2 float64 }

// with is the union of two buckets (Chan, Golub and LeVeque, The American Statistician 37, 1983).
func (b bucket) with(o bucket) bucket {
	n := b.n + o.n
	d := o.mean - b.mean
	return bucket{n, b.mean + d*o.n/n, b.m2 + o.m2 + d*d*b.n*o.n/n}
}

// without is what is left when o, a part of b, is taken out.
func (b bucket) without(o bucket) bucket {
	n := b.n - o.n
	if n <= 0 {
		return bucket{}
	}
	mean := b.mean + (b.mean-o.mean)*o.n/n
	d := o.mean - mean
	return bucket{n, mean, max(b.m2-o.m2-d*d*o.n*n/b.n, 0)}
}

// NewADWIN returns an empty window. least is the probability of a difference by chance, δ of the paper, at which the
// older part is dropped; memory is the number of readings by which the usual evidence is learned.
func NewADWIN(least, memory float64) ADWIN {
	return ADWIN{least: least, usual: moments.NewEWMA(2 / (memory + 1))}
}

// Change is what an [ADWIN] makes of a reading.
type Change struct {
	P             float64 // bound on the probability of the largest difference in the window by chance
	Before, After float64 // means on either side of it
}

// Update takes a reading. The scale is at least floor.
func (a *ADWIN) Update(x, floor float64) Change {
	a.n++
	variance := floor * floor
	if a.all.n > adwinShort {
		variance = max(variance, a.all.m2/a.all.n)
		if bound := adwinBound * math.Sqrt(variance); a.all.n > 4*adwinShort {
			x = min(max(x, a.all.mean-bound), a.all.mean+bound)
		}
	}
	a.push(bucket{n: 1, mean: x})
	evidence, c, older := a.cut(variance)
	inflation := max(1, a.usual.Mean()/adwinTheory)
	a.usual.Update(min(evidence, excessLimit*adwinTheory*inflation))
	c.P = min(a.probability(evidence/inflation), 1)
	if c.P <= a.least {
		for range older {
			a.drop()
		}
	}
	return c
}

// probability is δ for evidence ln(2/δ′), with δ′ = δ/ln n for the number of cuts.
func (a *ADWIN) probability(evidence float64) float64 {
	return 2 * math.Exp(-evidence) * max(math.Log(a.all.n), 1)
}

// push appends a bucket of one reading and merges the two oldest buckets of each size that has too many.
func (a *ADWIN) push(b bucket) {
	a.all = a.all.with(b)
	for i := range a.rows {
		r := &a.rows[i]
		r.buckets[r.used] = b
		r.used++
		if r.used <= adwinBuckets {
			return
		}
		b = r.buckets[0].with(r.buckets[1])
		copy(r.buckets[:], r.buckets[2:])
		r.used -= 2
	}
	a.all = a.all.without(b) // the window is as long as it may be
}

// drop removes the oldest bucket.
func (a *ADWIN) drop() {
	for i := adwinRows - 1; i >= 0; i-- {
		if r := &a.rows[i]; r.used > 0 {
			a.all = a.all.without(r.buckets[0])
			copy(r.buckets[:], r.buckets[1:r.used])
			r.used--
			return
		}
	}
}

// cut finds the cut with the most evidence of a change, ln(2/δ′), and the number of buckets before it.
func (a *ADWIN) cut(variance float64) (evidence float64, c Change, older int) {
	most := adwinBound * math.Sqrt(variance) // departure, M of Bernstein's inequality
	var left bucket                          // without m2, which the cuts do not need
	total := a.all.n
	sum := 0.0
	buckets := 0
	best := 0.0
	var bestM float64
	for i := adwinRows - 1; i >= 0; i-- {
		r := &a.rows[i]
		for k := range r.used {
			b := &r.buckets[k]
			buckets++
			left.n += b.n
			sum += b.n * (b.mean - a.all.mean)
			rest := total - left.n
			if left.n < adwinShort || rest < adwinShort {
				continue
			}
			// The means' difference: sum is that of the left part's departures, the right part's is its negative.
			d := sum/left.n + sum/rest
			m := left.n * rest / total // harmonic
			if s := d * d * m; s > best {
				best, bestM, older = s, m, buckets
				c.Before, c.After = a.all.mean+sum/left.n, a.all.mean-sum/rest
			}
		}
	}
	if !(best > 0) || !(variance > 0) {
		return 0, Change{Before: a.all.mean, After: a.all.mean}, 0
	}
	// |d| = sqrt(2 y σ²/m) + 2 M y/(3m), solved for y = ln(2/δ′).
	d := math.Sqrt(best / bestM)
	p, q := math.Sqrt(2*variance/bestM), 2*most/(3*bestM)
	root := 2 * d / (p + math.Sqrt(p*p+4*q*d))
	return root * root, c, older
}

// Count is the number of readings so far.
func (a *ADWIN) Count() uint64 { return a.n }

// Width is the number of readings in the window.
func (a *ADWIN) Width() float64 { return a.all.n }

// Mean is the mean of the window.
func (a *ADWIN) Mean() float64 { return a.all.mean }

// EncodeState implements state.Part.
func (a *ADWIN) EncodeState(w *state.Writer) {
	w.Uint(a.n)
	a.usual.EncodeState(w)
	a.all.encode(w)
	for i := range a.rows {
		r := &a.rows[i]
		w.Int(int64(r.used))
		for k := range r.used {
			r.buckets[k].encode(w)
		}
	}
}

// DecodeState implements state.Part.
func (a *ADWIN) DecodeState(r *state.Reader) {
	a.n = r.Readings()
	a.usual.DecodeState(r)
	a.all.decode(r)
	readings := 0.0
	for i := range a.rows {
		row := &a.rows[i]
		row.used = r.Count("buckets", adwinBuckets)
		for k := range row.used {
			b := &row.buckets[k]
			b.decode(r)
			if r.Err() == nil && b.n != float64(int(1)<<i) {
				r.Fail("a bucket of %v readings among those of %d", b.n, 1<<i)
			}
			readings += b.n
		}
	}
	if r.Err() == nil && readings != a.all.n {
		r.Fail("the buckets hold %v readings, want %v", readings, a.all.n)
	}
}

func (b *bucket) encode(w *state.Writer) {
	w.Float(b.n)
	w.Float(b.mean)
	w.Float(b.m2)
}

func (b *bucket) decode(r *state.Reader) {
	b.n = r.Min("readings of a bucket", 0)
	b.mean = r.Finite("mean of a bucket")
	b.m2 = r.Min("spread of a bucket", 0)
	if math.Abs(b.mean) > moments.MaxMagnitude {
		r.Fail("mean of a bucket is %v", b.mean)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package quantile learns the distribution of a stream in bounded memory: quantiles of the body with a [Digest],
// probabilities far out in the upper tail with a [Tail].
//
// The digest is a merging t-digest and not P² (Jain and Chlamtac, CACM 1985) because P² follows one quantile, cannot
// forget, and loses its markers at a change of level; and not Greenwald–Khanna because its guarantee is on ranks,
// uniformly, where tails need relative accuracy.
package quantile

import (
	"cmp"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	clusters = 48 // compression of the digest: rank error below 2 % in the body, below 0.4 % beyond the 99th percentile
	pending  = 48 // values that wait for the next merge
)

type cluster struct{ mean, weight float64 }

// Digest is a t-digest (Dunning and Ertl, "Computing extremely accurate quantiles using t-digests", 2019, merging
// variant, scale function k1) that can forget: the weight of a value halves every ln 2 · memory values. It takes about
// 1.6 KiB.
type Digest struct {
	c      []cluster // merged clusters in order, then values not merged yet
	merged int
	weight float64 // of the merged clusters
	count  uint64  // values ever added
	keep   float64 // weight left after one more value
}

// NewDigest returns an empty digest with a memory of about that many values; 0 or less never forgets.
func NewDigest(memory float64) Digest {
	keep := 1.0
	if memory > 1 {
		keep = 1 - 1/memory
	}
	return Digest{c: make([]cluster, 0, clusters+2+pending), keep: keep}
}

// Reset forgets everything.
func (d *Digest) Reset() { d.c, d.merged, d.weight, d.count = d.c[:0], 0, 0, 0 }

// Count is the number of values added.
func (d *Digest) Count() uint64 { return d.count }

// Add takes in x; NaN and infinities are ignored.
func (d *Digest) Add(x float64) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return
	}
	d.c = append(d.c, cluster{x, 1})
	d.count++
	// A young digest merges often, so that what it answers lags behind by an eighth at most.
	if waiting := uint64(len(d.c) - d.merged); waiting >= pending || waiting > d.count/8 {
		d.merge()
	}
}

func (d *Digest) merge() {
	fresh := len(d.c) - d.merged
	if fresh == 0 {
		return
	}
	if d.keep < 1 {
		k := math.Pow(d.keep, float64(fresh))
		d.weight *= k
		for i := range d.c[:d.merged] {
			d.c[i].weight *= k
		}
	}
	d.weight += float64(fresh)
	slices.SortFunc(d.c, func(a, b cluster) int { return cmp.Compare(a.mean, b.mean) })
	out, done := 0, 0.0 // done: weight left of the cluster being built
	limit := nextLimit(0)
	for _, c := range d.c[1:] {
		last := &d.c[out]
		if w := last.weight + c.weight; (done+w)/d.weight <= limit {
			last.mean += (c.mean - last.mean) * (c.weight / w)
			last.weight = w
			continue
		}
		done += last.weight
		limit = nextLimit(done / d.weight)
		out++
		d.c[out] = c
	}
	d.c = d.c[:out+1]
	d.merged = len(d.c)
}

// nextLimit is the rank at which a cluster that begins at rank q must end: k1(end) = k1(q) + 1.
func nextLimit(q float64) float64 {
	const step = 2 * math.Pi / clusters
	angle := math.Asin(min(max(2*q-1, -1), 1)) + step
	if angle >= math.Pi/2 {
		return 1
	}
	return (math.Sin(angle) + 1) / 2
}

// Quantile is the value below which a share q in 0..1 of the stream lies; NaN while the digest is empty.
func (d *Digest) Quantile(q float64) float64 {
	c := d.c[:d.merged]
	if len(c) == 0 || math.IsNaN(q) {
		return math.NaN()
	}
	want := min(max(q, 0), 1) * d.weight
	at := c[0].weight / 2 // rank of the middle of cluster i
	if want <= at {
		return c[0].mean
	}
	for i := 1; i < len(c); i++ {
		next := at + (c[i-1].weight+c[i].weight)/2
		if want <= next {
			f := (want - at) / (next - at)
			return c[i-1].mean*(1-f) + c[i].mean*f
		}
		at = next
	}
	return c[len(c)-1].mean
}

// CDF is the share of the stream at or below x, 0..1; NaN while the digest is empty or where x is NaN.
func (d *Digest) CDF(x float64) float64 {
	c := d.c[:d.merged]
	switch {
	case len(c) == 0 || math.IsNaN(x):
		return math.NaN()
	case x < c[0].mean:
		return 0
	case x >= c[len(c)-1].mean:
		return 1
	}
	at := c[0].weight / 2
	for i := 1; ; i++ { // ends: x is below the last mean
		next := at + (c[i-1].weight+c[i].weight)/2
		if x < c[i].mean {
			f := (x - c[i-1].mean) / (c[i].mean - c[i-1].mean)
			return min((at+f*(next-at))/d.weight, 1)
		}
		at = next
	}
}

// EncodeState implements state.Part.
func (d *Digest) EncodeState(w *state.Writer) {
	w.Uint(d.count)
	w.Float(d.weight)
	w.Int(int64(d.merged))
	w.Int(int64(len(d.c)))
	for _, c := range d.c {
		w.Float(c.mean)
		w.Float(c.weight)
	}
}

// DecodeState implements state.Part. Memory that d shares with a copy of itself is left alone.
func (d *Digest) DecodeState(r *state.Reader) {
	count := r.Readings()
	weight := r.Min("digest weight", 0)
	merged := r.Count("merged clusters", cap(d.c))
	n := r.Count("clusters", cap(d.c))
	if r.Err() == nil && merged > n {
		r.Fail("%d of %d clusters merged", merged, n)
	}
	c := make([]cluster, 0, cap(d.c))
	for i := range n {
		c = append(c, cluster{r.Finite("cluster mean"), r.Min("cluster weight", 0)})
		if i > 0 && i < merged && c[i].mean < c[i-1].mean {
			r.Fail("clusters out of order")
		}
	}
	if r.Err() != nil {
		return
	}
	d.c, d.merged, d.weight, d.count = c, merged, weight, count
}

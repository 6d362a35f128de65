// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forest

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Bounds on an isolation forest.
const (
	isolationTrees  = 1000
	isolationSample = 4096
	isolationDim    = 256
	leastSample     = 8
)

// ErrFewPoints is wrapped when there are too few points to grow an isolation forest from.
var ErrFewPoints = errors.New("too few points")

// Isolation is an isolation forest: trees that split random dimensions at random places of a random sample of points,
// until each stands alone. Unusual points stand alone after few splits (F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation
// Forest, ICDM 2008). It is fitted once; for streams that move on there is [RandomCut].
type Isolation struct {
	trees, sample int
	seed          uint64
	points        [][]float64 // that it was grown from
	centre        []float64   // median of each dimension
	least, most   []float64   // range of each
	nodes         []isolationNode
	roots         []int32
	norm          float64   // mean depth in a tree of that many points
	point         []float64 // scratch
}

// isolationNode is a split, or a leaf where depth is positive.
type isolationNode struct {
	cut         float64
	depth       float64 // of a leaf, with what its points would take to be told apart
	dim         int32
	left, right int32
}

// IsolationOptions is how an isolation forest is grown.
type IsolationOptions struct {
	Trees  int    // 1 to 1,000; 0 means 100
	Sample int    // points each tree is grown from, 8 to 4,096; 0 means 256
	Seed   uint64 // equal seeds make equal forests
}

// keptPoints bounds the points that a forest is grown from: with them and the seed it is saved and grown anew.
const keptPoints = 8192

// NewIsolation grows a forest from points of equal length. Those with a value that is not finite are left out; at least
// 8 must remain. Of more than 8,192 points evenly spaced ones are used.
func NewIsolation(points [][]float64, o IsolationOptions) (*Isolation, error) {
	if o.Trees == 0 {
		o.Trees = 100
	}
	if o.Sample == 0 {
		o.Sample = 256
	}
	if o.Trees < 1 || o.Trees > isolationTrees || o.Sample < leastSample || o.Sample > isolationSample {
		return nil, fmt.Errorf("forest: %d trees of %d points, want 1 to %d of %d to %d",
			o.Trees, o.Sample, isolationTrees, leastSample, isolationSample)
	}
	f := &Isolation{trees: o.Trees, sample: o.Sample, seed: o.Seed}
	for i, p := range points {
		if len(p) == 0 || len(p) > isolationDim || len(p) != len(points[0]) {
			return nil, fmt.Errorf("forest: point %d has %d dimensions, want as many as the first, 1 to %d", i, len(p), isolationDim)
		}
		if !slices.ContainsFunc(p, notFinite) {
			f.points = append(f.points, slices.Clone(p))
		}
	}
	if n := len(f.points); n > keptPoints {
		for i := range keptPoints {
			f.points[i] = f.points[i*n/keptPoints]
		}
		f.points = f.points[:keptPoints]
	}
	if len(f.points) < leastSample {
		return nil, fmt.Errorf("forest: %w: %d complete ones, want %d", ErrFewPoints, len(f.points), leastSample)
	}
	f.grow()
	return f, nil
}

func notFinite(x float64) bool { return math.IsNaN(x) || math.IsInf(x, 0) }

// grow makes everything from points and seed.
func (f *Isolation) grow() {
	dim := len(f.points[0])
	f.point, f.centre = make([]float64, dim), make([]float64, dim)
	f.least, f.most = make([]float64, dim), make([]float64, dim)
	column := make([]float64, len(f.points))
	for d := range dim {
		for i, p := range f.points {
			column[i] = p[d]
		}
		slices.Sort(column)
		f.centre[d] = column[len(column)/2]
		f.least[d], f.most[d] = column[0], column[len(column)-1]
	}
	sample := min(f.sample, len(f.points))
	f.norm = meanDepth(sample)
	limit := int(math.Ceil(math.Log2(float64(sample))))
	order := make([]int32, len(f.points))
	for i := range order {
		order[i] = int32(i)
	}
	r := rand.New(rand.NewPCG(f.seed, 0))
	f.nodes, f.roots = nil, nil
	for range f.trees {
		for i := range sample { // the first part of a shuffle
			k := i + r.IntN(len(order)-i)
			order[i], order[k] = order[k], order[i]
		}
		f.roots = append(f.roots, f.split(order[:sample], 0, limit, r))
	}
}

// split grows the subtree of the given points and returns its node.
func (f *Isolation) split(points []int32, depth, limit int, r *rand.Rand) int32 {
	at := int32(len(f.nodes))
	f.nodes = append(f.nodes, isolationNode{})
	dim := len(f.centre)
	lo, hi, d := 0.0, 0.0, -1
	if depth < limit && len(points) > 1 {
		first := r.IntN(dim) // the first dimension from there on in which the points differ
		for k := range dim {
			j := (first + k) % dim
			lo, hi = math.Inf(1), math.Inf(-1)
			for _, i := range points {
				lo, hi = min(lo, f.points[i][j]), max(hi, f.points[i][j])
			}
			if lo < hi {
				d = j
				break
			}
		}
	}
	if d < 0 {
		f.nodes[at].depth = float64(depth) + meanDepth(len(points))
		return at
	}
	cut := lo + r.Float64()*(hi/2-lo/2)*2
	if !(cut > lo && cut <= hi) {
		cut = hi
	}
	n := 0
	for i, p := range points {
		if f.points[p][d] < cut {
			points[n], points[i] = points[i], points[n]
			n++
		}
	}
	left := f.split(points[:n], depth+1, limit, r)
	right := f.split(points[n:], depth+1, limit, r)
	f.nodes[at] = isolationNode{cut: cut, dim: int32(d), left: left, right: right}
	return at
}

// meanDepth is the mean depth of an unsuccessful search in a binary tree of n points, equation 1 of the paper; it is
// positive for a single point too, so that leaves can be told from splits.
func meanDepth(n int) float64 {
	if n <= 1 {
		return math.SmallestNonzeroFloat64
	}
	const euler = 0.57721566490153286
	return 2*(math.Log(float64(n-1))+euler) - 2*float64(n-1)/float64(n)
}

// Members is the length of a point.
func (f *Isolation) Members() int { return len(f.centre) }

// Score is the anomaly score of equation 2, in (0, 1): near 1 for points that stand alone at once, about a half for
// those in the crowd. A value that is missing, NaN, counts as the median of its dimension. NaN where the point has
// another length or more than half of it is missing.
func (f *Isolation) Score(point []float64) float64 {
	if len(point) != len(f.centre) {
		return math.NaN()
	}
	missing := 0
	for j, x := range point {
		if notFinite(x) {
			x = f.centre[j]
			missing++
		}
		f.point[j] = x
	}
	if 2*missing > len(point) {
		return math.NaN()
	}
	return f.score()
}

// score judges the point in hand.
//
// The paper has nothing stranger than the extremes of the sample: a point beyond them comes to rest where they do. Here
// a first cut is drawn in the dimension in which the point is furthest beyond the range of all points. It sets the point
// apart with the probability that a tree that had it among its sample would: its distance from the others over the
// whole range.
func (f *Isolation) score() float64 {
	sum := 0.0
	for _, at := range f.roots {
		n := &f.nodes[at]
		for n.depth == 0 {
			next := n.right
			if f.point[n.dim] < n.cut {
				next = n.left
			}
			n = &f.nodes[next]
		}
		sum += n.depth
	}
	depth, apart := sum/float64(f.trees), f.beyond()
	return math.Exp2(-(apart + (1-apart)*depth) / f.norm)
}

// beyond is the probability that the first cut sets the point in hand apart.
func (f *Isolation) beyond() float64 {
	most := 0.0
	for j, x := range f.point {
		if e := max(f.least[j]-x, x-f.most[j]); e > 0 {
			most = max(most, 1/(1+(f.most[j]-f.least[j])/e))
		}
	}
	return most
}

// ScoreTo is Score, and writes to dst, unless that is nil, how much each dimension contributes: by how much the score
// falls when the value is replaced by the median of its dimension, as shares of sum 1; zeros where none falls.
func (f *Isolation) ScoreTo(dst, point []float64) float64 {
	s := f.Score(point)
	if dst == nil {
		return s
	}
	clear(dst)
	if math.IsNaN(s) {
		return s
	}
	total := 0.0
	for j := range dst {
		x := f.point[j]
		f.point[j] = f.centre[j]
		dst[j] = max(0, s-f.score())
		f.point[j] = x
		total += dst[j]
	}
	if total > 0 {
		for j := range dst {
			dst[j] /= total
		}
	}
	return s
}

// EncodeState implements state.Part.
func (f *Isolation) EncodeState(w *state.Writer) {
	w.Int(int64(f.trees))
	w.Int(int64(f.sample))
	w.Uint(f.seed)
	w.Int(int64(len(f.centre)))
	w.Int(int64(len(f.points)))
	for _, p := range f.points {
		w.Floats(p)
	}
}

// DecodeState implements state.Part; it also takes a zero forest. The trees grow anew.
func (f *Isolation) DecodeState(r *state.Reader) {
	next := Isolation{trees: r.Count("trees", isolationTrees), sample: r.Count("sample", isolationSample), seed: r.Uint()}
	dim := r.Count("dimensions", isolationDim)
	for range r.Count("points", keptPoints) {
		p := make([]float64, dim)
		if r.FloatsTo("point", p); r.Err() != nil {
			return
		}
		if slices.ContainsFunc(p, notFinite) {
			r.Fail("a point is not finite")
			return
		}
		next.points = append(next.points, p)
	}
	if r.Err() == nil && (next.trees < 1 || next.sample < leastSample || dim < 1 || len(next.points) < leastSample) {
		r.Fail("%d trees of %d of %d points with %d dimensions", next.trees, next.sample, len(next.points), dim)
	}
	if r.Err() != nil {
		return
	}
	next.grow()
	*f = next
}

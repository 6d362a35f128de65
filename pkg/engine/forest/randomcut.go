// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forest

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Bounds on a random cut forest.
const (
	MaxDim       = 256
	maxCutSample = 256
	maxOffset    = math.MaxFloat32 / MaxDim / 4 // of a point from the first: sums of extents stay finite
	farthest     = 1 << 30                      // extents of a box; counts for a box without extent as well
)

// RandomCut is a robust random cut forest (Guha, Mishra, Roy and Schrijvers, "Robust random cut forest based anomaly
// detection on streams", ICML 2016). Every node of a tree cuts the bounding box of its points at random, dimensions
// being chosen in proportion to their extent. A point is unusual if, were it inserted, random cuts would part it early
// from many others.
//
// The paper moves every point in and out of every tree. Here each tree holds a sample of the stream, which new points
// enter at random, and the trees are grown anew from their samples in turn, a tree every few points: the same
// distribution of trees, some points behind, for a small part of the time.
type RandomCut struct {
	trees, sample, dim int
	every              int // points between two trees that are grown anew
	random             uint64
	seen               uint64
	turn               int // tree to be grown next
	wait               int // points until then

	points []float32 // trees × sample × dim: the samples
	filled []int     // points in the sample of each tree
	nodes  []node    // trees × (sample − 1): inner nodes, a node before its halves
	boxes  []float32 // trees × (sample − 1) × dim × 2: lowest and highest of each node
	grown  []int     // points that each tree was grown of; 0 or 1: no inner node
	order  []uint16  // trees × sample: points by leaf
	shift  float64   // taken off all points, so that float32 is enough
}

// node is an inner node of a tree: it holds the points order[first : first+mass].
type node struct {
	cut         float32
	dim         uint16
	first, mass uint16
	low, high   int16 // halves: an inner node, or −1 − place in order of a leaf
}

// NewRandomCut returns a forest of trees (at least 1) with a sample (2 to 256) of points of dim (1 to [MaxDim])
// numbers each. New points enter a sample with probability max(sample/seen, sample/memory), so that it remembers about
// the last memory points. Equal seeds make equal forests. Numbers are kept as float32, less the first one: what differs
// by more than 1e35 is taken for equal. It takes about trees × sample × (12·dim + 18) bytes.
func NewRandomCut(trees, sample, dim int, memory float64, seed uint64) RandomCut {
	trees, sample, dim = max(trees, 1), min(max(sample, 2), maxCutSample), min(max(dim, 1), MaxDim)
	return RandomCut{
		trees: trees, sample: sample, dim: dim, every: max(int(memory)/(8*trees), 4),
		random: seed,
		points: make([]float32, trees*sample*dim), filled: make([]int, trees),
		nodes: make([]node, trees*(sample-1)), boxes: make([]float32, trees*(sample-1)*dim*2),
		grown: make([]int, trees), order: make([]uint16, trees*sample),
	}
}

// Ready reports whether every tree has been grown of at least 16 points, or of its whole sample.
func (f *RandomCut) Ready() bool {
	for _, n := range f.grown {
		if n < min(16, f.sample) {
			return false
		}
	}
	return true
}

// Score is how unusual point is: by how many bits, on average over the points of all samples, it would enlarge the box
// in which it is last together with the point. The probability that a random cut parts the two there, on which the
// score of the paper rests, is 1 − 2^−bits; unlike that it still tells far from farther. NaN before [RandomCut.Ready]
// and for a point that is not finite.
func (f *RandomCut) Score(point []float64) float64 {
	if !f.Ready() || !f.fits(point) {
		return math.NaN()
	}
	sum := 0.0
	for t := range f.trees {
		sum += f.score(t, point)
	}
	return sum / float64(f.trees)
}

func (f *RandomCut) score(t int, point []float64) float64 {
	nodes, boxes := f.nodes[t*(f.sample-1):], f.boxes[t*(f.sample-1)*f.dim*2:]
	sum := 0.0
	at := int16(0)
	for at >= 0 {
		n := &nodes[at]
		box := boxes[int(at)*f.dim*2:][:f.dim*2]
		inside, outside := 0.0, 0.0
		for i, x := range point {
			lo, hi := float64(box[2*i]), float64(box[2*i+1])
			x = f.offset(x)
			inside += hi - lo
			outside += max(x-hi, lo-x, 0)
		}
		if float32(f.offset(point[n.dim])) <= n.cut {
			at = n.low
		} else {
			at = n.high
		}
		left := 1.0
		if at >= 0 {
			left = float64(nodes[at].mass)
		}
		if outside > 0 {
			sum += (float64(n.mass) - left) * math.Log2(1+min(outside/inside, farthest))
		}
	}
	return sum / float64(f.grown[t])
}

// Learn offers point to the samples and, when it is time, grows a tree anew.
func (f *RandomCut) Learn(point []float64) {
	if !f.fits(point) {
		return
	}
	if f.seen == 0 {
		f.shift = point[0]
	}
	f.seen++
	memory := uint64(f.every) * 8 * uint64(f.trees)
	for t := range f.trees {
		slot := f.filled[t]
		if slot < f.sample {
			// A young sample takes every point; the trees differ by their cuts alone.
			f.filled[t]++
		} else if n := f.draw() % min(f.seen, memory); n < uint64(f.sample) {
			slot = int(n)
		} else {
			continue
		}
		p := f.points[(t*f.sample+slot)*f.dim:]
		for i, x := range point {
			p[i] = float32(f.offset(x))
		}
	}
	if f.wait--; f.wait <= 0 {
		f.grow(f.turn)
		f.turn = (f.turn + 1) % f.trees
		f.wait = int(min(uint64(f.every), f.seen/uint64(8*f.trees)))
	}
}

// grow builds tree t from its sample.
func (f *RandomCut) grow(t int) {
	n := f.filled[t]
	f.grown[t] = n
	order := f.order[t*f.sample:][:n]
	for i := range order {
		order[i] = uint16(i)
	}
	nodes := f.nodes[t*(f.sample-1):][:f.sample-1]
	nodes[0] = node{mass: uint16(n), low: -1, high: -1}
	used := 1
	for at := 0; at < used; at++ { // halves are appended, so a node comes before them
		used = f.split(t, nodes, at, used)
	}
}

// split cuts a node and appends those of its halves that hold more than one point.
func (f *RandomCut) split(t int, nodes []node, at, used int) int {
	n := &nodes[at]
	part := f.order[t*f.sample+int(n.first):][:n.mass]
	points := f.points[t*f.sample*f.dim:]
	box := f.boxes[(t*(f.sample-1)+at)*f.dim*2:][:f.dim*2]
	total := 0.0
	for i := range f.dim {
		lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
		for _, k := range part {
			x := points[int(k)*f.dim+i]
			lo, hi = min(lo, x), max(hi, x)
		}
		box[2*i], box[2*i+1] = lo, hi
		total += float64(hi) - float64(lo)
	}
	leaf := func(place uint16) int16 { return -1 - int16(place) }
	n.low, n.high = leaf(n.first), leaf(n.first)
	u := float64(f.draw()>>1) / (1 << 52) * total
	if !(total > 0) {
		n.cut, n.dim = box[1], 0 // all points are alike: a leaf of many
		return used
	}
	for i := range f.dim {
		lo, hi := box[2*i], box[2*i+1]
		if extent := float64(hi) - float64(lo); u >= extent && i < f.dim-1 {
			u -= extent
			continue
		}
		n.dim, n.cut = uint16(i), float32(min(float64(lo)+u, float64(hi)))
		if n.cut >= hi { // rounding; keeps both halves non-empty
			n.cut = lo
		}
		if hi > lo {
			break
		}
	}
	k := 0
	for j, p := range part {
		if points[int(p)*f.dim+int(n.dim)] <= n.cut {
			part[j], part[k] = part[k], p
			k++
		}
	}
	low, high := uint16(k), n.mass-uint16(k)
	n.low, n.high = leaf(n.first), leaf(n.first+low)
	if low > 1 {
		n.low = int16(used)
		nodes[used] = node{first: n.first, mass: low}
		used++
	}
	if high > 1 {
		n.high = int16(used)
		nodes[used] = node{first: n.first + low, mass: high}
		used++
	}
	return used
}

func (f *RandomCut) fits(point []float64) bool {
	if len(point) != f.dim {
		return false
	}
	for _, x := range point {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}

// offset is x less the first number, bounded.
func (f *RandomCut) offset(x float64) float64 { return min(max(x-f.shift, -maxOffset), maxOffset) }

// draw is a random number of 53 bits.
func (f *RandomCut) draw() uint64 { return splitmix(&f.random) >> 11 }

// splitmix is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func splitmix(r *uint64) uint64 {
	*r += 0x9e3779b97f4a7c15
	z := *r
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// EncodeState implements state.Part.
func (f *RandomCut) EncodeState(w *state.Writer) {
	w.Uint(f.random)
	w.Uint(f.seen)
	w.Int(int64(f.turn))
	w.Int(int64(f.wait))
	w.Float(f.shift)
	for t := range f.trees {
		w.Int(int64(f.filled[t]))
		w.Int(int64(f.grown[t]))
	}
	putFloats(w, f.points)
	putFloats(w, f.boxes)
	for i := range f.nodes {
		n := &f.nodes[i]
		w.Uint(uint64(math.Float32bits(n.cut)) | uint64(n.dim)<<32 | uint64(n.mass)<<48)
		w.Uint(uint64(uint16(n.low)) | uint64(uint16(n.high))<<16)
	}
}

// DecodeState implements state.Part. Memory that f shares with a copy of itself is left alone.
func (f *RandomCut) DecodeState(r *state.Reader) {
	f.random, f.seen = r.Uint(), r.Readings()
	f.turn = r.Count("turn", f.trees-1)
	f.wait = r.Count("points to wait", f.every)
	f.shift = r.Finite("shift")
	f.filled, f.grown, f.order = make([]int, f.trees), make([]int, f.trees), make([]uint16, len(f.order))
	for t := range f.trees {
		f.filled[t] = r.Count("sample", f.sample)
		f.grown[t] = r.Count("points of a tree", f.sample)
	}
	f.points, f.boxes = getFloats(r, "points", len(f.points)), getFloats(r, "boxes", len(f.boxes))
	f.nodes = make([]node, len(f.nodes))
	for i := range f.nodes {
		a, b := r.Uint(), r.Uint()
		n := node{
			cut: math.Float32frombits(uint32(a)), dim: uint16(a >> 32), mass: uint16(a >> 48),
			low: int16(uint16(b)), high: int16(uint16(b >> 16)),
		}
		at := int16(i % (f.sample - 1))
		for _, half := range [...]int16{n.low, n.high} {
			if half >= 0 && n.mass > 0 && (half <= at || int(half) >= f.sample-1) {
				r.Fail("half %d of node %d", half, at)
			}
		}
		if int(n.dim) >= f.dim || int(n.mass) > f.sample {
			r.Fail("node cuts dimension %d of %d points", n.dim, n.mass)
		}
		if n.mass == 0 { // not in use: no walk must pass
			n.low, n.high = -1, -1
		}
		f.nodes[i] = n
	}
}

// putFloats packs two to a word.
func putFloats(w *state.Writer, v []float32) {
	for i := 0; i < len(v); i += 2 {
		word := uint64(math.Float32bits(v[i]))
		if i+1 < len(v) {
			word |= uint64(math.Float32bits(v[i+1])) << 32
		}
		w.Uint(word)
	}
}

func getFloats(r *state.Reader, name string, n int) []float32 {
	v := make([]float32, n+n%2)
	for i := 0; i < n; i += 2 {
		word := r.Uint()
		v[i], v[i+1] = math.Float32frombits(uint32(word)), math.Float32frombits(uint32(word>>32))
	}
	for _, x := range v {
		if !(x >= -maxOffset && x <= maxOffset) {
			r.Fail("%s hold %v", name, x)
			break
		}
	}
	return v[:n]
}

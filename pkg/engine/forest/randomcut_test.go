// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// crowd draws a point about (40, 40), wider in the first dimension.
func crowd(rng *rand.Rand) []float64 {
	return []float64{40 + 3*rng.NormFloat64(), 40 + rng.NormFloat64()}
}

func grown(seed uint64, n int) (RandomCut, *rand.Rand) {
	f := NewRandomCut(8, 64, 2, 4096, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		f.Learn(crowd(rng))
	}
	return f, rng
}

// TestTreesAreSound: every node's halves part its points by the cut, boxes hold their points tightly, and no point is
// lost.
func TestTreesAreSound(t *testing.T) {
	f, _ := grown(1, 3000)
	for tree := range f.trees {
		f.grow(tree)
		nodes := f.nodes[tree*(f.sample-1):][:f.sample-1]
		if nodes[0].mass != 64 {
			t.Fatalf("root of tree %d holds %d points, want 64", tree, nodes[0].mass)
		}
		seen := make(map[uint16]bool)
		for _, k := range f.order[tree*f.sample:][:f.sample] {
			seen[k] = true
		}
		if len(seen) != 64 {
			t.Fatalf("%d points are in order, want 64", len(seen))
		}
		for at, n := range nodes {
			if n.mass < 2 {
				continue
			}
			box := f.boxes[(tree*(f.sample-1)+at)*4:][:4]
			lowest := []float32{math.MaxFloat32, math.MaxFloat32}
			low := uint16(0)
			for _, k := range f.order[tree*f.sample+int(n.first):][:n.mass] {
				p := f.points[(tree*f.sample+int(k))*2:][:2]
				for i := range p {
					lowest[i] = min(lowest[i], p[i])
					if p[i] < box[2*i] || p[i] > box[2*i+1] {
						t.Fatalf("point %v is outside of box %v", p, box)
					}
				}
				if p[n.dim] <= n.cut {
					low++
				}
			}
			if lowest[0] != box[0] || lowest[1] != box[2] {
				t.Fatalf("box %v is not tight: points begin at %v", box, lowest)
			}
			if low == 0 || low == n.mass {
				t.Fatalf("cut %v of %v parts no points", n.cut, box)
			}
			if n.low >= 0 && nodes[n.low].mass != low || n.low < 0 && low != 1 {
				t.Fatalf("lower half holds another number of points than %d", low)
			}
		}
	}
}

// TestScoreOfOneBox: with two points in a tree there is one box, and the score is by how many bits it grows.
func TestScoreOfOneBox(t *testing.T) {
	f := NewRandomCut(1, 2, 1, 64, 1)
	f.Learn([]float64{0})
	f.Learn([]float64{1})
	f.grow(0)
	for x, want := range map[float64]float64{0.3: 0, 1: 0, 2: 0.5, 4: 1, -7: 1.5} { // one of the two points is left there
		if got := f.Score([]float64{x}); math.Abs(got-want) > 1e-6 {
			t.Errorf("score of %v is %v, want %v", x, got, want)
		}
	}
}

// TestOutliersScoreHigher measures how well scores part the crowd from points far off: the area under the ROC curve.
func TestOutliersScoreHigher(t *testing.T) {
	for seed := range uint64(5) {
		f, rng := grown(seed, 5000)
		var usual, far []float64
		for i := range 400 {
			usual = append(usual, f.Score(crowd(rng)))
			angle := float64(i)
			far = append(far, f.Score([]float64{40 + 3*6*math.Cos(angle), 40 + 6*math.Sin(angle)}))
		}
		slices.Sort(usual)
		area := 0.0
		for _, s := range far {
			i, _ := slices.BinarySearch(usual, s)
			area += float64(i) / float64(len(usual)*len(far))
		}
		if area < 0.985 {
			t.Errorf("seed %d: area under the curve is %v", seed, area)
		}
		if a, b := f.Score([]float64{100, 40}), f.Score([]float64{1000, 40}); a >= b {
			t.Errorf("seed %d: far scores %v, farther %v", seed, a, b)
		}
	}
}

// TestScoresDoNotDependOnScale: powers of two only, so that nothing is rounded.
func TestScoresDoNotDependOnScale(t *testing.T) {
	a, b := NewRandomCut(4, 32, 1, 512, 3), NewRandomCut(4, 32, 1, 512, 3)
	rng := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		x := rng.NormFloat64()
		s, u := a.Score([]float64{x}), b.Score([]float64{1024 * x})
		if math.Abs(s-u) > 1e-6 || math.IsNaN(s) != math.IsNaN(u) {
			t.Fatalf("score of %v is %v, in other units %v", x, s, u)
		}
		a.Learn([]float64{x})
		b.Learn([]float64{1024 * x})
	}
}

// TestSamplesForget: after a change for good, the new points are normal.
func TestSamplesForget(t *testing.T) {
	f, rng := grown(4, 3000)
	moved := func() []float64 { p := crowd(rng); p[0] += 100; return p }
	before := f.Score(moved())
	for range 12_000 {
		f.Learn(moved())
	}
	if after := f.Score(moved()); after > before/3 {
		t.Errorf("score of the new level fell from %v to %v only", before, after)
	}
}

func TestRandomCutTakesAnything(t *testing.T) {
	f := NewRandomCut(3, 16, 2, 64, 1)
	if s := f.Score([]float64{0, 0}); !math.IsNaN(s) {
		t.Errorf("score before the first point is %v", s)
	}
	values := []float64{0, 1, -1, 1e308, -1e308, 1e150, 5e-324, 7, math.NaN(), math.Inf(1), math.Inf(-1)}
	rng := rand.New(rand.NewPCG(5, 5))
	for range 5000 {
		p := []float64{values[rng.IntN(len(values))], values[rng.IntN(len(values))]}
		if s := f.Score(p); s < 0 || math.IsInf(s, 0) {
			t.Fatalf("score of %v is %v", p, s)
		}
		f.Learn(p)
	}
	for _, p := range [][]float64{nil, {1}, {1, 2, 3}} {
		f.Learn(p)
		if s := f.Score(p); !math.IsNaN(s) {
			t.Errorf("%v scores %v", p, s)
		}
	}
	same := NewRandomCut(3, 16, 1, 64, 1)
	for range 500 {
		same.Learn([]float64{5})
	}
	if s := same.Score([]float64{5}); s != 0 {
		t.Errorf("what never differs scores %v", s)
	}
	if s := same.Score([]float64{6}); !(s > 1) {
		t.Errorf("what differs for the first time scores %v", s)
	}
}

func TestRandomCutSurvivesRestart(t *testing.T) {
	for _, n := range []int{0, 5, 100, 3000} {
		a, rng := grown(6, n)
		b := NewRandomCut(8, 64, 2, 4096, 6)
		var w state.Writer
		a.EncodeState(&w)
		r := state.NewReader(w.Bytes)
		b.DecodeState(r)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			p := crowd(rng)
			if x, y := a.Score(p), b.Score(p); x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
				t.Fatalf("after %d points: score is %v, after a restart %v", n, x, y)
			}
			a.Learn(p)
			b.Learn(p)
		}
	}
}

func FuzzRandomCutState(f *testing.F) {
	a := NewRandomCut(2, 4, 1, 64, 1)
	for i := range 30 {
		a.Learn([]float64{float64(i % 7)})
	}
	var w state.Writer
	a.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewRandomCut(2, 4, 1, 64, 1)
		r := state.NewReader(data)
		b.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i := range 100 {
			p := []float64{float64(i % 13)}
			_ = b.Score(p)
			b.Learn(p)
		}
	})
}

func TestRandomCutDoesNotAllocate(t *testing.T) {
	f, rng := grown(7, 1000)
	points := make([][]float64, 64)
	for i := range points {
		points[i] = crowd(rng)
	}
	i := 0
	if n := testing.AllocsPerRun(2000, func() { _ = f.Score(points[i%64]); f.Learn(points[i%64]); i++ }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleRandomCut() {
	f := NewRandomCut(8, 64, 1, 4096, 1)
	for i := range 1000 {
		f.Learn([]float64{math.Sin(float64(i))})
	}
	fmt.Println(f.Score([]float64{0.5}) < 0.1, f.Score([]float64{5}) > 1)
	// Output: true true
}

func BenchmarkRandomCut(b *testing.B) {
	f, rng := grown(8, 5000)
	points := make([][]float64, 1024)
	for i := range points {
		points[i] = crowd(rng)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		_ = f.Score(points[i&1023])
		f.Learn(points[i&1023])
		i++
	}
}

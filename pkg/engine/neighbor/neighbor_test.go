// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package neighbor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/floats"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// TestDistanceIsExact compares with a search through all vectors, by gonum.
func TestDistanceIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, dim := range []int{1, 3, 8, 21} {
		unit := make([]float64, dim)
		unit[0] = 1
		for _, u := range [][]float64{nil, unit} {
			r := NewReservoir(100, dim, u, 1)
			var all [][]float64
			for range 100 {
				v := vector(rng, dim)
				r.Add(v)
				all = append(all, v)
			}
			for k := 1; k <= MaxNeighbors; k++ {
				for range 100 {
					q := vector(rng, dim)
					var d []float64
					for _, v := range all {
						d = append(d, floats.Distance(q, v, 2))
					}
					slices.Sort(d)
					want := floats.Sum(d[:k]) / float64(k)
					if got := r.Distance(q, k); math.Abs(got-want) > 1e-9*want {
						t.Fatalf("dim %d, k %d: distance is %v, want %v", dim, k, got, want)
					}
				}
			}
		}
	}
}

func vector(rng *rand.Rand, dim int) []float64 {
	v := make([]float64, dim)
	for i := range v {
		v[i] = 10 + rng.NormFloat64()*math.Exp(rng.NormFloat64())
	}
	return v
}

// TestReservoirForgetsEvenly: after n replacements a vector is left with probability (1 − 1/size)^n.
func TestReservoirForgetsEvenly(t *testing.T) {
	const size, trials = 64, 300
	left := 0
	for seed := range uint64(trials) {
		r := NewReservoir(size, 1, nil, seed)
		for i := range 2 * size {
			r.Add([]float64{float64(i)})
		}
		for _, e := range r.order {
			if r.data[e.slot] < size {
				left++
			}
		}
		if !slices.IsSortedFunc(r.order, func(a, b entry) int { return int(a.key - b.key) }) || r.Len() != size {
			t.Fatal("order is broken")
		}
	}
	want := math.Pow(1-1.0/size, size)
	if got := float64(left) / (size * trials); math.Abs(got-want) > 0.02 {
		t.Errorf("a share of %v is left, want %v", got, want)
	}
}

func TestWhatIsNotFinite(t *testing.T) {
	r := NewReservoir(8, 2, nil, 1)
	for _, v := range [][]float64{{math.NaN(), 1}, {math.Inf(1), 1}, {1}, nil} {
		r.Add(v)
	}
	if r.Len() != 0 {
		t.Errorf("%d vectors are remembered", r.Len())
	}
	if d := r.Distance([]float64{1, 2}, 1); !math.IsNaN(d) {
		t.Errorf("distance to nothing is %v", d)
	}
	r.Add([]float64{1, 1e150})
	if d := r.Distance([]float64{math.NaN(), 2}, 1); !math.IsNaN(d) {
		t.Errorf("distance of NaN is %v", d)
	}
	if d := r.Distance([]float64{1, -1e150}, 1); d != 2e150 {
		t.Errorf("distance is %v, want 2e150", d)
	}
}

func TestRestart(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	a, w := NewReservoir(50, 4, nil, 7), NewWindow(2, 2)
	for range 80 {
		a.Add(vector(rng, 4))
		w.Push(vector(rng, 2))
	}
	var out state.Writer
	a.EncodeState(&out)
	w.EncodeState(&out)
	b, v := NewReservoir(50, 4, nil, 7), NewWindow(2, 2)
	in := state.NewReader(out.Bytes)
	b.DecodeState(in)
	v.DecodeState(in)
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(v.Values(), w.Values()) || !v.Full() {
		t.Errorf("window is %v, want %v", v.Values(), w.Values())
	}
	for range 200 {
		q := vector(rng, 4)
		if x, y := a.Distance(q, 3), b.Distance(q, 3); x != y {
			t.Fatalf("distance is %v, after a restart %v", x, y)
		}
		a.Add(q)
		b.Add(q)
	}
}

func FuzzReservoirState(f *testing.F) {
	a := NewReservoir(10, 2, nil, 7)
	a.Add([]float64{1, 2})
	a.Add([]float64{-1, 2})
	var out state.Writer
	a.EncodeState(&out)
	f.Add(out.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReservoir(10, 2, nil, 7)
		in := state.NewReader(data)
		r.DecodeState(in)
		if in.Close() != nil {
			return
		}
		for i := range 30 {
			v := []float64{float64(i), 1}
			if d := r.Distance(v, 2); d < 0 {
				t.Fatalf("distance %v", d)
			}
			r.Add(v)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	r, w := NewReservoir(256, 8, nil, 1), NewWindow(8, 1)
	i := 0.0
	if n := testing.AllocsPerRun(5000, func() {
		i++
		w.Push([]float64{math.Sin(i)})
		_ = r.Distance(w.Values(), 3)
		r.Add(w.Values())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleReservoir() {
	r := NewReservoir(100, 2, nil, 1)
	for i := range 10 {
		r.Add([]float64{float64(i), 0})
	}
	fmt.Println(r.Distance([]float64{3, 4}, 1))
	// Output: 4
}

func BenchmarkDistance(b *testing.B) {
	for name, noise := range map[string]float64{"noise": 1, "smooth": 0.01} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(3, 3))
			r, w := NewReservoir(256, 8, nil, 1), NewWindow(8, 1)
			next := func(i int) {
				w.Push([]float64{5*math.Sin(float64(i)/40) + noise*rng.NormFloat64()})
			}
			for i := range 4000 {
				next(i)
				if i%8 == 0 {
					r.Add(w.Values())
				}
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				next(i)
				_ = r.Distance(w.Values(), 3)
				i++
			}
		})
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package quantile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// TestDigestAgainstExact compares ranks with those of the sorted stream.
func TestDigestAgainstExact(t *testing.T) {
	const n = 50_000
	src := rand.NewPCG(1, 1)
	for name, draw := range map[string]func() float64{
		"normal":  distuv.Normal{Mu: 3, Sigma: 2, Src: src}.Rand,
		"lognorm": distuv.LogNormal{Sigma: 2, Src: src}.Rand,
		"uniform": distuv.Uniform{Min: -1, Max: 1, Src: src}.Rand,
		"sorted":  func() func() float64 { i := 0.0; return func() float64 { i++; return i } }(),
	} {
		d := NewDigest(0)
		all := make([]float64, n)
		for i := range all {
			all[i] = draw()
			d.Add(all[i])
		}
		slices.Sort(all)
		for q, tolerance := range map[float64]float64{
			0.001: 0.002, 0.01: 0.004, 0.1: 0.01, 0.5: 0.02, 0.9: 0.01, 0.99: 0.004, 0.999: 0.002,
		} {
			rank := stat.CDF(d.Quantile(q), stat.Empirical, all, nil)
			if math.Abs(rank-q) > tolerance {
				t.Errorf("%s: quantile %v has rank %v", name, q, rank)
			}
			if back := d.CDF(d.Quantile(q)); math.Abs(back-q) > 1e-6 && q >= 0.01 && q <= 0.99 {
				t.Errorf("%s: CDF of quantile %v is %v", name, q, back)
			}
		}
	}
}

func TestDigestForgets(t *testing.T) {
	d := NewDigest(1000)
	rng := rand.New(rand.NewPCG(2, 2))
	for i := range 20_000 {
		d.Add(rng.NormFloat64() + 100*float64(i/10_000))
	}
	if m := d.Quantile(0.5); math.Abs(m-100) > 0.5 {
		t.Errorf("median is %v long after a change, want 100", m)
	}
}

func TestDigestOfFewValuesIsExact(t *testing.T) {
	d := NewDigest(0)
	if !math.IsNaN(d.Quantile(0.5)) || !math.IsNaN(d.CDF(0)) {
		t.Error("an empty digest has quantiles")
	}
	for _, x := range []float64{3, 1, 2, math.NaN(), math.Inf(1)} {
		d.Add(x)
	}
	if got := d.Quantile(0.5); got != 2 || d.Count() != 3 {
		t.Errorf("median of 1, 2, 3 is %v of %d values", got, d.Count())
	}
	if d.CDF(0.5) != 0 || d.CDF(3) != 1 {
		t.Errorf("CDF beyond the ends is %v and %v, want 0 and 1", d.CDF(0.5), d.CDF(3))
	}
}

func ExampleDigest() {
	d := NewDigest(0)
	for i := range 10_001 {
		d.Add(float64(i))
	}
	fmt.Printf("%.2f %.2f\n", d.CDF(d.Quantile(0.5)), d.CDF(9000))
	// Output: 0.50 0.90
}

// TestFitsRecoverTheTail draws generalised Pareto excesses by inversion and fits them.
func TestFitsRecoverTheTail(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, want := range []GPD{{0, 1}, {0.2, 3}, {-0.2, 0.5}, {0.4, 1e-6}} {
		x := make([]float64, 5000)
		for i := range x {
			x[i] = want.Quantile(1 - rng.Float64())
		}
		slices.Sort(x)
		got, ok := FitPWM(x)
		if !ok || math.Abs(got.Shape-want.Shape) > 0.07 || math.Abs(got.Scale/want.Scale-1) > 0.08 {
			t.Errorf("fits %+v (%t) to %+v", got, ok, want)
		}
	}
}

func TestGPDQuantileInvertsSurvival(t *testing.T) {
	for _, g := range []GPD{{0, 2}, {0.5, 1}, {-0.3, 4}} {
		for _, p := range []float64{1, 0.5, 0.01, 1e-6} {
			if got := g.Survival(g.Quantile(p)); math.Abs(got/p-1) > 1e-9 {
				t.Errorf("%+v: survival at the quantile of %v is %v", g, p, got)
			}
		}
	}
}

func TestFitsRefuseWhatDoesNotVary(t *testing.T) {
	for _, x := range [][]float64{nil, {1}, {2, 2, 2}, {0, 0}} {
		if _, ok := FitPWM(x); ok {
			t.Errorf("%v is fitted", x)
		}
	}
}

// TestTailIsCalibrated counts how often independent values of several distributions are rarer than p, values that the
// tail has not learned yet.
func TestTailIsCalibrated(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const n = 300_000
	src := rand.NewPCG(4, 4)
	for name, draw := range map[string]func() float64{
		"normal":      distuv.Normal{Sigma: 1, Src: src}.Rand,
		"exponential": distuv.Exponential{Rate: 1, Src: src}.Rand,
		"t5":          distuv.StudentsT{Sigma: 1, Nu: 5, Src: src}.Rand,
		"uniform":     distuv.Uniform{Max: 1, Src: src}.Rand,
	} {
		tail := NewTail(0.02, 10_000)
		rare := map[float64]float64{0.1: 0, 0.01: 0, 1e-3: 0, 1e-4: 0}
		for i := range n {
			x := draw()
			if p := tail.Probability(x); i > 200 {
				for q := range rare {
					if p <= q {
						rare[q]++
					}
				}
			}
			tail.Add(x)
		}
		for q, count := range rare {
			share := count / n
			t.Logf("%s: share %.2g at p %.2g", name, share, q)
			if share > 1.8*q+2e-5 || q >= 0.01 && share < 0.5*q {
				t.Errorf("%s: a share of %v is rarer than %v", name, share, q)
			}
		}
	}
}

func TestTailLevelInvertsProbability(t *testing.T) {
	tail := NewTail(0.02, 0)
	rng := rand.New(rand.NewPCG(5, 5))
	for range 5000 {
		tail.Add(rng.NormFloat64())
	}
	for _, p := range []float64{0.3, 0.05, 1e-4, 1e-6} {
		if got := tail.Probability(tail.Level(p)); math.Abs(got/p-1) > 0.05 {
			t.Errorf("probability at the level of %v is %v", p, got)
		}
	}
	if z := tail.Level(1e-4); z < 3.2 || z > 4.6 { // 3.72 of the standard normal law
		t.Errorf("level of 1e-4 is %v", z)
	}
}

func TestTailOfAConstantHasOnlyRanks(t *testing.T) {
	tail := NewTail(0.02, 0)
	for range 998 {
		tail.Add(5)
	}
	if p := tail.Probability(6); p != 1e-3 {
		t.Errorf("probability of the first change after 998 values is %v, want 0.001", p)
	}
	if p := tail.Probability(5); p < 0.01 {
		t.Errorf("probability of the usual value is %v", p)
	}
}

// TestTailTakesAnything: probabilities stay in (0, 1] whatever comes.
func TestTailTakesAnything(t *testing.T) {
	values := []float64{0, 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), 1e308, -1e308, 5e-324, 20, 1e150, 1e-300}
	rng := rand.New(rand.NewPCG(6, 6))
	tail := NewTail(0.02, 100)
	for range 20_000 {
		x := values[rng.IntN(len(values))]
		if p := tail.Probability(x); !(p > 0 && p <= 1) {
			t.Fatalf("probability of %v is %v", x, p)
		}
		tail.Add(x)
	}
}

func TestTailSurvivesRestart(t *testing.T) {
	a := NewTail(0.02, 1000)
	rng := rand.New(rand.NewPCG(7, 7))
	for range 3333 {
		a.Add(rng.ExpFloat64())
	}
	var w state.Writer
	a.EncodeState(&w)
	b := NewTail(0.02, 1000)
	if err := state.Restore(&b, w.Bytes); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		x := rng.ExpFloat64()
		if p, q := a.Probability(x), b.Probability(x); p != q {
			t.Fatalf("probability of %v is %v, after a restart %v", x, p, q)
		}
		a.Add(x)
		b.Add(x)
	}
}

func FuzzTailState(f *testing.F) {
	a := NewTail(0.02, 1000)
	for i := range 500 {
		a.Add(float64(i * i % 97))
	}
	var w state.Writer
	a.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewTail(0.02, 1000)
		r := state.NewReader(data)
		b.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i := range 200 {
			b.Add(float64(i))
			if p := b.Probability(float64(i)); math.IsNaN(p) || p < 0 || p > 1 {
				t.Fatalf("probability %v", p)
			}
		}
	})
}

func TestTailDoesNotAllocate(t *testing.T) {
	tail := NewTail(0.02, 1000)
	rng := rand.New(rand.NewPCG(8, 8))
	if n := testing.AllocsPerRun(20_000, func() {
		x := rng.NormFloat64()
		_ = tail.Probability(x)
		tail.Add(x)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTail(b *testing.B) {
	tail := NewTail(0.02, 10_000)
	rng := rand.New(rand.NewPCG(9, 9))
	b.ReportAllocs()
	for b.Loop() {
		x := rng.NormFloat64()
		_ = tail.Probability(x)
		tail.Add(x)
	}
}

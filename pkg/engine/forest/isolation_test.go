// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forest_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/forest"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// cloud are points about the origin in which the second dimension follows the first.
func cloud(n int, seed uint64) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 3))
	points := make([][]float64, n)
	for i := range points {
		x := rng.NormFloat64()
		points[i] = []float64{x, x + 0.3*rng.NormFloat64(), rng.NormFloat64()}
	}
	return points
}

func isolate(tb testing.TB, points [][]float64, o forest.IsolationOptions) *forest.Isolation {
	tb.Helper()
	f, err := forest.NewIsolation(points, o)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// The paper, section 2: scores are close to 1 for anomalies, much below 0.5 for normal points, and about 0.5 for all
// where there is no distinct anomaly.
func TestIsolationScores(t *testing.T) {
	f := isolate(t, cloud(2000, 1), forest.IsolationOptions{Seed: 1})
	if s := f.Score([]float64{0, 0, 0}); !(s < 0.45) {
		t.Errorf("the middle scores %v, want less than 0.45", s)
	}
	if s := f.Score([]float64{9, -9, 9}); !(s > 0.7) {
		t.Errorf("a corner scores %v, want more than 0.7", s)
	}
	mean := 0.0
	for _, p := range cloud(500, 2) {
		mean += f.Score(p) / 500
	}
	if math.Abs(mean-0.47) > 0.05 {
		t.Errorf("new points score %v on average, want about a half", mean)
	}
}

// A tree of n points that are all told apart has the mean depth c(n) of equation 1: c(2) = 1 up to the approximation of
// the harmonic number, and points that are equal cannot be told apart at all.
func TestIsolationOfEqualPoints(t *testing.T) {
	points := make([][]float64, 50)
	for i := range points {
		points[i] = []float64{1, 2}
	}
	f := isolate(t, points, forest.IsolationOptions{})
	if s := f.Score([]float64{1, 2}); math.Abs(s-0.5) > 1e-12 {
		t.Errorf("one of 50 equal points scores %v, want 0.5: as deep as the mean", s)
	}
}

func TestIsolationContributions(t *testing.T) {
	f := isolate(t, cloud(1000, 3), forest.IsolationOptions{Seed: 3})
	for j := range 3 {
		point := []float64{0, 0, 0}
		point[j] = 8
		shares := make([]float64, 3)
		if got, want := f.ScoreTo(shares, point), f.Score(point); got != want {
			t.Errorf("ScoreTo gives %v, Score %v", got, want)
		}
		if shares[j] < 0.9 {
			t.Errorf("dimension %d is 8 off and has share %v of %v", j, shares[j], shares)
		}
	}
}

func TestIsolationMissingValues(t *testing.T) {
	f, nan := isolate(t, cloud(300, 4), forest.IsolationOptions{}), math.NaN()
	if s := f.Score([]float64{nan, 0, 0}); !(s < 0.5) {
		t.Errorf("a usual point with a gap scores %v", s)
	}
	for _, point := range [][]float64{nil, {1, 2}, {nan, nan, 1}, {nan, math.Inf(1), nan}} {
		if s := f.Score(point); !math.IsNaN(s) {
			t.Errorf("%v scores %v, want NaN", point, s)
		}
	}
}

func TestIsolationRefuses(t *testing.T) {
	good := cloud(100, 5)
	for name, c := range map[string]struct {
		points [][]float64
		o      forest.IsolationOptions
		few    bool
	}{
		"no points":         {nil, forest.IsolationOptions{}, true},
		"few points":        {good[:7], forest.IsolationOptions{}, true},
		"ragged points":     {append(good[:20:20], []float64{1}), forest.IsolationOptions{}, false},
		"too many trees":    {good, forest.IsolationOptions{Trees: 1001}, false},
		"too small samples": {good, forest.IsolationOptions{Sample: 4}, false},
	} {
		if _, err := forest.NewIsolation(c.points, c.o); err == nil || errors.Is(err, forest.ErrFewPoints) != c.few {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func TestIsolationState(t *testing.T) {
	for _, n := range []int{50, 10_000} {
		f := isolate(t, cloud(n, 6), forest.IsolationOptions{Trees: 20, Seed: 6})
		var w state.Writer
		f.EncodeState(&w)
		var g forest.Isolation
		if err := state.Restore(&g, w.Bytes); err != nil {
			t.Fatal(err)
		}
		for _, p := range cloud(100, 7) {
			if f.Score(p) != g.Score(p) {
				t.Fatalf("%v scores %v, restored %v", p, f.Score(p), g.Score(p))
			}
		}
	}
}

func FuzzIsolationState(f *testing.F) {
	var w state.Writer
	isolate(f, cloud(20, 8), forest.IsolationOptions{Trees: 3, Sample: 8}).EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		var g forest.Isolation
		r := state.NewReader(data)
		g.DecodeState(r)
		if r.Close() == nil {
			if s := g.Score(make([]float64, g.Members())); !(s > 0 && s <= 1) {
				t.Errorf("score %v", s)
			}
		}
	})
}

func TestIsolationScoreDoesNotAllocate(t *testing.T) {
	f, point := isolate(t, cloud(300, 9), forest.IsolationOptions{}), []float64{1, 2, 3}
	if n := testing.AllocsPerRun(100, func() { f.Score(point) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkIsolation(b *testing.B) {
	f, point := isolate(b, cloud(1000, 10), forest.IsolationOptions{}), []float64{0.1, 0.2, 0.3}
	b.ReportAllocs()
	for b.Loop() {
		f.Score(point)
	}
}

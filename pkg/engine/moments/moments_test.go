// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package moments_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func readings(n int, seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float64, n)
	for i := range x {
		x[i] = 1e3 + 5*rng.NormFloat64()
	}
	return x
}

func near(a, b, relative float64) bool {
	return math.Abs(a-b) <= relative*max(math.Abs(a), math.Abs(b))
}

// weights are those of an EWMA after n readings, computed from the definition.
func weights(n int, alpha float64) []float64 {
	w := make([]float64, n)
	for i := range n {
		g := max(alpha, 1/float64(i+1))
		for k := range i {
			w[k] *= 1 - g
		}
		w[i] = g
	}
	return w
}

func TestEWMAIsTheWeightedMeanAndVariance(t *testing.T) {
	x := readings(300, 1)
	for _, alpha := range []float64{0, 0.01, 0.1, 0.5} {
		e := moments.NewEWMA(alpha)
		for i := range x {
			e.Update(x[i])
			if i == 0 {
				continue
			}
			w, sum2 := weights(i+1, alpha), 0.0
			for _, v := range w {
				sum2 += v * v
			}
			mean := stat.Mean(x[:i+1], w)
			variance := stat.MomentAbout(2, x[:i+1], mean, w) / (1 - sum2)
			if !near(e.Mean(), mean, 1e-12) || !near(e.Variance(), variance, 1e-9) {
				t.Fatalf("alpha %v, %d readings: %v ± %v², want %v ± %v²", alpha, i+1, e.Mean(), e.Variance(), mean, variance)
			}
		}
	}
}

func TestEWMAStartsAsThePlainMeanAndVariance(t *testing.T) {
	x := readings(100, 2)
	e := moments.NewEWMA(0.01)
	for i := range x {
		e.Update(x[i])
		if i == 0 {
			continue
		}
		mean, variance := stat.MeanVariance(x[:i+1], nil)
		if !near(e.Mean(), mean, 1e-12) || !near(e.Variance(), variance, 1e-9) {
			t.Fatalf("of %d readings it is %v and %v, want %v and %v", i+1, e.Mean(), e.Variance(), mean, variance)
		}
	}
	if e.Count() != 100 {
		t.Errorf("counts %d, want 100", e.Count())
	}
}

func TestNothingIsKnownAtFirst(t *testing.T) {
	e := moments.NewEWMA(0.1)
	for n := range 2 {
		if e.Variance() != 0 {
			t.Errorf("the variance of %d readings is %v, want 0", n, e.Variance())
		}
		p := e.Predict(0.5)
		if p.Z2(1e9) != 0 || p.Scale() != 0.5 || !math.IsInf(p.HalfWidth(9), 1) {
			t.Errorf("after %d readings 1e9 deviates by %v with scale %v, want no deviate and the floor", n, p.Z2(1e9), p.Scale())
		}
		e.Update(3)
	}
}

// TestPredictionTurnsStudentIntoNormal compares tail probabilities with Student's law.
func TestPredictionTurnsStudentIntoNormal(t *testing.T) {
	for _, nu := range []float64{10, 20, 50, 200, 1000} {
		student := distuv.StudentsT{Sigma: 1, Nu: nu}
		p := moments.NewPrediction(0, 1, nu)
		for _, tail := range []float64{0.1, 0.01, 1e-3, 1e-4} {
			got := distuv.UnitNormal.Survival(p.Z(student.Quantile(1 - tail)))
			if got < 0.97*tail || got > tail*(1+60/nu) {
				t.Errorf("ν = %v: a tail of %v is given as %v, want as much or little more", nu, tail, got)
			}
		}
	}
}

func TestPredictionIsMonotoneAndConsistent(t *testing.T) {
	for _, nu := range []float64{1, 3, 20, 500} {
		p, last := moments.NewPrediction(5, 2, nu), -1.0
		for x := 5.0; x < 1e6; x = 5 + (x-4.9)*1.3 {
			z2 := p.Z2(x)
			if z2 < last || z2 > 2*nu {
				t.Fatalf("ν = %v: squared deviate of %v is %v after %v, want it to grow up to 2ν", nu, x, z2, last)
			}
			if w := p.HalfWidth(z2); z2 > 0 && z2 < nu && !near(w, x-5, 1e-6) {
				t.Errorf("ν = %v: half width at the deviate of %v is %v, want %v", nu, x, w, x-5)
			}
			if p.Z(x) != -p.Z(10-x) {
				t.Errorf("ν = %v: deviates of %v and %v differ in size", nu, x, 10-x)
			}
			last = z2
		}
		for _, x := range []float64{5, 6, 1e5, -1e5} {
			w := p.Winsorize(x, 4)
			if p.Z2(w) > 4+1e-9 || p.Z2(x) <= 4 && w != x {
				t.Errorf("ν = %v: %v winsorised is %v with squared deviate %v, want at most 4", nu, x, w, p.Z2(w))
			}
		}
	}
}

func TestResolution(t *testing.T) {
	var q moments.Resolution
	for i, c := range []struct{ x, step, smallest float64 }{
		{20, 0, 0}, {20, 0, 0}, {23, 3, 3}, {22.5, -0.5, 0.5}, {22.5, 0, 0.5}, {30, 7.5, 0.5},
	} {
		if step := q.Update(c.x); step != c.step || q.Step() != c.smallest {
			t.Errorf("reading %d: step %v, smallest %v, want %v and %v", i, step, q.Step(), c.step, c.smallest)
		}
	}
	if q.Floor() != 0.5 {
		t.Errorf("floor is %v, want the smallest step", q.Floor())
	}
	q = moments.Resolution{}
	for range 2 {
		q.Update(1e6)
	}
	if q.Floor() != 1e-6 {
		t.Errorf("floor of a constant 1e6 is %v, want what rounding makes, 1e-6", q.Floor())
	}
	q.Update(0)
	q = moments.Resolution{}
	if !(q.Floor()*q.Floor() > 0) {
		t.Errorf("floor %v has no square", q.Floor())
	}
}

// bruteMedian and its kin are the definitions.
func bruteMedian(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	return s[(n-1)/2]/2 + s[n/2]/2
}

func deviations(x []float64) []float64 {
	m := bruteMedian(x)
	d := make([]float64, len(x))
	for i := range x {
		d[i] = math.Abs(x[i] - m)
	}
	return d
}

func TestRollingIsTheMedianAndMADOfTheWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for _, size := range []int{1, 2, 3, 10, 51} {
		w := moments.NewRolling(size)
		var x []float64
		for i := range 400 {
			v := math.Round(4 * rng.NormFloat64()) // many ties
			if i > 200 {
				v += rng.Float64()
			}
			w.Push(v)
			x = append(x, v)
			win := x[max(0, len(x)-size):]
			median, mad := bruteMedian(win), bruteMedian(deviations(win))
			if w.Len() != len(win) || w.Median() != median || !near(w.MAD(), mad, 1e-12) {
				t.Fatalf("size %d, reading %d: %d readings, median %v, MAD %v, want %d, %v, %v",
					size, i, w.Len(), w.Median(), w.MAD(), len(win), median, mad)
			}
			scale := moments.NormalMAD * mad
			if mad == 0 {
				scale = math.Sqrt(math.Pi/2) * stat.Mean(deviations(win), nil)
			}
			if !near(w.Scale(), scale, 1e-9) {
				t.Fatalf("size %d, reading %d: scale %v, want %v", size, i, w.Scale(), scale)
			}
		}
	}
}

func TestRollingIgnoresNaNAndStartsEmpty(t *testing.T) {
	w := moments.NewRolling(5)
	w.Push(math.NaN())
	if w.Len() != 0 || !math.IsNaN(w.Median()) || !math.IsNaN(w.MAD()) {
		t.Errorf("an empty window has %d readings, median %v, MAD %v", w.Len(), w.Median(), w.MAD())
	}
}

func TestNothingAllocates(t *testing.T) {
	e, w, q := moments.NewEWMA(0.1), moments.NewRolling(50), moments.Resolution{}
	rng, sum := rand.New(rand.NewPCG(1, 1)), 0.0
	if n := testing.AllocsPerRun(500, func() {
		x := rng.NormFloat64()
		q.Update(x)
		e.Update(e.Predict(q.Floor()).Winsorize(x, 9))
		w.Push(x)
		sum += w.Scale()
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestStateRoundTrip(t *testing.T) {
	e, w, q := moments.NewEWMA(0.1), moments.NewRolling(7), moments.Resolution{}
	for _, x := range readings(20, 4) {
		e.Update(x)
		w.Push(x)
		q.Update(x)
	}
	e2, w2, q2 := moments.NewEWMA(0.1), moments.NewRolling(7), moments.Resolution{}
	var sw state.Writer
	for _, p := range []state.Part{&e, &w, &q} {
		p.EncodeState(&sw)
	}
	r := state.NewReader(sw.Bytes)
	for _, p := range []state.Part{&e2, &w2, &q2} {
		p.DecodeState(r)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range readings(20, 5) {
		e.Update(x)
		e2.Update(x)
		w.Push(x)
		w2.Push(x)
		if e != e2 || w.Median() != w2.Median() || w.MAD() != w2.MAD() {
			t.Fatal("what was restored learns otherwise than the original")
		}
	}
	if q != q2 {
		t.Errorf("restored %+v, want %+v", q2, q)
	}
	small := moments.NewRolling(3)
	r = state.NewReader(sw.Bytes[32:])
	small.DecodeState(r)
	if r.Err() == nil {
		t.Error("a window of 3 takes the state of one of 7")
	}
}

// FuzzDecodeState restores arbitrary state: it is refused, or the estimators go on working.
func FuzzDecodeState(f *testing.F) {
	e := moments.NewEWMA(0.1)
	e.Update(1)
	var w state.Writer
	e.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add(make([]byte, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, part := range []state.Part{new(moments.EWMA), new(moments.Resolution), ptr(moments.NewRolling(9))} {
			r := state.NewReader(data)
			part.DecodeState(r)
			if r.Err() != nil {
				continue
			}
			for _, x := range []float64{0, moments.MaxMagnitude, -moments.MaxMagnitude, 1, 1} {
				switch p := part.(type) {
				case *moments.EWMA:
					if z2 := p.Predict(1).Z2(x); math.IsNaN(z2) {
						t.Errorf("%+v: the deviate of %v is NaN", p, x)
					}
					p.Update(x)
				case *moments.Resolution:
					p.Update(x)
					if f := p.Floor(); !(f > 0) || math.IsInf(f*f, 0) {
						t.Errorf("%+v: floor %v", p, f)
					}
				case *moments.Rolling:
					p.Push(x)
					if math.IsNaN(p.Scale()) {
						t.Errorf("%+v: scale is NaN", p)
					}
				}
			}
		}
	})
}

func ptr[T any](v T) *T { return &v }

func TestClamp(t *testing.T) {
	got := []float64{moments.Clamp(math.Inf(1)), moments.Clamp(-1e308), moments.Clamp(3)}
	if diff := cmp.Diff([]float64{moments.MaxMagnitude, -moments.MaxMagnitude, 3}, got); diff != "" {
		t.Error(diff)
	}
}

func ExampleEWMA() {
	e := moments.NewEWMA(0.02)
	for i := range 200 {
		e.Update(20 + 0.1*float64(i%3-1)) // 19.9, 20.0, 20.1 …
	}
	p := e.Predict(0.1)
	fmt.Printf("expected %.1f ± %.1f\n", p.Mean, p.Scale())
	fmt.Printf("20.2 deviates by %.1f, 25 by %.1f\n", p.Z(20.2), p.Z(25))
	// Output:
	// expected 20.0 ± 0.1
	// 20.2 deviates by 2.0, 25 by 13.4
}

func BenchmarkRolling(b *testing.B) {
	for _, size := range []int{50, 500, 5000} {
		b.Run(fmt.Sprintf("window=%d", size), func(b *testing.B) {
			x, w, i, sum := readings(1<<13, 1), moments.NewRolling(size), 0, 0.0
			b.ReportAllocs()
			for b.Loop() {
				w.Push(x[i&(1<<13-1)])
				sum += w.MAD()
				i++
			}
		})
	}
}

func BenchmarkEWMA(b *testing.B) {
	x, e, i, sum := readings(1<<13, 1), moments.NewEWMA(0.02), 0, 0.0
	b.ReportAllocs()
	for b.Loop() {
		v := x[i&(1<<13-1)]
		sum += e.Predict(1e-9).Z2(v)
		e.Update(v)
		i++
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const alarmP = 1.25e-4

func TestPageHinkleyFindsOneChangeOnce(t *testing.T) {
	for _, shift := range []float64{1, -1, 3, -30} {
		rng := rand.New(rand.NewPCG(1, 1))
		p := NewPageHinkley(0.5, 1000, alarmP)
		found, first := 0, -1
		for i := range 4000 {
			x := rng.NormFloat64()
			if i >= 2000 {
				x += shift
			}
			if v := p.Update(x, 1e-12); v.P <= alarmP {
				found++
				if first < 0 {
					first = i
					if v.Up != (shift > 0) {
						t.Errorf("shift of %v: upwards is %v", shift, v.Up)
					}
				}
			}
		}
		if first < 2000 || first > 2060 || found > 3 {
			t.Errorf("shift of %v at 2,000: found %d times, first at %d", shift, found, first)
		}
	}
}

// TestADWINWindowIsTheHistory: as long as nothing changes, the window holds all readings, with their mean.
func TestADWINWindowIsTheHistory(t *testing.T) {
	a := NewADWIN(alarmP, 1000)
	rng := rand.New(rand.NewPCG(2, 2))
	var all []float64
	for range 3000 {
		x := rng.Float64() // within three deviations: nothing is winsorised
		all = append(all, x)
		a.Update(x, 1e-12)
	}
	mean, variance := stat.PopMeanVariance(all, nil)
	if a.Width() != 3000 || math.Abs(a.Mean()-mean) > 1e-9 || math.Abs(a.all.m2/a.all.n-variance) > 1e-9 {
		t.Errorf("window of %v with mean %v, variance %v, want 3000, %v, %v", a.Width(), a.Mean(), a.all.m2/a.all.n, mean, variance)
	}
}

func TestADWINShrinksAtAChange(t *testing.T) {
	for _, shift := range []float64{1, -1, 5, 1e6} {
		a := NewADWIN(alarmP, 1000)
		rng := rand.New(rand.NewPCG(3, 3))
		first := -1
		for i := range 3000 {
			x := rng.NormFloat64()
			if i >= 2000 {
				x += shift
			}
			if c := a.Update(x, 1e-12); c.P <= alarmP && first < 0 {
				first = i
				if (c.After > c.Before) != (shift > 0) {
					t.Errorf("shift of %v: from %v to %v", shift, c.Before, c.After)
				}
			}
		}
		if first < 2000 || first > 2150 {
			t.Errorf("shift of %v at 2,000 found at %d", shift, first)
		}
		if a.Width() > 1100 {
			t.Errorf("shift of %v: window holds %v readings 1,000 after it", shift, a.Width())
		}
	}
}

// TestADWINBound: cut solves the bound of the paper for the probability.
func TestADWINBound(t *testing.T) {
	a := NewADWIN(alarmP, 1000)
	for i := range 40 {
		a.push(bucket{n: 1, mean: float64(i / 20)})
	}
	evidence, c, _ := a.cut(0.25)
	d := math.Abs(c.After - c.Before)
	m := 1 / (1/20.0 + 1/20.0)
	bound := math.Sqrt(2*evidence*0.25/m) + 2*3*0.5*evidence/(3*m)
	if math.Abs(bound-d) > 1e-9 || math.Abs(d-1) > 0.21 {
		t.Errorf("bound is %v at difference %v", bound, d)
	}
}

func TestADWINIsBounded(t *testing.T) {
	a := NewADWIN(alarmP, 1000)
	for range 100_000 {
		a.Update(1, 1e-12)
	}
	if most := float64(adwinBuckets * (1<<adwinRows - 1)); a.Width() > most {
		t.Errorf("window holds %v readings, more than %v", a.Width(), most)
	}
}

func TestBucketsAddAndSubtract(t *testing.T) {
	x := []float64{1, 5, 2, 8, 3, 3, 9}
	var b, left bucket
	for i, v := range x {
		b = b.with(bucket{n: 1, mean: v})
		if i < 3 {
			left = b
		}
	}
	right := b.without(left)
	mean, variance := stat.PopMeanVariance(x[3:], nil)
	if math.Abs(right.mean-mean) > 1e-12 || math.Abs(right.m2/right.n-variance) > 1e-12 {
		t.Errorf("rest has mean %v and variance %v, want %v and %v", right.mean, right.m2/right.n, mean, variance)
	}
}

func TestNewDetectorsTakeAnything(t *testing.T) {
	values := []float64{0, 1, 1e150, -1e150, 5e-324, 20, 1e-300}
	rng := rand.New(rand.NewPCG(4, 4))
	a, p := NewADWIN(alarmP, 100), NewPageHinkley(0.5, 100, alarmP)
	for range 20_000 {
		x := values[rng.IntN(len(values))]
		if c := a.Update(x, 1e-150); !(c.P >= 0 && c.P <= 1) {
			t.Fatalf("ADWIN gives %v the probability %v", x, c.P)
		}
		if v := p.Update(x, 1e-150); !(v.P >= 0 && v.P <= 1) {
			t.Fatalf("Page–Hinkley gives %v the probability %v", x, v.P)
		}
	}
}

func TestNewDetectorsSurviveRestart(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	a, p := NewADWIN(alarmP, 100), NewPageHinkley(0.5, 100, alarmP)
	for range 1234 {
		x := rng.NormFloat64()
		a.Update(x, 1e-9)
		p.Update(x, 1e-9)
	}
	var w state.Writer
	a.EncodeState(&w)
	p.EncodeState(&w)
	b, q := NewADWIN(alarmP, 100), NewPageHinkley(0.5, 100, alarmP)
	r := state.NewReader(w.Bytes)
	b.DecodeState(r)
	q.DecodeState(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		x := rng.NormFloat64() + float64(i/500)
		if c, d := a.Update(x, 1e-9), b.Update(x, 1e-9); c != d {
			t.Fatalf("ADWIN: %+v, after a restart %+v", c, d)
		}
		if c, d := p.Update(x, 1e-9), q.Update(x, 1e-9); c != d {
			t.Fatalf("Page–Hinkley: %+v, after a restart %+v", c, d)
		}
	}
}

func FuzzADWINState(f *testing.F) {
	a := NewADWIN(alarmP, 100)
	for i := range 100 {
		a.Update(float64(i%7), 1e-9)
	}
	var w state.Writer
	a.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		b := NewADWIN(alarmP, 100)
		r := state.NewReader(data)
		b.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i := range 100 {
			if c := b.Update(float64(i), 1e-9); c.P < 0 || c.P > 1 {
				t.Fatalf("%+v", c)
			}
		}
	})
}

func TestNewDetectorsDoNotAllocate(t *testing.T) {
	a, p, x := NewADWIN(alarmP, 100), NewPageHinkley(0.5, 100, alarmP), 0.0
	if n := testing.AllocsPerRun(5000, func() { x++; a.Update(math.Sin(x), 1e-9); p.Update(math.Sin(x), 1e-9) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleADWIN() {
	a := NewADWIN(1e-4, 1000)
	for i := range 1000 {
		x := float64(i % 3)
		if i >= 500 {
			x += 4
		}
		if c := a.Update(x, 1e-9); c.P <= 1e-4 {
			fmt.Printf("upwards: %v, after %d readings\n", c.After > c.Before, i-500)
			break
		}
	}
	// Output: upwards: true, after 14 readings
}

func BenchmarkADWIN(b *testing.B) {
	a, rng := NewADWIN(1e-4, 1000), rand.New(rand.NewPCG(6, 6))
	b.ReportAllocs()
	for b.Loop() {
		a.Update(rng.NormFloat64(), 1e-9)
	}
}

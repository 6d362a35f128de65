// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shape_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/shape"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// beats is a stream of period 23 with noise.
func beats(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Sin(2*math.Pi*float64(i)/23) + 0.1*r.NormFloat64()
	}
	return x
}

// brute is the distance by its definition.
func brute(x []float64, t, window, windows int) (offset, like float64) {
	centred := func(end int) (v []float64, norm float64) {
		v = append(v, x[end-window+1:end+1]...)
		mean := 0.0
		for _, a := range v {
			mean += a / float64(window)
		}
		for i := range v {
			v[i] -= mean
			norm += v[i] * v[i]
		}
		return v, math.Sqrt(norm)
	}
	a, normA := centred(t)
	offset, like = math.Inf(1), math.Inf(1)
	for lag := window; lag < window+windows && t-lag >= window-1; lag++ {
		b, normB := centred(t - lag)
		s, z := 0.0, 0.0
		for i := range a {
			s += (a[i] - b[i]) * (a[i] - b[i])
			z += (a[i]/normA - b[i]/normB) * (a[i]/normA - b[i]/normB)
		}
		offset, like = min(offset, math.Sqrt(s/float64(window))), min(like, math.Sqrt(z))
	}
	return offset, like
}

func TestDistanceIsThatOfTheNearestWindow(t *testing.T) {
	const window, windows = 16, 60
	for _, test := range []struct {
		name            string
		factor, offset  float64
		within, ofShape float64
	}{
		{"as it is", 1, 0, 1e-4, 0.05},
		{"far from 0", 1, 1e6, 1e-4, 0.05},
		{"large", 1e100, 0, 1e-4, 0.05},
		{"small", 1e-90, 0, 1e-4, 0.05},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := shape.NewProfile(window, windows)
			plain := beats(1, 1000)
			for i, x := range plain {
				got, ok := p.Next(test.factor*x+test.offset, false)
				if ok != (i >= 2*window-1) {
					t.Fatalf("reading %d: ok is %t", i, ok)
				}
				if !ok {
					continue
				}
				// A tenth of the spread counts as common to both windows, which takes a little off the distance of shapes.
				offset, like := brute(plain, i, window, windows)
				if math.Abs(got.Offset/test.factor-offset) > test.within || math.Abs(got.Shape-like) > test.ofShape*like {
					t.Fatalf("reading %d: %+v, want %v and %v", i, got, offset, like)
				}
			}
		})
	}
}

// TestGlitchLeavesNothing: after a reading far off has left the memory, distances are what they would be without.
func TestGlitchLeavesNothing(t *testing.T) {
	const window, windows = 16, 60
	for _, glitch := range []float64{1e3, 1e12, 3.4e38, -1e155, math.MaxFloat64} {
		p, clean := shape.NewProfile(window, windows), shape.NewProfile(window, windows)
		for i, x := range beats(2, 3000) {
			want, _ := clean.Next(x, false)
			if i == 1000 {
				x = glitch
			}
			got, _ := p.Next(x, false)
			if math.IsNaN(got.Offset) || math.IsNaN(got.Shape) {
				t.Fatalf("reading %d after %g: %+v", i, glitch, got)
			}
			if i > 1000+4*(window+windows) && (math.Abs(got.Offset-want.Offset) > 1e-3 || math.Abs(got.Shape-want.Shape) > 0.1) {
				t.Fatalf("reading %d after %g: %+v, want %+v", i, glitch, got, want)
			}
		}
	}
}

// TestDetectorFinds: a shape not met before has far more evidence than any before it, whatever unit and sign; and the
// promised share of normal readings has as much as evidence says.
func TestDetectorFinds(t *testing.T) {
	for _, factor := range []float64{1, -1e-6, 1e9} {
		d := shape.New(2, shape.Windows)
		var most float64
		over := 0
		for i, x := range beats(3, 8000) {
			if i >= 7000 && i < 7060 { // half as fast
				x = math.Sin(2 * math.Pi * float64(i) / 46)
			}
			e, ok := d.Next(factor*x, false)
			if ok != (i >= 2*shape.Window-1+150) {
				t.Fatalf("reading %d: ok is %t", i, ok)
			}
			switch {
			case i >= 7000 && i < 7060:
				most = max(most, e)
			case i < 7000 && e >= 3:
				over++
			}
		}
		if over > 35 || most < 5 {
			t.Errorf("times %g: %d of 7,000 normal readings have evidence of 3, a new shape %.1f; want at most 35, and 5", factor, over, most)
		}
	}
}

// TestHeldIsNoMeasure: a fault that comes again within the memory has as much evidence again where it was held, and
// much less where it was learned.
func TestHeldIsNoMeasure(t *testing.T) {
	for _, hold := range []bool{true, false} {
		d := shape.New(2, shape.Windows)
		var most [2]float64
		for i, x := range beats(4, 4400) {
			k := -1
			for j, from := range []int{4000, 4184} { // eight periods later
				if i >= from && i < from+60 {
					x += math.Sin(2 * math.Pi * float64(i-from) / 46)
					k = j
				}
			}
			e, _ := d.Next(x, hold && k >= 0)
			if k >= 0 {
				most[k] = max(most[k], e)
			}
		}
		if again := most[1] / most[0]; hold && again < 0.8 || !hold && again > 0.5 {
			t.Errorf("hold %t: evidence %.1f, and %.1f when it comes again", hold, most[0], most[1])
		}
	}
}

func TestConstantThenAnything(t *testing.T) {
	d := shape.New(2, shape.Windows)
	r := rand.New(rand.NewPCG(5, 5))
	wild := []float64{0, 7, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64}
	for i := range 4000 {
		x := 7.0
		if i > 2000 {
			x = wild[r.IntN(len(wild))]
		}
		e, ok := d.Next(x, i%700 > 600)
		if math.IsNaN(e) || e < 0 || i < 2000 && ok && e > 2 {
			t.Fatalf("reading %d, %g: evidence %v", i, x, e)
		}
	}
}

func TestStateContinues(t *testing.T) {
	x := beats(6, 1500)
	whole := shape.New(2, 64)
	for i, v := range x {
		if i%37 == 0 {
			restored := shape.New(2, 64)
			var w state.Writer
			whole.EncodeState(&w)
			r := state.NewReader(w.Bytes)
			if restored.DecodeState(r); r.Close() != nil {
				t.Fatalf("at %d: %v", i, r.Err())
			}
			whole = restored
		}
		whole.Next(v, i%100 > 80)
	}
	straight := shape.New(2, 64)
	for i, v := range x {
		straight.Next(v, i%100 > 80)
	}
	for i, v := range beats(7, 300) {
		a, okA := whole.Next(v, false)
		b, okB := straight.Next(v, false)
		if a != b || okA != okB {
			t.Fatalf("reading %d: %v %t after snapshots, %v %t without", i, a, okA, b, okB)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	for _, n := range []int{0, 60, 700} {
		d := shape.New(2, 32)
		for _, x := range beats(8, n) {
			d.Next(x, false)
		}
		var w state.Writer
		d.EncodeState(&w)
		f.Add(w.Bytes)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := shape.New(2, 32)
		r := state.NewReader(data)
		if d.DecodeState(r); r.Close() != nil {
			return
		}
		for i, x := range beats(9, 200) {
			if e, _ := d.Next(x, i%50 > 40); math.IsNaN(e) || e < 0 {
				t.Fatalf("reading %d: evidence %v", i, e)
			}
		}
	})
}

func TestNextDoesNotAllocate(t *testing.T) {
	d, x, i := shape.New(2, shape.Windows), beats(10, 1000), 0
	if n := testing.AllocsPerRun(5000, func() { d.Next(x[i%len(x)], i%90 > 80); i++ }); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

func BenchmarkNext(b *testing.B) {
	d, x, i := shape.New(2, shape.Windows), beats(11, 1024), 0
	b.ReportAllocs()
	for b.Loop() {
		d.Next(x[i&1023], false)
		i++
	}
}

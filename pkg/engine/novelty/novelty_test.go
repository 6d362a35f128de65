// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/kubeedge/edge-anomaly/pkg/engine/novelty"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// streams are 6,000 readings each, in good order and not.
func streams() map[string][]float64 {
	make6000 := func(seed uint64, f func(r *rand.Rand, i int) float64) []float64 {
		r := rand.New(rand.NewPCG(seed, 7))
		x := make([]float64, 6000)
		for i := range x {
			x[i] = f(r, i)
		}
		return x
	}
	return map[string][]float64{
		"noise":  make6000(1, func(r *rand.Rand, _ int) float64 { return r.NormFloat64() }),
		"season": make6000(2, func(r *rand.Rand, i int) float64 { return 3*math.Sin(2*math.Pi*float64(i)/288) + 0.2*r.NormFloat64() }),
		"tail":   make6000(3, func(r *rand.Rand, _ int) float64 { return math.Exp(2 * r.NormFloat64()) }),
		"levels": make6000(4, func(r *rand.Rand, i int) float64 { return float64(i / 500 % 3) }),
		"level": make6000(5, func(r *rand.Rand, i int) float64 {
			return r.NormFloat64() + 8*float64(i/5000)
		}),
		"whole numbers": make6000(6, func(r *rand.Rand, _ int) float64 { return float64(r.IntN(10)) }),
	}
}

func scores(d *novelty.Detector, x []float64) []float64 {
	s := make([]float64, len(x))
	for i, v := range x {
		s[i] = d.Next(v)
	}
	return s
}

func TestScoresAreThoseOfAnyScale(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, x := range streams() {
		want := scores(new(novelty.Detector), x)
		for _, c := range []struct{ a, b float64 }{{-1, 0}, {1024, 0}, {-3.7, 12345.6}, {0.001, 5}, {1e6, -1e9}} {
			y := make([]float64, len(x))
			for i, v := range x {
				y[i] = c.a*v + c.b
			}
			different := 0
			for i, got := range scores(new(novelty.Detector), y) {
				if math.Abs(got-want[i]) > 1e-9 {
					different++
				}
			}
			if different > 0 {
				t.Errorf("%s: %d of %d scores of %v·x + %v differ from those of x", name, different, len(x), c.a, c.b)
			}
		}
	}
}

func TestStrangeReadingsScoreHighAndOnce(t *testing.T) {
	for name, at := range map[string]int{"noise": 4000, "season": 4000, "whole numbers": 4000} {
		x := streams()[name]
		for i := at; i < at+5; i++ {
			x[i] += 60
		}
		high := 0
		for i, s := range scores(new(novelty.Detector), x) {
			if i >= at && i < at+64 && novelty.TailProbability(s) < 1e-4 {
				high++
			}
		}
		if high < 1 || high > 5 {
			t.Errorf("%s: %d readings of an incident score high, want one to its five", name, high)
		}
	}
}

func TestFalseAlarmsAreNoMoreThanPromised(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const n, streams = 60_000, 4
	for _, p := range []float64{1e-3, 1.25e-4} {
		alarms := 0
		for seed := range uint64(streams) {
			r := rand.New(rand.NewPCG(seed, 9))
			var d novelty.Detector
			for i := range n {
				if s := d.Next(r.NormFloat64()); i >= 2000 && novelty.TailProbability(s) <= p {
					alarms++
				}
			}
		}
		promised := p * streams * (n - 2000)
		t.Logf("tail %v: %d alarms, promised %v", p, alarms, promised)
		if float64(alarms) > promised {
			t.Errorf("%d readings in good order have a tail of %v, want at most %v", alarms, p, promised)
		}
	}
}

func TestThePeriodIsFound(t *testing.T) {
	for _, period := range []int{24, 288, 1440} {
		var d novelty.Detector
		r := rand.New(rand.NewPCG(1, 2))
		found := -1
		for i := range 6 * max(period, 200) {
			d.Next(5*math.Sin(2*math.Pi*float64(i)/float64(period)) + 0.3*r.NormFloat64())
			if p, _ := d.Period(); found < 0 && p > 0 && math.Abs(float64(p-period)) < 0.1*float64(period) {
				found = i
			}
		}
		t.Logf("period %d: known after %d readings", period, found)
		if found < 0 || found > 4*max(period, 200) {
			t.Errorf("a period of %d readings is known after %d, want within 4 cycles or 800", period, found)
		}
	}
}

func TestFoldAlignsWithTheNewestReading(t *testing.T) {
	var d novelty.Detector
	const period = 100
	for i := range 737 {
		d.Next(float64(i % period))
	}
	profile := make([]float64, 50)
	left, all, ok := d.Fold(period, profile)
	if !ok || left > 0.2*all {
		t.Fatalf("fold: %v, left %v of %v, want less than a fifth", ok, left, all)
	}
	if got, want := profile[0], float64(736%period); math.Abs(got-want) > 2 {
		t.Errorf("at the phase of the newest reading the profile is %v, want %v", got, want)
	}
	if got, want := profile[10], float64((736+20)%period); math.Abs(got-want) > 2 {
		t.Errorf("twenty readings on the profile is %v, want %v", got, want)
	}
	if _, _, ok := d.Fold(600, profile); ok {
		t.Error("a period of which there are no two cycles is folded")
	}
}

func TestStateRoundTrip(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, x := range streams() {
		for _, cut := range []int{0, 1, 50, 1100, 4500} {
			var a, b novelty.Detector
			scores(&a, x[:cut])
			scores(&b, streams()["tail"][:333]) // another past
			var w state.Writer
			a.EncodeState(&w)
			r := state.NewReader(w.Bytes)
			b = novelty.Detector{}
			b.DecodeState(r)
			if err := r.Close(); err != nil {
				t.Fatalf("%s, %d: %v", name, cut, err)
			}
			want := scores(&a, x[cut:])
			for i, got := range scores(&b, x[cut:]) {
				if got != want[i] {
					t.Fatalf("%s: %d readings after a restart at %d the score is %v, want %v", name, i, cut, got, want[i])
				}
			}
		}
	}
}

func TestSizeAndAllocations(t *testing.T) {
	const most = 10 << 10
	if size := unsafe.Sizeof(novelty.Detector{}); size > most {
		t.Errorf("a detector takes %d bytes, want at most %d", size, most)
	}
	var d novelty.Detector
	i := 0
	if n := testing.AllocsPerRun(5000, func() { d.Next(math.Sin(float64(i) * 0.1)); i++ }); n != 0 {
		t.Errorf("%v allocations a reading, want none", n)
	}
}

// TestGolden pins scores: a change of the sums is to be seen in review.
func TestGolden(t *testing.T) {
	for name, want := range map[string]float64{
		"noise": 13.3104626, "season": 22.0962608, "tail": 32.2213142, "levels": 25.5317676, "level": 26.0358023,
		"whole numbers": 1.7502444,
	} {
		sum := 0.0
		for i, s := range scores(new(novelty.Detector), streams()[name]) {
			sum += s * (1 + float64(i%7))
		}
		if math.Abs(sum-want) > 1e-5*want {
			t.Errorf("%s: weighted sum of scores is %.9g, want %.9g", name, sum, want)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(1.0, 2.0, 1e300, -1e300)
	f.Add(math.Inf(1), math.NaN(), math.SmallestNonzeroFloat64, 0.0)
	f.Fuzz(func(t *testing.T, a, b, c, e float64) {
		var d novelty.Detector
		for i := range 2000 {
			v := [4]float64{a, b, c, e}[(i*i/7)%4]
			if s := d.Next(v + float64(i%13)); !(s >= 0) || math.IsInf(s, 0) {
				t.Fatalf("score of %v is %v", v, s)
			}
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	var d novelty.Detector
	for i := range 300 {
		d.Next(math.Sin(float64(i)))
	}
	var w state.Writer
	d.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var d novelty.Detector
		r := state.NewReader(data)
		d.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for _, x := range []float64{0, 1, 1, 1e308, -1e308, 5} {
			if s := d.Next(x); !(s >= 0) {
				t.Fatalf("score of %v is %v", x, s)
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	x := streams()["season"]
	var d novelty.Detector
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		d.Next(x[i%len(x)])
		i++
	}
}

func ExampleDetector() {
	var d novelty.Detector
	for i := range 5000 {
		x := math.Sin(float64(i) / 10)
		if i == 4000 {
			x = 3
		}
		if score := d.Next(x); novelty.TailProbability(score) < 1e-4 {
			fmt.Printf("reading %d is stranger than any before\n", i)
		}
	}
	// Output: reading 4000 is stranger than any before
}

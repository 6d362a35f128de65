// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

const minute = int64(time.Minute)

// noisy is a slow wave with noise; faults are put into it.
func noisy(seed uint64) func(i int) float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(i int) float64 { return 20 + 2*math.Sin(float64(i)/300) + 0.2*r.NormFloat64() }
}

// TestIncidents: what begins an incident is told at once, for as long as it lasts and the n-th time as the first, and
// its end is none.
func TestIncidents(t *testing.T) {
	d := watch.New(watch.Config{})
	x := noisy(1)
	away, first, outside := 0, 0, 0
	for i := range 9000 {
		v := x(i)
		in := i >= 3000 && i%1000 < 60
		if in {
			v += 8
		}
		got := d.Next(v, int64(i)*minute)
		switch {
		case in && got.Away:
			away++
			if i%1000 == 0 {
				first++
			}
		case got.Away && i > 1000:
			outside++
		}
	}
	if first < 6 || away < 6*55 || outside > 12 {
		t.Errorf("of six faults of 60 readings %d are told at once and %d readings are; %d others are, want few", first, away, outside)
	}
}

// TestAcceptance: a new level is an incident until it is accepted, once, and not at all where nothing is.
func TestAcceptance(t *testing.T) {
	for name, c := range map[string]struct {
		accept   time.Duration
		accepted int
		least    int // readings of 2,000 that are told
	}{
		"by itself": {0, 1, 100},
		"in time":   {10 * time.Hour, 1, 590},
		"never":     {-1, 0, 1990},
	} {
		t.Run(name, func(t *testing.T) {
			d := watch.New(watch.Config{Accept: c.accept})
			x := noisy(2)
			away, accepted := 0, 0
			for i := range 6000 {
				v := x(i)
				if i >= 4000 {
					v += 20
				}
				got := d.Next(v, int64(i)*minute)
				if i >= 4000 && got.Away {
					away++
				}
				if got.Accepted {
					accepted++
				}
			}
			if accepted != c.accepted || away < c.least {
				t.Errorf("accepted %d times and told for %d readings, want %d times and at least %d", accepted, away, c.accepted, c.least)
			}
		})
	}
}

func ExampleDetector() {
	d := watch.New(watch.Config{})
	x := noisy(3)
	for i := range 3000 {
		v := x(i)
		if i >= 2500 && i < 2600 {
			v = 35
		}
		if got := d.Next(v, int64(i)*minute); got.Began {
			fmt.Printf("reading %d leaves what is normal\n", i)
		}
	}
	// Output: reading 2500 leaves what is normal
}

// TestSnapshots: what is restored after any number of readings judges as the original does.
func TestSnapshots(t *testing.T) {
	x := noisy(4)
	var xs []float64
	for i := range 3000 {
		v := x(i)
		if i%700 > 600 {
			v += 9
		}
		xs = append(xs, v)
	}
	for cut := 0; cut < len(xs); cut += 1 + cut/40 {
		a, b := watch.New(watch.Config{}), watch.New(watch.Config{})
		for i, v := range xs[:cut] {
			a.Next(v, int64(i)*minute)
		}
		var w state.Writer
		a.EncodeState(&w)
		r := state.NewReader(w.Bytes)
		b.DecodeState(r)
		if err := r.Close(); err != nil {
			t.Fatalf("after %d readings: %v", cut, err)
		}
		for i, v := range xs[cut:min(cut+300, len(xs))] {
			at := int64(cut+i) * minute
			if want, got := a.Next(v, at), b.Next(v, at); got != want {
				t.Fatalf("restored after %d readings, reading %d more is %+v, want %+v", cut, i, got, want)
			}
		}
	}
}

func TestSizeAndAllocations(t *testing.T) {
	const most = 24 << 10
	if size := unsafe.Sizeof(watch.Detector{}); size > most {
		t.Errorf("a detector takes %d bytes, want at most %d", size, most)
	}
	d := watch.New(watch.Config{})
	x, i := noisy(5), 0
	if n := testing.AllocsPerRun(5000, func() { d.Next(x(i), int64(i)*minute); i++ }); n != 0 {
		t.Errorf("%v allocations a reading, want none", n)
	}
}

func FuzzNext(f *testing.F) {
	f.Add(1.0, 2.0, 1e300, -1e300)
	f.Add(math.SmallestNonzeroFloat64, 0.0, 3.4e38, -math.MaxFloat64)
	f.Fuzz(func(t *testing.T, a, b, c, e float64) {
		if sum := a + b + c + e; math.IsNaN(sum) || math.IsInf(sum, 0) {
			t.Skip("readings are finite")
		}
		d := watch.New(watch.Config{})
		for i := range 2000 {
			v := d.Next([4]float64{a, b, c, e}[(i*i/7)%4]+float64(i%13), int64(i%97)*minute)
			if !(v.Tail >= 0 && v.Tail <= 1 && v.Onset >= 0 && v.Onset <= 1) {
				t.Fatalf("reading %d: %+v", i, v)
			}
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	d := watch.New(watch.Config{})
	x := noisy(6)
	for i := range 700 {
		d.Next(x(i)+float64(i/600*20), int64(i)*minute)
	}
	var w state.Writer
	d.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := watch.New(watch.Config{})
		r := state.NewReader(data)
		d.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i, x := range []float64{0, 1, 1, 1e308, -1e308, 5} {
			if v := d.Next(x, int64(i)); !(v.Tail >= 0 && v.Tail <= 1) {
				t.Fatalf("%+v", v)
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	x := noisy(7)
	var xs []float64
	for i := range 10_000 {
		xs = append(xs, x(i))
	}
	d := watch.New(watch.Config{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d.Next(xs[i%len(xs)], int64(i)*minute)
		i++
	}
}

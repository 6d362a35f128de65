// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stillness_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/stillness"
)

func newDetector() stillness.Detector { return stillness.Detector{MinMovement: 0.1, MinRepeats: 5} }

const rare = 1.25e-4 // probability of a finding

func TestFreezeIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream func(rng *rand.Rand, i int) float64
		within int // readings
	}{
		{"continuous", func(rng *rand.Rand, _ int) float64 { return rng.NormFloat64() }, 5},
		{"coarse noise", func(rng *rand.Rand, _ int) float64 { return math.Round(rng.NormFloat64()) }, 20},
		{"every fourth reading moves", func(_ *rand.Rand, i int) float64 { return float64(i / 4 % 10) }, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, rng := newDetector(), rand.New(rand.NewPCG(1, 1))
			last := 0.0
			for i := range 1000 {
				last = c.stream(rng, i)
				if p := d.Update(last); p <= rare {
					t.Fatalf("reading %d: probability %v while all is well", i, p)
				}
			}
			n := 1
			for d.Update(last) > rare {
				if n++; n > 1000 {
					t.Fatal("a freeze is never found")
				}
			}
			if n > c.within {
				t.Errorf("a freeze is found after %d readings, want %d", n, c.within)
			}
		})
	}
}

func TestStreamsThatRestByNatureAreNeverFrozen(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	x := 20.0
	for name, stream := range map[string]func(i int) float64{
		"constant":             func(int) float64 { return 5 },
		"light, switched once": func(i int) float64 { return float64(min(i/5000, 1)) },
		"busy light, then night": func(i int) float64 {
			if i < 5000 {
				return float64(rng.IntN(2))
			}
			return 0
		},
		"setpoint": func(int) float64 {
			if rng.IntN(100) == 0 {
				x = float64(16 + rng.IntN(8))
			}
			return x
		},
	} {
		d := newDetector()
		for i := range 50_000 {
			if p := d.Update(stream(i)); p <= rare {
				t.Errorf("%s: reading %d is frozen with probability %v after %v repeats", name, i, p, d.Repeats())
				break
			}
		}
	}
}

func TestOneFreezeDoesNotHideTheNext(t *testing.T) {
	d, rng := newDetector(), rand.New(rand.NewPCG(3, 3))
	for freeze := range 2 {
		for range 500 {
			d.Update(rng.NormFloat64())
		}
		found := false
		for range 200 {
			found = d.Update(0.125) <= rare || found
		}
		if !found {
			t.Errorf("freeze %d of 200 readings is not found; the longest learned rest has %v repeats", freeze, d.Longest())
		}
	}
}

func TestRestsThatKeepComingAreLearned(t *testing.T) {
	d, rng := newDetector(), rand.New(rand.NewPCG(4, 4))
	found := 0
	for range 20 {
		for range 200 {
			d.Update(rng.NormFloat64())
		}
		cried := false
		for range 60 {
			cried = d.Update(0.125) <= rare || cried
		}
		if cried {
			found++
		}
	}
	if found == 0 || found > 6 {
		t.Errorf("%d of 20 pauses were found, want the first few only", found)
	}
}

func TestStateRoundTrip(t *testing.T) {
	d, rng := newDetector(), rand.New(rand.NewPCG(5, 5))
	for range 300 {
		d.Update(math.Round(2 * rng.NormFloat64()))
	}
	var w state.Writer
	d.EncodeState(&w)
	restored, r := newDetector(), state.NewReader(w.Bytes)
	restored.DecodeState(r)
	if err := r.Close(); err != nil || restored != d {
		t.Errorf("restored %+v, error %v, want %+v", restored, err, d)
	}
}

func FuzzDecodeState(f *testing.F) {
	d := newDetector()
	d.Update(3)
	var w state.Writer
	d.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, r := newDetector(), state.NewReader(data)
		d.DecodeState(r)
		if r.Err() != nil {
			return
		}
		for i := range 30 {
			if p := d.Update(float64(i / 20)); !(p >= 0 && p <= 1) {
				t.Errorf("%+v: probability %v", d, p)
			}
		}
	})
}

func ExampleDetector() {
	d := stillness.Detector{MinMovement: 0.1, MinRepeats: 3}
	for i := range 100 {
		d.Update(float64(i%7) / 10)
	}
	for i := range 5 {
		fmt.Printf("%d: %.6f\n", i, d.Update(0.15))
	}
	// Output:
	// 0: 1.000000
	// 1: 1.000000
	// 2: 1.000000
	// 3: 0.000155
	// 4: 0.000079
}

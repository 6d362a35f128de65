// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/kubeedge/edge-anomaly/pkg/engine/novelty"
	"github.com/kubeedge/edge-anomaly/pkg/engine/regime"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// normal are streams in good order.
var normal = map[string]func(r *rand.Rand) func(i int) float64{
	"constant": func(*rand.Rand) func(int) float64 { return func(int) float64 { return 21.5 } },
	"noise":    func(r *rand.Rand) func(int) float64 { return func(int) float64 { return 50 + r.NormFloat64() } },
	"season": func(r *rand.Rand) func(int) float64 {
		return func(i int) float64 { return 20 + 5*math.Sin(2*math.Pi*float64(i)/700) + 0.3*r.NormFloat64() }
	},
	"counter": func(r *rand.Rand) func(int) float64 {
		x := 0.0
		return func(int) float64 { x = math.Mod(x+10+r.NormFloat64(), 20_000); return x }
	},
	"modes": func(r *rand.Rand) func(int) float64 {
		m, left := 0, 0
		return func(int) float64 {
			if left--; left < 0 {
				m, left = (m+1+r.IntN(2))%3, 20+r.IntN(70)
			}
			return []float64{10, 50, 80}[m] + r.NormFloat64()
		}
	},
	"schedule": func(r *rand.Rand) func(int) float64 {
		on, left := 0.0, 0
		return func(int) float64 {
			if left--; left < 0 {
				on, left = 1-on, []int{200, 120}[int(on)]+r.IntN(12)
			}
			return on
		}
	},
}

const (
	faultAt = 6000
	rows    = 6600
)

// faults change readings from faultAt on; unit is the noise of the stream.
var faults = map[string]struct {
	kind   regime.Kind
	effect func(r *rand.Rand, i int, x, unit float64) float64
	on     map[string]float64 // streams, with their units
}{
	"spike": {regime.Spike, func(_ *rand.Rand, i int, x, unit float64) float64 {
		if i == 0 {
			return x + 12*unit
		}
		return x
	}, map[string]float64{"constant": 0.1, "noise": 1, "season": 0.3, "counter": 1, "modes": 1}},
	"level": {regime.Level, func(_ *rand.Rand, i int, x, unit float64) float64 {
		return x + 10*unit
	}, map[string]float64{"constant": 0.1, "noise": 1, "season": 0.3, "counter": 1, "modes": 1}},
	"drift": {regime.Drift, func(_ *rand.Rand, i int, x, unit float64) float64 {
		return x + math.Floor(float64(i)/4)/10*unit
	}, map[string]float64{"constant": 1, "noise": 1, "modes": 1}},
	"noise": {regime.Noise, func(r *rand.Rand, i int, x, unit float64) float64 {
		return x + math.Round(50*unit*r.NormFloat64())/10
	}, map[string]float64{"constant": 1, "noise": 1, "season": 0.3, "modes": 1}},
}

// run feeds a stream with a fault, or none, scaled by a and moved by b, and returns what it was told of.
func run(stream, fault string, a, b float64) (told map[regime.Kind]int, early int, found regime.Regime) {
	r := rand.New(rand.NewPCG(5, 5))
	next := normal[stream](r)
	var w regime.Watch
	var h novelty.Detector
	told = map[regime.Kind]int{}
	for i := range rows {
		x := next(i)
		if f, ok := faults[fault]; ok && i >= faultAt {
			x = f.effect(r, i-faultAt, x, f.on[stream])
		}
		x = a*x + b
		h.Next(x)
		v := w.Next(x, 1, 1, false, &h)
		switch {
		case i < faultAt:
			found = v.Regime
			if v.Kind != regime.None && i > 2000 {
				early++
			}
		case v.Kind != regime.None:
			told[v.Kind]++
		}
	}
	return told, early, found
}

func TestStructureIsFound(t *testing.T) {
	for stream, want := range map[string]regime.Regime{
		"constant": regime.Discrete, "noise": regime.Plain, "season": regime.Seasonal, "counter": regime.Counting,
		"modes": regime.Modal, "schedule": regime.Discrete,
	} {
		told, early, found := run(stream, "", 1, 0)
		if found != want {
			t.Errorf("%s: regime %d, want %d", stream, found, want)
		}
		if early > 0 || len(told) > 0 {
			t.Errorf("%s: told %d times and of %v though all is well", stream, early, told)
		}
	}
}

func TestFaultsAreNamed(t *testing.T) {
	for name, f := range faults {
		for stream := range f.on {
			told, _, _ := run(stream, name, 1, 0)
			most := regime.None
			for k, n := range told {
				if n > told[most] {
					most = k
				}
			}
			if most != f.kind {
				t.Errorf("%s on %s: told of %v, want most of kind %d", name, stream, told, f.kind)
			}
		}
	}
}

func TestScaleDoesNotMatter(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for name, f := range faults {
		for stream := range f.on {
			want, _, _ := run(stream, name, 1, 0)
			for _, c := range []struct{ a, b float64 }{{-1, 0}, {1024, 0}, {-0.125, 3}} {
				if got, _, _ := run(stream, name, c.a, c.b); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s on %s: %v·x + %v is told of as %v, x as %v", name, stream, c.a, c.b, got, want)
				}
			}
		}
	}
}

func TestGapsDoNotShiftTheSeason(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	next := normal["season"](r)
	var w regime.Watch
	var h novelty.Detector
	var step int
	for i := 0; i < 9000; i += step {
		step = 1
		if i == 7000 {
			step = 350 // half a cycle
		}
		x := next(i + step - 1)
		h.Next(x)
		if v := w.Next(x, step, step, false, &h); i >= 7000 && v.Kind != regime.None {
			t.Fatalf("%d readings after a gap kind %d is told of", i-7000, v.Kind)
		}
	}
}

func TestStateRoundTrip(t *testing.T) {
	for stream, begin := range normal {
		r := rand.New(rand.NewPCG(5, 5))
		next := begin(r)
		var a, b regime.Watch
		var h novelty.Detector
		for i := range rows {
			x := next(i)
			if i >= faultAt && i < faultAt+50 {
				x += 3
			}
			h.Next(x)
			va := a.Next(x, 1, 1, false, &h)
			if i > 5121 {
				if vb := b.Next(x, 1, 1, false, &h); fmt.Sprint(va) != fmt.Sprint(vb) {
					t.Fatalf("%s: reading %d: %v after a restart, want %v", stream, i, vb, va)
				}
				continue
			}
			if i == 5121 {
				var out state.Writer
				a.EncodeState(&out)
				in := state.NewReader(out.Bytes)
				b.DecodeState(in)
				if err := in.Close(); err != nil {
					t.Fatalf("%s: %v", stream, err)
				}
			}
		}
	}
}

func TestPeaksPromiseNoMoreThanTheyKeep(t *testing.T) {
	for name, draw := range map[string]func(r *rand.Rand) float64{
		"normal":      func(r *rand.Rand) float64 { return math.Abs(r.NormFloat64()) },
		"exponential": func(r *rand.Rand) float64 { return r.ExpFloat64() },
		"power law":   func(r *rand.Rand) float64 { return math.Pow(r.Float64(), -1.0/3) },
	} {
		r := rand.New(rand.NewPCG(8, 8))
		var p regime.Peaks
		const n, tail = 1_000_000, 1e-4
		over := 0
		for range n {
			s := draw(r)
			if p.Ready() && p.Tail(s) <= tail {
				over++
			}
			p.Add(s)
		}
		t.Logf("%s: %d of %d beyond a tail of %v", name, over, n, tail)
		if over > n*tail*2 {
			t.Errorf("%s: %d of %d values are beyond a tail of %v", name, over, n, tail)
		}
		if l := p.Limit(tail); math.Abs(p.Tail(l)-tail) > 0.01*tail {
			t.Errorf("%s: the limit of tail %v has tail %v", name, tail, p.Tail(l))
		}
	}
}

func TestSizeAndAllocations(t *testing.T) {
	const most = 6 << 10
	if size := unsafe.Sizeof(regime.Watch{}); size > most {
		t.Errorf("a watch takes %d bytes, want at most %d", size, most)
	}
	for stream, begin := range normal {
		next := begin(rand.New(rand.NewPCG(5, 5)))
		var w regime.Watch
		var h novelty.Detector
		i := 0
		if n := testing.AllocsPerRun(6000, func() {
			x := next(i)
			h.Next(x)
			w.Next(x, 1, 1, false, &h)
			i++
		}); n != 0 {
			t.Errorf("%s: %v allocations a reading, want none", stream, n)
		}
	}
}

func FuzzWatch(f *testing.F) {
	f.Add(1.0, 2.0, 1e150, -1e150, 1)
	f.Add(0.0, 0.0, math.SmallestNonzeroFloat64, 5.0, 100000)
	f.Fuzz(func(t *testing.T, a, b, c, e float64, step int) {
		var w regime.Watch
		var h novelty.Detector
		r := rand.New(rand.NewPCG(1, 1))
		for i := range 3000 {
			x := [4]float64{a, b, c, e}[(i/100)%4] + float64(i%13)*r.Float64()*a
			if math.IsNaN(x) || math.Abs(x) > 1e150 {
				continue
			}
			h.Next(x)
			v := w.Next(x, 1+i%17/16*step, 1+i%17/16*step, i%5 == 0, &h)
			if !(v.Tail >= 0 && v.Tail <= 1) || math.IsNaN(v.Expected) && v.Regime == regime.Plain && i > 1 {
				t.Fatalf("reading %v: %+v", x, v)
			}
		}
		var out state.Writer
		w.EncodeState(&out)
		in := state.NewReader(out.Bytes)
		w.DecodeState(in)
		if err := in.Close(); err != nil {
			t.Fatalf("own state is refused: %v", err)
		}
	})
}

func ExampleWatch() {
	names := map[regime.Kind]string{regime.Spike: "spike", regime.Level: "level"}
	r := rand.New(rand.NewPCG(1, 1))
	var w regime.Watch
	var h novelty.Detector
	last := regime.None
	for i := range 3000 {
		x := 20 + r.NormFloat64()
		if i >= 2500 {
			x += 12
		}
		h.Next(x)
		v := w.Next(x, 1, 1, false, &h)
		if v.Kind != regime.None && v.Kind != last {
			last = v.Kind
			fmt.Printf("reading %d: %s\n", i, names[v.Kind])
		}
	}
	// Output:
	// reading 2500: spike
	// reading 2504: level
}

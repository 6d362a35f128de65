// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package discrete

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// cycle goes through states that each last as long as dwell says.
func cycle(c *Chain, n int, dwell func(s int) int, states ...float64) (last Verdict) {
	s, left := 0, dwell(0)
	for range n {
		if left == 0 {
			s = (s + 1) % len(states)
			left = max(dwell(s), 1)
		}
		left--
		last = c.Next(states[s], 1)
	}
	return last
}

func TestEvents(t *testing.T) {
	steady := func(n int) func(int) int { return func(int) int { return n } }
	for name, c := range map[string]struct {
		learn func(c *Chain)
		then  []float64
		want  Event
		most  float64
	}{
		"new state":       {func(c *Chain) { cycle(c, 2000, steady(20), 0, 1, 2) }, []float64{9}, NewState, 1e-3},
		"not the next":    {func(c *Chain) { cycle(c, 2020, steady(20), 0, 1, 2) }, []float64{0}, Transition, 1e-3},
		"too short":       {func(c *Chain) { cycle(c, 2003, steady(50), 0, 1) }, []float64{1}, TooShort, 1e-3},
		"nothing unusual": {func(c *Chain) { cycle(c, 2000, steady(20), 0, 1, 2) }, []float64{1}, Nothing, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ch := NewChain(0)
			c.learn(&ch)
			var v Verdict
			for _, x := range c.then {
				v = ch.Next(x, 1)
			}
			if c.want != Nothing && v.Event != c.want || v.Probability > c.most || c.want == Nothing && v.Probability < 0.01 {
				t.Errorf("verdict is %+v, want event %d with at most %v", v, c.want, c.most)
			}
		})
	}
}

func TestTooLongComesWithTime(t *testing.T) {
	c := NewChain(0)
	cycle(&c, 2001, func(int) int { return 20 }, 0, 1)
	last := 1.0
	for i := range 80 {
		v := c.Next(c.values[c.current], 1)
		if v.Probability > last {
			t.Fatalf("probability rises from %v to %v after %d readings", last, v.Probability, i)
		}
		last = v.Probability
	}
	if last > 1e-6 {
		t.Errorf("probability is %v after five times the usual dwell", last)
	}
	gap := NewChain(0)
	cycle(&gap, 2001, func(int) int { return 20 }, 0, 1)
	if v := gap.Next(gap.values[gap.current], 100); v.Event != TooLong || v.Probability > 1e-6 {
		t.Errorf("verdict after a gap of 100 readings in one state is %+v", v)
	}
}

func TestFlapping(t *testing.T) {
	c := NewChain(0)
	rng := rand.New(rand.NewPCG(1, 1))
	cycle(&c, 5000, func(int) int { return 1 + int(rng.ExpFloat64()*100) }, 0, 1)
	least := Verdict{Probability: 1}
	for i := range 20 {
		if v := c.Next(float64(i&1), 1); v.Probability < least.Probability {
			least = v
		}
	}
	if least.Event != Flapping || least.Probability > 1e-4 {
		t.Errorf("least probable is %+v, want flapping", least)
	}
}

// TestDwellRecoversTheGamma fits dwell times of known laws and compares tails.
func TestDwellRecoversTheGamma(t *testing.T) {
	src := rand.NewPCG(2, 2)
	for _, shape := range []float64{1, 4, 50} {
		law := distuv.Gamma{Alpha: shape, Beta: shape / 1000, Src: src}
		var d Dwell
		for range 250 {
			d.Add(max(math.Round(law.Rand()), 1))
		}
		for _, p := range []float64{0.1, 0.01} {
			x := law.Quantile(1 - p)
			if got := d.Longer(x); got > 2.5*p || got < p/3 {
				t.Errorf("shape %v: probability of a dwell longer than %v is %v, want %v", shape, x, got, p)
			}
			x = law.Quantile(p)
			if got := d.Shorter(x); got > 2.5*p || got < p/4 {
				t.Errorf("shape %v: probability of a dwell shorter than %v is %v, want %v", shape, x, got, p)
			}
		}
	}
}

// TestTrigamma: ψ′ is the derivative of ψ, and ψ′(1) = π²/6.
func TestTrigamma(t *testing.T) {
	if got := trigamma(1); math.Abs(got-math.Pi*math.Pi/6) > 1e-8 {
		t.Errorf("trigamma(1) is %v", got)
	}
	for _, x := range []float64{0.05, 0.5, 2, 10, 1000} {
		h := 1e-4 * x
		want := (mathext.Digamma(x+h) - mathext.Digamma(x-h)) / (2 * h)
		if got := trigamma(x); math.Abs(got/want-1) > 1e-5 {
			t.Errorf("trigamma(%v) is %v, want %v", x, got, want)
		}
	}
}

// TestRareness: a successor is as rare as all that are no more frequent, together.
func TestRareness(t *testing.T) {
	c := NewChain(0.05)
	for range 90 {
		c.count(0, 1)
	}
	for range 9 {
		c.count(0, 2)
	}
	c.count(0, 3)
	for to, want := range map[int]float64{1: 1, 2: 10.05 / 100.05, 3: 1.05 / 100.05, 4: 0.05 / 100.05} {
		if got := c.transition(0, to); math.Abs(got-want) > 1e-12 {
			t.Errorf("probability of state %d is %v, want %v", to, got, want)
		}
	}
}

func TestCountsAreBounded(t *testing.T) {
	c := NewChain(0)
	for i := range 200_000 {
		c.Next(float64(i&1), 1)
	}
	if c.totals[0] >= rowMemory {
		t.Errorf("%d transitions are remembered", c.totals[0])
	}
}

// TestManyStates: what is no stream of states is not judged.
func TestManyStates(t *testing.T) {
	c := NewChain(0)
	rng := rand.New(rand.NewPCG(3, 3))
	alarms := 0
	for i := range 20_000 {
		v := c.Next(rng.NormFloat64(), 1)
		if !(v.Probability > 0 && v.Probability <= 1) {
			t.Fatalf("probability is %v", v.Probability)
		}
		if i > 1000 && v.Probability < 1e-3 {
			alarms++
		}
	}
	if c.States() != MaxStates || alarms > 0 {
		t.Errorf("%d states, %d alarms", c.States(), alarms)
	}
}

func TestAnyReading(t *testing.T) {
	c := NewChain(math.NaN())
	for i, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e308, 0, math.Copysign(0, -1), 5e-324} {
		for range 40 {
			if v := c.Next(x, i-3); !(v.Probability > 0 && v.Probability <= 1) {
				t.Errorf("probability of %v is %v", x, v.Probability)
			}
		}
	}
	if c.States() != 5 { // NaN is none, 0 and −0 are one
		t.Errorf("%d states", c.States())
	}
}

func TestRestart(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	a, b := NewChain(0), NewChain(0)
	next := func() float64 { return float64(rng.IntN(3) * rng.IntN(20)) }
	for range 3000 {
		a.Next(next(), 1)
	}
	if err := state.Restore(&b, state.Bytes(&a)); err != nil {
		t.Fatal(err)
	}
	for range 3000 {
		x := next()
		if v, u := a.Next(x, 1), b.Next(x, 1); v != u {
			t.Fatalf("verdict on %v is %+v, after a restart %+v", x, v, u)
		}
	}
}

func FuzzChainState(f *testing.F) {
	a := NewChain(0)
	for i := range 300 {
		a.Next(float64(i/10%3), 1)
	}
	var w state.Writer
	a.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewChain(0)
		r := state.NewReader(data)
		c.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for i := range 100 {
			if v := c.Next(float64(i/7%5), 1); math.IsNaN(v.Probability) || v.Probability < 0 || v.Probability > 1 {
				t.Fatalf("verdict %+v", v)
			}
		}
	})
}

func TestNoAllocations(t *testing.T) {
	c := NewChain(0)
	i := 0
	if n := testing.AllocsPerRun(5000, func() { i++; c.Next(float64(i/5%4), 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func ExampleChain() {
	c := NewChain(0)
	for i := range 5000 {
		c.Next(float64(i/25%2), 1) // on and off by turns, 25 readings each
	}
	v := c.Next(2, 1)
	fmt.Println(v.Event == NewState, v.Probability < 1e-4)
	// Output: true true
}

func BenchmarkChain(b *testing.B) {
	c := NewChain(0)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		c.Next(float64(i/30%4), 1)
		i++
	}
}

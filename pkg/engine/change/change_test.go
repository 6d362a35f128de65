// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package change_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/change"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func TestCUSUMIsPagesSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	c := change.NewCUSUM(0.5, 1e9)
	// Page's form: the sum of z − k less its minimum so far.
	up, upMin, down, downMin := 0.0, 0.0, 0.0, 0.0
	for i := range 5000 {
		z := rng.NormFloat64()
		up += z - 0.5
		down += -z - 0.5
		upMin, downMin = min(upMin, up), min(downMin, down)
		h := c.Update(z)
		if math.Abs(c.Up()-(up-upMin)) > 1e-9 || math.Abs(c.Down()-(down-downMin)) > 1e-9 || h != max(c.Up(), c.Down()) {
			t.Fatalf("reading %d: sums %v and %v, want %v and %v", i, c.Up(), c.Down(), up-upMin, down-downMin)
		}
	}
}

func TestCUSUMTailProbability(t *testing.T) {
	for _, slack := range []float64{0.25, 0.5, 1} {
		const n = 2_000_000
		rng := rand.New(rand.NewPCG(2, 2))
		c := change.NewCUSUM(slack, math.Inf(1))
		levels := []float64{1.5 / slack, 2.5 / slack}
		counts := make([]float64, len(levels))
		for range n {
			h := c.Update(rng.NormFloat64())
			for i := range levels {
				if h >= levels[i] {
					counts[i]++
				}
			}
		}
		for i, h := range levels {
			got, want := counts[i]/n, c.TailProbability(h)
			if got < 0.8*want || got > 1.25*want {
				t.Errorf("slack %v: a share of %v of the sums reach %v, want about %v", slack, got, h, want)
			}
		}
	}
}

func TestCUSUMLimitBoundsItsMemory(t *testing.T) {
	c := change.NewCUSUM(0.5, 10)
	for range 1000 {
		c.Update(5)
	}
	n := 0
	for ; c.Up() > 0; n++ {
		c.Update(0)
	}
	if n > 20 {
		t.Errorf("a departure is forgotten after %d readings, want at most limit/slack = 20", n)
	}
}

func TestSelfStartingFindsADriftOfEitherSign(t *testing.T) {
	for _, sign := range []float64{-1, 1} {
		for _, scale := range []float64{1e-6, 1, 1e6} {
			rng := rand.New(rand.NewPCG(3, 3))
			s := change.NewSelfStarting(0.5, 500)
			const start, slope = 1000, 0.01 // a standard deviation in 100 readings
			found := -1
			for i := 0; i < 2000 && found < 0; i++ {
				x := 7 + rng.NormFloat64() + sign*slope*float64(max(0, i-start))
				v := s.Update(x*scale, 1e-12)
				if v.P < 1e-4 {
					found = i
					if v.Up != (sign > 0) {
						t.Errorf("drift of sign %v is found in the other direction", sign)
					}
				}
			}
			if found < start || found > start+250 {
				t.Errorf("sign %v, scale %v: drift from reading %d on is found at %d, want within 250", sign, scale, start, found)
			}
		}
	}
}

func TestSelfStartingLearnsDependence(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	s := change.NewSelfStarting(0.5, 500)
	x, found := 0.0, 0
	const n = 200_000
	for i := range n {
		x = 0.9*x + rng.NormFloat64() // neighbours correlate by 0.9
		if s.Update(x, 1e-12).P < 1.25e-4 && i > 500 {
			found++
		}
	}
	if found > n/8000 {
		t.Errorf("%d of %d dependent readings are found, want at most the nominal %d", found, n, n/8000)
	}
}

func TestJump(t *testing.T) {
	j := change.NewJump(100)
	rng := rand.New(rand.NewPCG(5, 5))
	x := 0.0
	for range 500 {
		x = rng.NormFloat64()
		if rng.IntN(2) == 0 {
			j.Update(x, 1e-9)
		}
		j.Update(x, 1e-9) // standing still is not learned
	}
	p, step := j.Update(x+20, 1e-9)
	if step != 20 || math.Abs(p.Mean-x) > 0.5 || math.Abs(p.Scale()-math.Sqrt2) > 0.4 {
		t.Errorf("step %v from %v ± %v, want 20 from %v ± √2", step, p.Mean, p.Scale(), x)
	}
	if z := p.Z(x + 20); z < 6 {
		t.Errorf("deviate is %v, want more than 6", z)
	}
	steps := j.Steps()
	j.Skip(1e6)
	if p, step := j.Update(1e6+1, 1e-9); step != 1 || p.Z2(1e6+1) > 2 || j.Steps() != steps+1 {
		t.Errorf("after a skip: step %v, squared deviate %v, want an ordinary step of 1", step, p.Z2(1e6+1))
	}
}

func TestFirstStepsAreJudgedLeniently(t *testing.T) {
	j := change.NewJump(100)
	for i, x := range []float64{0, 1, 2, 1, 0, 1, 1000} {
		p, _ := j.Update(x, 1e-9)
		if z2 := p.Z2(x); z2 > 15 {
			t.Errorf("reading %d: squared deviate %v out of so few steps, want at most 15", i, z2)
		}
	}
}

func TestStateRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	a, b := change.NewSelfStarting(0.5, 100), change.NewSelfStarting(0.5, 100)
	ja, jb := change.NewJump(50), change.NewJump(50)
	for range 300 {
		x := rng.NormFloat64()
		a.Update(2*x, 1e-9)
		ja.Update(x, 1e-9)
		b.Update(x-7, 1e-9) // another past
	}
	var w state.Writer
	a.EncodeState(&w)
	ja.EncodeState(&w)
	r := state.NewReader(w.Bytes)
	b.DecodeState(r)
	jb.DecodeState(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		x := rng.NormFloat64() + float64(i)/20
		pa, _ := ja.Update(x, 1e-9)
		pb, _ := jb.Update(x, 1e-9)
		if va, vb := a.Update(x, 1e-9), b.Update(x, 1e-9); va != vb || pa != pb {
			t.Fatalf("reading %d: %+v and %+v, want the same", i, va, vb)
		}
	}
}

func FuzzDecodeState(f *testing.F) {
	s := change.NewSelfStarting(0.5, 100)
	s.Update(1, 1)
	var w state.Writer
	s.EncodeState(&w)
	f.Add(w.Bytes)
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, r := change.NewSelfStarting(0.5, 100), state.NewReader(data)
		s.DecodeState(r)
		if r.Err() == nil {
			for _, x := range []float64{0, 1e150, -1e150, 3, 3} {
				if v := s.Update(x, 1e-9); !(v.P >= 0 && v.P <= 1) {
					t.Errorf("probability of %v is %v", x, v.P)
				}
			}
		}
		j, r := change.NewJump(100), state.NewReader(data)
		j.DecodeState(r)
		if r.Err() == nil {
			for _, x := range []float64{0, 1e150, -1e150, 3, 3} {
				if p, _ := j.Update(x, 1e-9); math.IsNaN(p.Z2(x)) {
					t.Errorf("deviate of %v is NaN", x)
				}
			}
		}
	})
}

func TestNothingAllocates(t *testing.T) {
	s, j, x := change.NewSelfStarting(0.5, 100), change.NewJump(100), 0.0
	if n := testing.AllocsPerRun(500, func() {
		x = math.Mod(x*1.7+0.3, 5)
		s.Update(x, 1e-9)
		j.Update(x, 1e-9)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func ExampleCUSUM() {
	c := change.NewCUSUM(0.5, 20)
	for i, z := range []float64{0.2, -0.4, 1.5, 1.3, 1.6, 1.4, 1.5} { // from the third on, one and a half too high
		h := c.Update(z)
		fmt.Printf("%d: sum %.1f, chance %.3f\n", i, h, c.TailProbability(h))
	}
	// Output:
	// 0: sum 0.0, chance 1.000
	// 1: sum 0.0, chance 1.000
	// 2: sum 1.0, chance 0.411
	// 3: sum 1.8, chance 0.185
	// 4: sum 2.9, chance 0.061
	// 5: sum 3.8, chance 0.025
	// 6: sum 4.8, chance 0.009
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package quantile_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// TestLogTailHolds: of new values, no more than the promised share has that much evidence, up to a factor of 2.5 and the
// scatter of the count.
func TestLogTailHolds(t *testing.T) {
	for name, draw := range map[string]func(*rand.Rand) float64{
		"exponential": func(r *rand.Rand) float64 { return r.ExpFloat64() },
		"half normal": func(r *rand.Rand) float64 { return math.Abs(r.NormFloat64()) },
		"log normal":  func(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) },
		"power law":   func(r *rand.Rand) float64 { return math.Pow(r.Float64(), -1.0/3) },
		"of levels":   func(r *rand.Rand) float64 { return float64(1 + r.IntN(4)) },
		"of one":      func(*rand.Rand) float64 { return 1 },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			var tail quantile.LogTail
			const n = 200_000
			var over [6]float64
			for i := range n {
				x := draw(r)
				if i >= 2000 {
					e := tail.Evidence(x)
					for k := range over {
						if e >= float64(k) {
							over[k]++
						}
					}
				}
				tail.Add(x)
			}
			for k, got := range over {
				want := n * math.Pow(10, -float64(k))
				if got > 2.5*want+3*math.Sqrt(want)+3 {
					t.Errorf("evidence of %d and more in %v of %d values, want about %.0f", k, got, n, want)
				}
			}
		})
	}
}

func TestLogTailRises(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var tail quantile.LogTail
	for range 5000 {
		tail.Add(r.ExpFloat64())
	}
	last := -1.0
	for x := 1e-4; x < 1e9; x *= 1.01 {
		e := tail.Evidence(x)
		if e < last-1e-9 || e < 0 {
			t.Fatalf("evidence of %v is %v, after %v of a smaller value", x, e, last)
		}
		last = e
	}
	if last < 10 {
		t.Errorf("evidence of 1e9 is %v, want more than 10", last)
	}
}

func TestLogTailTakesAnything(t *testing.T) {
	var tail quantile.LogTail
	for _, x := range []float64{math.NaN(), 0, -1, math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64} {
		for range 40 {
			tail.Add(x)
			if e := tail.Evidence(x); math.IsNaN(e) || e < 0 || e > 30 {
				t.Fatalf("evidence of %v is %v", x, e)
			}
		}
	}
}

func FuzzLogTailDecodeState(f *testing.F) {
	var tail quantile.LogTail
	for i := range 100 {
		tail.Add(float64(i))
	}
	var w state.Writer
	tail.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		var tail quantile.LogTail
		r := state.NewReader(data)
		tail.DecodeState(r)
		if r.Close() != nil {
			return
		}
		for x := 1e-3; x < 1e6; x *= 7 {
			if e := tail.Evidence(x); math.IsNaN(e) || e < 0 {
				t.Fatalf("evidence of %v is %v", x, e)
			}
			tail.Add(x)
		}
		var w state.Writer
		tail.EncodeState(&w)
		back := state.NewReader(w.Bytes)
		var again quantile.LogTail
		if again.DecodeState(back); back.Close() != nil || again != tail {
			t.Fatal("what was encoded is not what is decoded")
		}
	})
}

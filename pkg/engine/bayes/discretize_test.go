// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiscretizerLevels(t *testing.T) {
	d, err := LearnDiscretizer([]float64{300, 0, 200, math.NaN(), 100, 0, 0, 300}, Discretize{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "100", "200", "300"}, d.States()); diff != "" {
		t.Error(diff)
	}
	for v, want := range map[float64]uint8{-5: 0, 0: 0, 49: 0, 51: 1, 199: 2, 1e9: 3, math.Inf(1): Missing} {
		if got := d.State(v); got != want {
			t.Errorf("State(%v) = %d, want %d", v, got, want)
		}
	}
	if got := d.State(math.NaN()); got != Missing {
		t.Errorf("State(NaN) = %d", got)
	}
	if got := d.Value(2); got != 200 {
		t.Errorf("Value(2) = %v", got)
	}
	if !math.IsNaN(d.Value(Missing)) || !math.IsNaN(d.Value(4)) {
		t.Error("a value for no state")
	}
	if d, err = LearnDiscretizer([]float64{7, 7}, Discretize{}); err != nil || d.Len() != 1 || d.State(3) != 0 {
		t.Errorf("a constant: %v, %v", d, err)
	}
}

// Readings around four levels of brightness, with noise, become a state each; the gaps between them are states too, into
// which next to nothing falls.
func TestDiscretizerFindsClusters(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 4000)
	for i := range values {
		values[i] = 100*float64(i%4) + 3*r.NormFloat64()
	}
	d, err := LearnDiscretizer(values, Discretize{MaxBins: 10})
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[uint8]int)
	for _, center := range []float64{0, 100, 200, 300} {
		s := d.State(center)
		if used[s]++; d.State(center-9) != s && center > 0 && d.State(center-20) == s {
			t.Errorf("the state of %v reaches too far", center)
		}
	}
	if len(used) != 4 {
		t.Errorf("4 levels fall into %d of the states %v", len(used), d.States())
	}
	for i := range d.States()[:d.Len()-1] {
		if v := d.Value(uint8(i)); d.State(v) != uint8(i) || v >= d.Value(uint8(i+1)) {
			t.Errorf("the value %v of state %d is in state %d", v, i, d.State(v))
		}
	}
}

func TestDiscretizerBins(t *testing.T) {
	uniform := make([]float64, 1000)
	for i := range uniform {
		uniform[i] = float64(i)
	}
	d, err := LearnDiscretizer(uniform, Discretize{MaxBins: 4, Quantiles: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"<250", "250..500", "500..750", ">=750"}, d.States()); diff != "" {
		t.Error(diff)
	}
	if d, err = LearnDiscretizer(uniform, Discretize{MaxBins: 4}); err != nil || d.Len() != 4 {
		t.Errorf("a uniform density falls back to quantiles: %v, %v", d.States(), err)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for trial := range 50 {
		values := make([]float64, 13+r.IntN(2000))
		for i := range values {
			values[i] = math.Exp(float64(trial%7) * r.NormFloat64())
			if trial%5 == 0 {
				values[i] = math.Round(values[i])
			}
		}
		d, err := LearnDiscretizer(values, Discretize{MaxLevels: 5, MaxBins: 6})
		if err != nil {
			t.Fatal(err)
		}
		if d.Len() < 1 || d.Len() > 6 || !slices.IsSorted(d.cuts) || len(d.States()) != d.Len() {
			t.Fatalf("trial %d: %d states, cuts %v", trial, d.Len(), d.cuts)
		}
		for _, v := range values {
			if int(d.State(v)) >= d.Len() {
				t.Fatalf("trial %d: state %d of %v", trial, d.State(v), v)
			}
		}
	}
}

func TestDiscretizerCategories(t *testing.T) {
	d, err := LearnDiscretizer(nil, Discretize{Categories: []string{"off", "on"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"off", "on", "other"}, d.States()); diff != "" {
		t.Error(diff)
	}
	for v, want := range map[float64]uint8{0: 0, 1: 1, 2: 2, -1: 2, 0.5: 2, 1e300: 2, math.Inf(-1): 2} {
		if got := d.State(v); got != want {
			t.Errorf("State(%v) = %d, want %d", v, got, want)
		}
	}
	if d.Value(1) != 1 || !math.IsNaN(d.Value(2)) {
		t.Errorf("Value(1) = %v, Value(2) = %v", d.Value(1), d.Value(2))
	}
}

func TestDiscretizerRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		opt    Discretize
	}{
		"nothing":    {nil, Discretize{}},
		"only NaN":   {[]float64{math.NaN()}, Discretize{}},
		"infinite":   {[]float64{1, math.Inf(1)}, Discretize{}},
		"levels":     {[]float64{1}, Discretize{MaxLevels: 1000}},
		"one bin":    {[]float64{1}, Discretize{MaxBins: 1}},
		"same names": {nil, Discretize{Categories: []string{"a", "a"}}},
		"other":      {nil, Discretize{Categories: []string{"other"}}},
	} {
		if _, err := LearnDiscretizer(c.values, c.opt); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

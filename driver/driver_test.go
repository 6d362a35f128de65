// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver_test

import (
	"math"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

func TestKeyString(t *testing.T) {
	for _, c := range []struct {
		key  driver.Key
		want string
	}{
		{driver.Key{Namespace: "default", Device: "light-1", Property: "power"}, "default/light-1/power"},
		{driver.Key{Namespace: "default", Device: "light-1"}, "default/light-1"},
	} {
		if got := c.key.String(); got != c.want {
			t.Errorf("%#v is %q, want %q", c.key, got, c.want)
		}
	}
}

func TestTailScore(t *testing.T) {
	for _, c := range []struct{ p, want float64 }{
		{2, 0},
		{1, 0},
		{1.0 / 8, 0.5},
		{1e-3, 0.9}, // the scale of the documentation: one in 1,000, 8,000 and 125,000 readings
		{1.0 / 8000, 0.95},
		{1.0 / 125000, 0.98},
		{0, 1},
		{-1, 1},
		{math.Inf(1), 0},
		{math.NaN(), math.NaN()},
	} {
		got := driver.TailScore(c.p)
		if !(math.Abs(got-c.want) < 1e-12) && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("TailScore(%v) = %v, want %v", c.p, got, c.want)
		}
	}
}

func TestTailProbabilityInvertsTailScore(t *testing.T) {
	for p := 1.0; p > 1e-12; p *= 0.7 {
		if got := driver.TailProbability(driver.TailScore(p)); math.Abs(got-p) > 1e-4*p {
			t.Errorf("probability %v comes back as %v", p, got)
		}
	}
	for s, want := range map[float64]float64{-1: 1, 2: 0} {
		if got := driver.TailProbability(s); got != want {
			t.Errorf("TailProbability(%v) = %v, want %v", s, got, want)
		}
	}
}

func TestCriticalIs125TimesRarer(t *testing.T) {
	for _, threshold := range []float64{0.5, 0.9, 0.95, 0.999} {
		ratio := driver.TailProbability(threshold) / driver.TailProbability(driver.CriticalScore(threshold))
		if math.Abs(ratio-125) > 1e-6 {
			t.Errorf("at threshold %v critical is %v times rarer, want 125", threshold, ratio)
		}
	}
}

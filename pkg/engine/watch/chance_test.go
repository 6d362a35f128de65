// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

// TestRepeatsByChance: independent readings with two decimals repeat now and then, and once more as easily. That is no
// freeze, however few repeats were seen before.
func TestRepeatsByChance(t *testing.T) {
	const streams, rows = 120, 1500
	alarms := 0
	for seed := range uint64(streams) {
		r := rand.New(rand.NewPCG(seed, 6))
		d := watch.New(watch.Config{})
		for i := range rows {
			if d.Next(math.Round(2000+20*r.NormFloat64())/100, int64(i)*minute).Kind == watch.Freeze {
				alarms++
			}
		}
	}
	if most := streams * rows / 8000 / 2; alarms > most {
		t.Errorf("%d readings of %d are part of a freeze, want at most %d", alarms, streams*rows, most)
	}
}

// TestBackFromNoise: scatter of three times the usual, in which some readings look normal, is over when it is: what began
// within it is not held against one of its own readings.
func TestBackFromNoise(t *testing.T) {
	for seed := uint64(100); seed < 180; seed++ {
		r := rand.New(rand.NewPCG(seed, 7))
		s := watch.NewStream(watch.Config{Least: 1 << 50})
		next := func(i int, scatter float64) watch.Verdict {
			v, _ := s.Next(20+.25*scatter*r.NormFloat64(), int64(i)*minute)
			return v
		}
		i := 0
		for ; i < 800; i++ {
			next(i, 1)
		}
		for ; i < 900; i++ {
			next(i, 3)
		}
		open := 0
		for ; i < 1100; i++ {
			if next(i, 1).Open && i >= 1000 {
				open++
			}
		}
		if open > 50 {
			t.Errorf("stream %d: %d of the readings from 100 to 300 after the noise are still part of an incident", seed, open)
		}
	}
}

// A fault of eight hours in a stream with a daily rhythm is one incident, which is over soon after it is, and no echo comes:
// not at its end, nor on the next day, when readings are held against those of the fault. Snapshots change nothing.
func TestSeasonAfterAFault(t *testing.T) {
	const from, to, day = 2400, 2501, 288
	for name, fault := range map[string]func(x, before float64, i int, r *rand.Rand) float64{
		"level":  func(x, _ float64, _ int, _ *rand.Rand) float64 { return x + 6 },
		"frozen": func(_, before float64, _ int, _ *rand.Rand) float64 { return before },
		"drift":  func(x, _ float64, i int, _ *rand.Rand) float64 { return x + 6*float64(i-from)/(to-from) },
		"noise":  func(x, _ float64, _ int, r *rand.Rand) float64 { return x + 2*r.NormFloat64() },
	} {
		began, ended := 0, 0
		for seed := range uint64(10) {
			r := rand.New(rand.NewPCG(seed, 8))
			s, kept := watch.NewStream(watch.Config{}), watch.NewStream(watch.Config{})
			open, before := false, 0.0
			for i := range to + 2*day {
				x := 20 + 5*math.Sin(2*math.Pi*(float64(i)/day+float64(seed)/20)) + .15*r.NormFloat64()
				if i >= from && i < to {
					x = fault(x, before, i, r)
				}
				x = math.Round(1000*x) / 1000
				before = x
				at := int64(i) * 5 * minute
				v, _ := s.Next(x, at)
				if i%97 == 0 {
					state.Bytes(kept)
				}
				if w, _ := kept.Next(x, at); w != v {
					t.Fatalf("%s, reading %d: %+v after snapshots, want %+v", name, i, w, v)
				}
				if v.Began && i >= from {
					began++
				}
				if open && !v.Open && i >= to && i < to+20 {
					ended++
				}
				open = v.Open
			}
		}
		if began > 13 || ended < 8 {
			t.Errorf("10 times %s: %d incidents, of which %d end within 20 readings of the fault", name, began, ended)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"math"
	"math/rand/v2"
	"testing"

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

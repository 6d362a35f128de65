// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// marked counts the readings at which a fault of the time between readings stands, and how often one begins.
func marked(q *Quality, c *QualityConfig, stamps []stamp) (readings, verdicts int) {
	before := driver.KindNone
	for _, s := range stamps {
		_, _, kind := run(q, c, []stamp{s})
		if kind == driver.KindMissing || kind == driver.KindLate {
			readings++
			if before == driver.KindNone {
				verdicts++
			}
		}
		before = kind
	}
	return readings, verdicts
}

// lossy makes n readings of which each came with a probability of 1 − p.
func lossy(rng *rand.Rand, from float64, n int, p float64) []stamp {
	var s []stamp
	for len(s) < n {
		if from++; rng.Float64() >= p {
			s = append(s, stamp{from, rng.Float64()})
		}
	}
	return s
}

// A network that loses readings evenly is the way of the stream, not a fault of the sensor; losing more than that is, and so
// is an outage, once.
func TestEvenLossesAreNoFault(t *testing.T) {
	for _, p := range []float64{0, 0.02, 0.05, 0.1, 0.2} {
		for _, cycle := range []time.Duration{0, testCycle} {
			t.Run(fmt.Sprintf("%v, cycle %v", p, cycle), func(t *testing.T) {
				c := DefaultQuality()
				c.Cycle = cycle
				const n, streams = 6000, 10
				var q Quality
				var rng *rand.Rand
				total := 0
				for seed := range uint64(streams) {
					q, rng = Quality{}, rand.New(rand.NewPCG(seed, 7))
					got, _ := marked(&q, &c, lossy(rng, 0, n, p))
					total += got
				}
				if total > n*streams/100 {
					t.Errorf("%d of %d readings are marked", total, n*streams)
				}
				if p > 0.1 && cycle == 0 { // the cycle is hardly known
					return
				}
				_, verdicts := marked(&q, &c, lossy(rng, 1e6, 500, p))
				if verdicts != 1 {
					t.Errorf("an outage makes %d verdicts, want 1", verdicts)
				}
				if got, _ := marked(&q, &c, lossy(rng, 2e6, 300, 0.6)); cycle > 0 && got < 20 {
					t.Errorf("%d readings are marked while most are lost", got)
				}
			})
		}
	}
}

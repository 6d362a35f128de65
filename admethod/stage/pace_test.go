// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// marked counts the readings at which such a fault stands that may be the way of a stream, and how often one begins.
func marked(q *Quality, c *QualityConfig, stamps []stamp) (readings, verdicts int) {
	before := driver.KindNone
	for _, s := range stamps {
		_, _, kind := run(q, c, []stamp{s})
		if kind == driver.KindMissing || kind == driver.KindLate || kind == driver.KindInvalid || kind == driver.KindDuplicate {
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

// A gateway that says N/A now and then, evenly, is the way of the stream. One that says nothing else is a fault, that
// lasts as long as this, and ends with it.
func TestEvenInvalidReadingsAreNoFault(t *testing.T) {
	for _, persist := range []int{1, 3, 10} {
		for _, p := range []float64{0, 0.01, 0.1, 0.3, 0.45} {
			t.Run(fmt.Sprintf("%v, persist %d", p, persist), func(t *testing.T) {
				c := DefaultQuality()
				c.Persist = persist
				const n, dead = 6000, 1000
				for seed := range uint64(10) {
					rng := rand.New(rand.NewPCG(seed, 8))
					var q Quality
					at := 0.0
					some := func(n int, p float64) (s []stamp) {
						for range n {
							at++
							v := rng.Float64()
							if rng.Float64() < p {
								v = math.NaN()
							}
							s = append(s, stamp{at, v})
						}
						return s
					}
					if got, _ := marked(&q, &c, some(n, p)); got > max(n/15, 90*persist) { // until that is known
						t.Errorf("%d of %d readings are marked", got, n)
					}
					late := 60 * persist // until it is told, and until it is over
					if got, verdicts := marked(&q, &c, some(dead, 1)); got < dead-late || verdicts > 2 {
						t.Errorf("%d of %d readings are marked while none is a number, in %d verdicts", got, dead, verdicts)
					}
					marked(&q, &c, some(late, 0))
					if _, _, kind := run(&q, &c, some(1, 0)); kind != driver.KindNone {
						t.Errorf("%v still stands", kind)
					}
				}
			})
		}
	}
}

// A gateway that says things twice, all of them or some, is the way of the stream after a few hundred readings. One that
// begins to is a fault.
func TestEvenRepeatsAreNoFault(t *testing.T) {
	for _, p := range []float64{0.1, 0.5, 1} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			c := DefaultQuality()
			rng := rand.New(rand.NewPCG(3, 9))
			at := 0.0
			some := func(n int, p float64) (s []stamp) {
				for len(s) < n {
					at++
					s = append(s, stamp{at, rng.Float64()})
					if rng.Float64() < p {
						s = append(s, s[len(s)-1])
					}
				}
				return s
			}
			var always, begins Quality
			if got, verdicts := marked(&always, &c, some(3000, p)); got > 300 || verdicts > 1 {
				t.Errorf("%d of 3000 readings are marked in %d verdicts", got, verdicts)
			}
			if got, _ := marked(&begins, &c, some(3000, 0)); got > 0 {
				t.Errorf("%d readings are marked of which none is repeated", got)
			}
			if got, _ := marked(&begins, &c, some(200, p)); p >= 0.5 && got < 150 {
				t.Errorf("%d of 200 readings are marked after it began", got)
			}
		})
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package watch_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

// TestLastingJump: a jump that lasts is one incident until it is accepted as the new normal, and for good where nothing
// is, after however little was learned. Of streams that wander, 5 standard deviations are not far enough for that: they
// go there anyway.
func TestLastingJump(t *testing.T) {
	const lasts = 2000
	seeds := uint64(1)
	if os.Getenv("EDGE_ANOMALY_HEAVY") != "" {
		seeds = 4
	}
	for _, p := range []float64{0, .9, .99, .999} {
		for _, n := range []int{300, 600, 1200, 2000} {
			for _, jump := range []float64{5, 10, 20, 50} {
				if p > 0 && jump < 10 {
					continue
				}
				for _, accept := range []time.Duration{0, -1} {
					t.Run(fmt.Sprintf("p=%v/n=%d/jump=%v/accept=%d", p, n, jump, accept), func(t *testing.T) {
						began, held, want, lost := 0, 0, 0, ""
						for seed := range seeds {
							r := rand.New(rand.NewPCG(seed, 5))
							s := watch.NewStream(watch.Config{Accept: accept})
							v := r.NormFloat64()
							on := false
							for i := range n + lasts {
								v = p*v + math.Sqrt(1-p*p)*r.NormFloat64()
								x := 20 + .3*v
								if i >= n {
									x += .3 * jump
								}
								got, _ := s.Next(math.Round(x*1000)/1000, int64(i)*int64(50*time.Millisecond))
								if i < n {
									continue
								}
								if got.Accepted {
									if i-n < 100 || accept < 0 {
										t.Errorf("accepted after %d readings", i-n)
									}
									break
								}
								if on = on || got.Open; !on {
									continue
								}
								want++
								if got.Open {
									held++
								} else if lost == "" {
									lost = fmt.Sprintf("seed %d after %d readings", seed, i-n)
								}
							}
							if on {
								began++
							}
						}
						if n >= 600 && began < int(seeds) || float64(held) < .95*float64(want) {
							t.Errorf("%d of %d jumps begin an incident, which lasts for %.3f of the readings; one ended: %s", began, seeds,
								float64(held)/max(float64(want), 1), lost)
						}
					})
				}
			}
		}
	}
}

// TestLastingFreeze: a stream that stands still for good is one incident until that is accepted, and none after it.
func TestLastingFreeze(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour} {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 6))
			s := watch.NewStream(watch.Config{})
			began, accepted, x := 0, 0, 0.
			for i := range 3000 {
				if i < 700 {
					x = 20 + .1*math.Round(20*r.NormFloat64())
				}
				v, _ := s.Next(x, int64(i)*int64(every))
				if v.Began && i > 700 {
					began++
				}
				if v.Accepted {
					accepted++
				}
			}
			if began != 1 || accepted != 1 {
				t.Errorf("every %v, seed %d: %d incidents and accepted %d times, want one that is accepted once", every, seed, began, accepted)
			}
		}
	}
}

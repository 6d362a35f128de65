// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// A level that may not be accepted is told until it is over, and one that may be after an hour is told for an hour at
// least; what may be learned at once is. Where none of it was learned each finds the next one.
func TestSimpleDetectorsHoldALevel(t *testing.T) {
	const begin, end, again, n = 1000, 1600, 2200, 2300 // minutes
	for _, name := range []string{ewmaName, madName, forecastName} {
		for accept, least := range map[time.Duration]int{driver.NeverAccept: end - begin, time.Hour: 60, 0: 1} {
			t.Run(fmt.Sprint(name, " ", accept), func(t *testing.T) {
				for seed := range seeds() {
					r := rand.New(rand.NewPCG(seed, 84))
					x := each(n, func(i int) float64 {
						v := 20 + .5*r.NormFloat64()
						if i >= begin && i < end || i >= again {
							v += 5
						}
						return v
					})
					rs := verdicts(t, name, made{x: x}, func(s *driver.Settings) { s.Accept = accept })
					if got := share(rs[begin : begin+least]); got < 0.99 {
						t.Errorf("seed %d: %.3f of the first %d readings are told, want 0.99", seed, got, least)
					}
					if got := share(rs[begin:end]); accept >= 0 && got > 0.5 {
						t.Errorf("seed %d: %.3f of the readings are told, and it was to be accepted", seed, got)
					}
					if got := share(rs[end+200 : again]); got > 0.01 || accept < 0 && !found(rs[again:again+3]) {
						t.Errorf("seed %d: %.3f of the readings after it are told, the next level: %v", seed, got, found(rs[again:again+3]))
					}
				}
			})
		}
	}
}

// What is held survives a restart, and costs no allocation.
func TestContractOfDetectorsThatHold(t *testing.T) {
	for _, name := range []string{ewmaName, madName, forecastName} {
		for _, accept := range []time.Duration{driver.NeverAccept, 10 * time.Minute} {
			t.Run(fmt.Sprint(name, " ", accept), func(t *testing.T) {
				f, err := driver.Default.Lookup(name)
				if err != nil {
					t.Fatal(err)
				}
				drivertest.Check(t, f, drivertest.Settings(func(s *driver.Settings) { s.Accept = accept }))
			})
		}
	}
}

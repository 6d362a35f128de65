// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Of the clause on incidents, in readings.
const (
	endsWithin  = 100  // after the stream is back an incident is over
	restsFor    = 1500 // between two faults
	faultOffset = 10   // in units of the noise's: 20 standard deviations

	acceptAfter = 200  // is accepted what lasts
	goesOnFor   = 1000 // as it was accepted
)

// endsIncidents checks detectors that follow incidents themselves: one of any length ends when the stream is back, for a
// detector that may accept nothing, and the second fault is found as the first.
func (s *suite) endsIncidents() error {
	for _, length := range []int{1, 20, 300, 2000} {
		settings := s.settings()
		settings.Accept = driver.NeverAccept
		d, err := s.factory.Open(settings, s.config)
		if err != nil {
			return fmt.Errorf("cannot open: %w", err)
		}
		rng := rand.New(rand.NewPCG(uint64(length), 12))
		first, second := s.warmUp, s.warmUp+length+restsFor
		rows := s.rowsOf(second+length, func(i, m int) float64 {
			v := 20 + float64(m) + 0.5*rng.NormFloat64()
			if m == 0 && (i >= first && i < first+length || i >= second) {
				v += faultOffset
			}
			return v
		})
		results := run(d, rows)
		if !follows(results[first : first+length]) {
			continue
		}
		for i := first + length + endsWithin; i < second; i++ {
			if r := &results[i]; r.Ongoing && overlaps(results, first+length, i) {
				return fmt.Errorf("an incident of %d readings still lasts %d readings after the stream is back", length, i-first-length+1)
			}
		}
		a, b := worst(results[first:first+length]), worst(results[second:])
		if math.Abs(a-b) > 0.1*a {
			return fmt.Errorf("of two equal faults of %d readings the first scores %.3f, the second %.3f", length, a, b)
		}
	}
	return nil
}

// acceptsForGood checks that what was accepted is normal as long as it goes on: a level, noise and all, and a value that
// stands still.
func (s *suite) acceptsForGood() error {
	for _, fault := range []struct {
		name  string
		noise float64
	}{{"level", 0.5}, {"freeze", 0}} {
		settings := s.settings()
		settings.Accept = acceptAfter * cycle
		d, err := s.factory.Open(settings, s.config)
		if err != nil {
			return fmt.Errorf("cannot open: %w", err)
		}
		rng := rand.New(rand.NewPCG(3, 12))
		results := run(d, s.rowsOf(s.warmUp+3*acceptAfter+goesOnFor, func(i, m int) float64 {
			noise := rng.NormFloat64()
			if m == 0 && i >= s.warmUp {
				return 20 + faultOffset + fault.noise*noise
			}
			return 20 + float64(m) + 0.5*noise
		}))
		accepted := slices.IndexFunc(results, func(r driver.Result) bool { return r.Accepted })
		if accepted < 0 {
			continue
		}
		if again := slices.IndexFunc(results[accepted+1:], func(r driver.Result) bool { return r.Ongoing }); again >= 0 {
			return fmt.Errorf("a %s that was accepted after %d readings and goes on is an incident anew %d readings later: %s", fault.name, accepted-s.warmUp, again+1, results[accepted+1+again].Kind)
		}
	}
	return nil
}

// follows reports whether a detector tells that something lasts.
func follows(results []driver.Result) bool {
	for i := range results {
		if results[i].Ongoing {
			return true
		}
	}
	return false
}

// overlaps reports whether what lasts at a reading has lasted since before the given one.
func overlaps(results []driver.Result, since, at int) bool {
	for i := since; i <= at; i++ {
		if !results[i].Ongoing {
			return false
		}
	}
	return true
}

func worst(results []driver.Result) float64 {
	most := 0.0
	for i := range results {
		if results[i].Score > most {
			most = results[i].Score
		}
	}
	return most
}

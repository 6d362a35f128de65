// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// restartSignals are ten kinds of streams: in good order and not, smooth and coarse, short and long of memory.
func restartSignals() map[string]signal {
	return map[string]signal{
		"noise":        gaussian(31),
		"coarse noise": rounded(gaussian(32), 0.5),
		"rhythm":       seasonal(33, 24),
		"long rhythm":  plus(rhythm(34), pulse(3000, 40, 9)),
		"coarse":       coarse(35),
		"missing":      gappy(gaussian(36)),
		"stands still": then(gaussian(37), 900, constant(20)),
		"light":        light(38),
		"setpoint":     setpoint(39),
		"counter":      counter(40),
	}
}

// A detector that is stopped and restored from its snapshot judges as one that was never stopped, whatever the length and
// whatever it restores itself over: on every signal at each of the first lengths, and then at one length in stride, on
// each signal at others, so that together they have every length; make test stops at 1,000 readings, make test-long at 5,000.
func TestRestartAtEveryLength(t *testing.T) {
	for _, f := range driver.Default.Factories() {
		name := f.Info().Name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			members, length, stride := 1, 1000, 5
			if slices.Contains(groupDrivers(), name) {
				members, stride = 3, 29 // their states are large
			}
			signals := restartSignals()
			if heavy() {
				length = 5000
			}
			if testing.Short() {
				length = 500
				for kind := range signals {
					if kind != "rhythm" && kind != "coarse noise" && kind != "light" {
						delete(signals, kind)
					}
				}
			}
			for phase, kind := range slices.Sorted(maps.Keys(signals)) {
				if err := restartEach(t, name, members, length, stride, phase, signals[kind]); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			}
		})
	}
}

func restartEach(t *testing.T, name string, members, length, stride, phase int, s signal) error {
	one := func() *groupFeeder {
		if members == 1 {
			return &groupFeeder{d: open(t, name, nil), row: make(driver.Row, 1)}
		}
		return openGroup(t, name, driver.Settings{Members: plantMembers(members)}, nil)
	}
	steady, stopped, other := one(), one(), one()
	if _, ok := steady.d.(encoding.BinaryMarshaler); !ok {
		return nil
	}
	values := make([]float64, members)
	for i := range length {
		x := s(i)
		for j := range values {
			values[j] = x*float64(j+1) + float64(i*(j+3)%7)*0.1*float64(min(j, 1))
		}
		want := steady.feed(values...)
		got := stopped.feed(values...)
		if difference := resultsDiffer(want, got); difference != "" {
			return fmt.Errorf("reading %d: never stopped and restored differ: %s", i, difference)
		}
		if (i+phase)%stride != 0 && (i > 600 || members > 1) {
			continue
		}
		data, err := stopped.d.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			return fmt.Errorf("after %d readings: %w", i+1, err)
		}
		if err := other.d.(encoding.BinaryUnmarshaler).UnmarshalBinary(data); err != nil {
			return fmt.Errorf("after %d readings it refuses its own snapshot: %w", i+1, err)
		}
		other.n = stopped.n
		stopped, other = other, stopped // what the other knew before must be gone
	}
	return nil
}

// resultsDiffer names the first field in which two verdicts differ.
func resultsDiffer(a, b *driver.Result) string {
	numbers := func(r *driver.Result) []float64 {
		return []float64{r.Score, r.Onset, r.Confidence, r.Value, r.Expected, r.Lower, r.Upper}
	}
	switch {
	case a.Severity != b.Severity:
		return fmt.Sprintf("severity %v, %v", a.Severity, b.Severity)
	case a.Kind != b.Kind:
		return fmt.Sprintf("kind %q, %q", a.Kind, b.Kind)
	case a.Ongoing != b.Ongoing || a.Accepted != b.Accepted:
		return fmt.Sprintf("ongoing %t and accepted %t, %t and %t", a.Ongoing, a.Accepted, b.Ongoing, b.Accepted)
	case !slices.Equal(a.Causes, b.Causes):
		return fmt.Sprintf("causes %v, %v", a.Causes, b.Causes)
	}
	theirs := numbers(b)
	for i, x := range numbers(a) {
		if y := theirs[i]; x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
			return fmt.Sprintf("number %d: %v, %v", i, x, y)
		}
	}
	return ""
}

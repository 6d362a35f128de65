// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Letters in capitals are labelled, those of an incident are d and e.
func TestTruth(t *testing.T) {
	for name, c := range map[string]struct {
		pattern                      string
		faults, found, alerts, wrong int
		delay                        time.Duration
	}{
		"nothing":               {pattern: "....", faults: 0},
		"found at once":         {pattern: "..D_..", faults: 1, found: 1, alerts: 1},
		"found late":            {pattern: "..___D..", faults: 1, found: 1, alerts: 1, delay: 3 * time.Minute},
		"missed":                {pattern: "..____..", faults: 1},
		"false":                 {pattern: "..d.....", alerts: 1, wrong: 1},
		"begins before":         {pattern: "..dddD_..", faults: 1, found: 1, alerts: 1},
		"after does not find":   {pattern: "..__dd..", faults: 1, alerts: 1, wrong: 1},
		"one alert, two faults": {pattern: "DddddD", faults: 2, found: 2, alerts: 1},
		"two incidents":         {pattern: "dd..eee", alerts: 2, wrong: 2},
		"median of the delays":  {pattern: "D..__D..____E", faults: 3, found: 3, alerts: 2, delay: 2 * time.Minute},
	} {
		var truth replay.Truth
		for i, l := range c.pattern {
			var told driver.Incident
			if strings.ContainsRune("dDeE", l) {
				told = driver.Incident{ID: uint64(l | 0x20), Phase: driver.Lasts}
			}
			truth.Add(start.Add(time.Duration(i)*time.Minute), l == '_' || l == 'D' || l == 'E', told)
		}
		got := []any{len(truth.Faults), truth.Found(), truth.Alerts, truth.False(), truth.Delay()}
		want := []any{c.faults, c.found, c.alerts, c.wrong, c.delay}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: faults, found, alerts, false, delay (-want +got):\n%s", name, diff)
		}
	}
}

func TestBest(t *testing.T) {
	tried := []Cost{
		{Threshold: 0.5, Found: 7, Alerts: 900}, // one false alarm in 8 readings is promised
		{Threshold: 0.9, Found: 7, False: 900}, {Threshold: 0.95, Found: 6, False: 1, Delay: 5}, {Threshold: 0.97, Found: 6, False: 1, Delay: 2},
		{Threshold: 0.98, Found: 6, False: 1, Delay: 2}, {Threshold: 0.99, Found: 6, False: 1, Delay: 2}, {Threshold: 0.999, Found: 1}, {Threshold: 0.9999},
	}
	for faults, want := range map[int]int{7: 4, 5: 4, 4: -1, 0: -1} {
		if got := best(tried, faults); got != want {
			t.Errorf("of %d faults the best is %d, want %d", faults, got, want)
		}
	}
	if got := best(tried[:1], 7); got != -1 {
		t.Errorf("a threshold of 0.5 is recommended")
	}
}

// What is said of thresholds, by what is known.
func TestAdvice(t *testing.T) {
	run := func(faults, found int) *Run {
		r := single(faults > 0)
		for i := range 1000 {
			k := i / 100
			row := reading(i, 10, 0.1, k < faults && i%100 < 5)
			if row.Label && k < found {
				in(row, 100*k+1)
			}
			r.Add(row)
		}
		r.Tried([]Cost{{Threshold: 0.5, Alerts: 100, False: 90, Found: faults}}, false)
		return r
	}
	for name, c := range map[string]struct {
		faults, found int
		want          string
	}{
		"no labels":      {0, 0, "no threshold is recommended"},
		"too few":        {4, 4, "too few to recommend"},
		"enough":         {6, 5, "a threshold of 0.95 does best on this recording: it finds 5 of 6 faults, with no false alarm"},
		"only by 1 in 8": {6, 0, "more than a false alarm in 1,000 readings"},
	} {
		if got := run(c.faults, c.found).page().CostWords; len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// The picture draws what a threshold costs as steps, and nothing where nothing is known.
func TestSteps(t *testing.T) {
	nan := math.NaN()
	costs := []float64{3, 2, nan, nan, 1, 1}
	tried := make([]Cost, len(costs))
	for i := range tried {
		tried[i].Threshold, tried[i].Alerts = 1-math.Pow(10, -float64(i+1)), i
	}
	var got [][]float64
	for _, line := range steps(tried, func(c *Cost) float64 { return costs[c.Alerts] }) {
		var flat []float64
		for i, p := range line {
			if i > 0 && p.X != line[i-1].X && p.Y != line[i-1].Y {
				t.Errorf("a slope from %v to %v", line[i-1], p)
			}
			flat = append(flat, math.Round(p.X), p.Y)
		}
		got = append(got, flat)
	}
	want := [][]float64{{1, 3, 2, 3, 2, 2}, {5, 1, 6, 1, 6, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

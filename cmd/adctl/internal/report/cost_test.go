// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/driver"
)

// A character is a minute: . nothing, a letter a score of 0.6 (a), 0.9 (b), 0.99 (c) or 0.999 (d), in capitals where the
// minute is labelled, _ a labelled one without a score.
func minutes(pattern string, each func(i int, score float64, labelled bool)) {
	scores := map[rune]float64{'a': 0.6, 'b': 0.9, 'c': 0.99, 'd': 0.999}
	for i, c := range pattern {
		lower := c
		if c >= 'A' && c <= 'Z' {
			lower += 'a' - 'A'
		}
		score, ok := scores[lower]
		if !ok {
			score = math.NaN()
		}
		each(i, score, c == '_' || c != lower)
	}
}

func TestTruth(t *testing.T) {
	for name, c := range map[string]struct {
		pattern                      string
		faults, found, alerts, wrong int
		delay                        time.Duration
	}{
		"nothing":                {pattern: "....", faults: 0},
		"found at once":          {pattern: "..D_..", faults: 1, found: 1, alerts: 1},
		"found late":             {pattern: "..___D..", faults: 1, found: 1, alerts: 1, delay: 3 * time.Minute},
		"missed":                 {pattern: "..____..", faults: 1},
		"false":                  {pattern: "..d.....", alerts: 1, wrong: 1},
		"before counts":          {pattern: "..d..._D", faults: 1, found: 1, alerts: 1, delay: time.Minute},
		"after does not find":    {pattern: "..__dd..", faults: 1, alerts: 1, wrong: 1},
		"one alert, two faults":  {pattern: "D....D", faults: 2, found: 2, alerts: 1},
		"ten readings are bound": {pattern: "d..........d", alerts: 1, wrong: 1},
		"eleven are not":         {pattern: "d...........d", alerts: 2, wrong: 2},
		"median of the delays":   {pattern: "D...........__D...........____D", faults: 3, found: 3, alerts: 3, delay: 2 * time.Minute},
	} {
		var truth Truth
		minutes(c.pattern, func(i int, score float64, labelled bool) {
			truth.Add(start.Add(time.Duration(i)*time.Minute), labelled, score >= 0.95)
		})
		got := []any{len(truth.Faults), truth.Found(), truth.Alerts, truth.False(), truth.Delay()}
		want := []any{c.faults, c.found, c.alerts, c.wrong, c.delay}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: faults, found, alerts, false, delay (-want +got):\n%s", name, diff)
		}
	}
}

func TestCosts(t *testing.T) {
	const (
		rest    = "..........." // ends an alert
		pattern = "aAbC" + rest + "b" + rest + "_b" + rest + "__D"
	)
	c := newCosts(0.95)
	minutes(pattern, func(i int, score float64, labelled bool) {
		row := reading(i, 1, score, labelled)
		c.add(row, labelled, 0.95)
	})
	type cost struct {
		Alerts, False, Found int
		Delay                time.Duration
	}
	want := map[float64]cost{
		0.5:   {4, 2, 3, 0},
		0.9:   {4, 2, 2, 0},
		0.95:  {2, 0, 2, 0},
		0.99:  {2, 0, 2, 0},
		0.999: {1, 0, 1, 2 * time.Minute},
	}
	got := make(map[float64]cost)
	for _, t := range c.done() {
		if _, ok := want[t.Threshold]; ok {
			got[t.Threshold] = cost{t.Alerts, t.False, t.Found, t.Delay}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || c.faults != 4 {
		t.Errorf("%d faults (-want +got):\n%s", c.faults, diff)
	}
}

// At the threshold of the run the costs are what the run itself found, where the scores alone decided.
func TestCostsAgreeWithTheRun(t *testing.T) {
	r := week()
	for _, c := range r.costs.done() {
		if c.Threshold != 0.95 {
			continue
		}
		if c.Alerts != len(r.incidents.Done) || c.False != r.truth.False() || c.Found != r.truth.Found() || c.Delay != r.truth.Delay() {
			t.Errorf("cost %+v, truth %+v", c, r.truth)
		}
		return
	}
	t.Error("the threshold of the run is not among those tried")
}

func TestCostsOfWhatHasNoThreshold(t *testing.T) {
	c := newCosts(0.95)
	missing := reading(0, 1, math.NaN(), false)
	missing.Severity, missing.Kind = driver.Warning, driver.KindMissing
	c.add(missing, false, 0.95)
	muted := reading(100, 1, 0.99, false)
	muted.Severity, muted.Kind = driver.Normal, driver.KindNone
	for range 50 {
		c.add(muted, false, 0.95)
	}
	for _, got := range c.done() {
		if got.Alerts != 1 {
			t.Errorf("threshold %v: %d alerts, want the one of the missing reading", got.Threshold, got.Alerts)
		}
	}
}

func TestBest(t *testing.T) {
	tried := []Cost{
		{Found: 3, False: 900}, {Found: 2, False: 1, Delay: 5}, {Found: 2, False: 1, Delay: 2}, {Found: 2, False: 1, Delay: 2}, {Found: 2, False: 1, Delay: 2},
		{Found: 1}, {},
	}
	if got := best(tried, 3); got != 3 {
		t.Errorf("the best is %d, want the middle of 2 to 4", got)
	}
}

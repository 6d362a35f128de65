// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators_test

import (
	"os"
	"slices"
	"testing"

	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/generators"
)

// short are the generators that take little time and of which every goal holds for any few streams.
var short = []string{
	"short again and again", "lasting level", "simple detectors hold", "counter at half its rate", "a constant that jumps",
	"a state never met",
}

// floors are what figures that miss their goal must not fall under, of ten streams.
var floors = map[string]map[string]float64{
	"drift again and again":   {"least share found": 0, "found, of those found alone": 0},
	"drift in a season":       {"called drift, 3° a day": .5},
	"early drift":             {"found, 0.8 a reading": .8},
	"coarse sensor stuck":     {"found": .5},
	"switch stuck":            {"found": .6},
	"a day without sun":       {"found": .4},
	"one value day and night": {"found": .1},
	"hourly fault":            {"hours that it is told after its end": 5},
	"recurring setpoints":     {"alerts in 10,000 readings": 9},
	"group of two":            {"rows that it is told after its end": 22},
}

func TestGoalsAndFloors(t *testing.T) {
	o := generators.Options{Seeds: 10, Names: short}
	heavy := os.Getenv("EDGE_ANOMALY_HEAVY") != ""
	if heavy {
		o = generators.Options{Seeds: 10}
	}
	figures, err := generators.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(figures) < len(o.Names) {
		t.Fatalf("%d figures of %d generators", len(figures), len(o.Names))
	}
	for _, f := range figures {
		if floor, ok := floors[f.Generator][f.Name]; ok {
			if f.Goal = floor; !heavy {
				continue
			}
		}
		if !f.Holds() {
			t.Errorf("%s, %s: %.3g, want %.3g (%s)", f.Generator, f.Name, f.Value, f.Goal, f.Detail)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]generators.Options{
		"unknown": {Seeds: 1, Names: []string{"no such"}},
		"none":    {Names: []string{"noise"}},
	} {
		if _, err := generators.Run(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var names []string
	for _, g := range generators.All {
		if g.Doc == "" || slices.Contains(names, g.Name) {
			t.Errorf("generator %q has no description, or has another's name", g.Name)
		}
		names = append(names, g.Name)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"slices"
)

// rowsShown are the thresholds of the table of costs, beside those of the run and the best one.
var rowsShown = []float64{0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999}

// curve is one of the costs.
type curve struct {
	name, note string
	of         func(*Cost) float64
	whole      bool // of whole numbers
}

// curves are what a threshold costs: with labels, what it misses, what it disturbs by and how late it is; without, how
// often it calls.
func (r *Run) curves() []curve {
	days := r.days()
	if len(r.truth.Faults) == 0 {
		return []curve{{"Alerts a day", "how often somebody would be called", func(c *Cost) float64 { return float64(c.Alerts) / days }, false}}
	}
	faults := len(r.truth.Faults)
	unit, name := 1.0, "s"
	longest := 0.0
	for k := range r.costs.tried {
		longest = max(longest, r.costs.tried[k].Delay.Seconds())
	}
	switch {
	case longest >= 2*86400:
		unit, name = 86400, "days"
	case longest >= 2*3600:
		unit, name = 3600, "h"
	case longest >= 120:
		unit, name = 60, "min"
	}
	return []curve{
		{"Faults missed", fmt.Sprintf("of %d that are labelled", faults), func(c *Cost) float64 { return float64(faults - c.Found) }, true},
		{"False alarms a day", "with no labelled reading", func(c *Cost) float64 { return float64(c.False) / days }, false},
		{"Delay in " + name, "median of the faults found", func(c *Cost) float64 {
			if c.Found == 0 {
				return math.NaN()
			}
			return c.Delay.Seconds() / unit
		}, false},
	}
}

// axis is the end and the marks of the axis of the costs, which reaches to 1 at least.
func (u *curve) axis(tried []Cost) (high float64, marks []tick) {
	high = 1
	for k := range tried {
		if v := u.of(&tried[k]); !math.IsNaN(v) {
			high = max(high, v*1.06)
		}
	}
	marks = ticks(0, high, 4)
	if u.whole {
		marks = ticks(0, high, max(1, min(4, int(high))))
	}
	return high, marks
}

// show puts the costs on the page.
func (c *costs) show(p *page, r *Run) {
	tried := c.done()
	curves := r.curves()
	width := pageWidth/float64(len(curves)) - 12
	for _, u := range curves {
		p.CostCharts = append(p.CostCharts, named{Name: u.name, Note: u.note, Chart: r.costChart(u, width, 220, tried)})
	}
	labelled := len(r.truth.Faults) > 0
	good := -1
	if labelled {
		good = best(tried, c.faults)
		p.CostWords = append(p.CostWords, words(&tried[good], c.faults))
	} else {
		p.CostWords = append(p.CostWords, "The recording has no label of a fault, so it cannot be told which alerts are right. "+
			"If it is of a healthy time, all of them are false alarms. adctl label adds labels.")
	}
	for k := range tried {
		t := &tried[k]
		this := t.Threshold == r.info.Threshold
		known := slices.ContainsFunc(rowsShown, func(v float64) bool { return math.Abs(v-t.Threshold) < 1e-9 })
		if !this && !known && k != good {
			continue
		}
		row := costRow{
			Threshold: fmt.Sprintf("%.6g", t.Threshold), Alerts: fmt.Sprint(t.Alerts), PerDay: number(round(float64(t.Alerts) / r.days())),
			False: fmt.Sprint(t.False), Found: fmt.Sprint(t.Found), Missed: fmt.Sprint(c.faults - t.Found), Delay: "–", This: this, Best: k == good,
		}
		if t.Found > 0 {
			row.Delay = duration(t.Delay)
		}
		p.CostRows = append(p.CostRows, row)
	}
}

// words tell what a threshold would have done.
func words(c *Cost, faults int) string {
	alarms := fmt.Sprintf("%d false alarms", c.False)
	switch c.False {
	case 0:
		alarms = "no false alarm"
	case 1:
		alarms = "one false alarm"
	}
	if c.Found == 0 {
		return "No threshold finds any of the labelled faults by the scores of this run."
	}
	return fmt.Sprintf("Where a missed fault and a false alarm count alike, a threshold of %s does best on this recording: "+
		"it finds %d of %d faults, with %s and a median delay of %s. Try it on another recording, as it was chosen on this one.", fmt.Sprintf("%.4g", c.Threshold), c.Found, faults, alarms, duration(c.Delay))
}

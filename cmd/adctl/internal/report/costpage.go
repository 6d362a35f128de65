// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
)

// curve is one of the costs.
type curve struct {
	name, note string
	of         func(*Cost) float64
	whole      bool // of whole numbers
}

// curves are what a threshold costs: with labels, what it misses, what it disturbs by and how late it is; without, how
// often it calls.
func (r *Run) curves() []curve {
	per, much := r.per()
	if len(r.truth.Faults) == 0 {
		return []curve{{"Incidents " + per, "how often somebody would be called", func(c *Cost) float64 { return float64(c.Alerts) / much }, false}}
	}
	faults := len(r.truth.Faults)
	unit, name := 1.0, "s"
	longest := 0.0
	for k := range r.tried {
		longest = max(longest, r.tried[k].Delay.Seconds())
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
		{"False alarms " + per, "with no labelled reading", func(c *Cost) float64 { return float64(c.False) / much }, false},
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

// showCosts puts the costs on the page.
func (r *Run) showCosts(p *page) {
	if len(r.tried) == 0 {
		return
	}
	curves := r.curves()
	for _, u := range curves {
		p.CostCharts = append(p.CostCharts, p.add(u.name, u.note, r.costChart(u, 220, r.tried)))
	}
	good := best(r.tried, len(r.truth.Faults))
	p.CostWords = append(p.CostWords, r.words(good))
	if r.long {
		p.CostWords = append(p.CostWords, "The recording is long: only these thresholds were tried. --threshold tries another.")
	}
	_, much := r.per()
	for k := range r.tried {
		t := &r.tried[k]
		row := costRow{
			Threshold: fmt.Sprintf("%.6g", t.Threshold), Alerts: fmt.Sprint(t.Alerts), PerDay: number(round(float64(t.Alerts) / much)),
			False: fmt.Sprint(t.False), Found: fmt.Sprint(t.Found), Missed: fmt.Sprint(len(r.truth.Faults) - t.Found), Delay: "–",
			This: t.Threshold == r.info.Threshold, Best: k == good,
		}
		if t.Found > 0 {
			row.Delay = duration(t.Delay)
		}
		p.CostRows = append(p.CostRows, row)
	}
}

// words tell which threshold does best, the one of that number, or why none is recommended.
func (r *Run) words(good int) string {
	faults := len(r.truth.Faults)
	found := false
	for k := range r.tried {
		found = found || r.tried[k].Found > 0
	}
	switch {
	case faults == 0:
		return "The recording has no label of a fault, so it cannot be told which incidents are right, and no threshold is recommended. " +
			"If it is of a healthy time, all of them are false alarms. Labels are a column anomaly with 1 where something was wrong (of what a mapper recorded, adctl label makes it). To say how many false alarms you can bear, set alarms: 1/week in the Device, here --alarms 1/week."
	case !found:
		return "None of the labelled faults is found at any of these thresholds."
	case faults < leastFaults:
		few := fmt.Sprintf("%d labelled faults are", faults)
		if faults == 1 {
			few = "One labelled fault is"
		}
		return fmt.Sprintf("%s too few to recommend a threshold: at least %d would be needed. "+
			"To say how many false alarms you can bear, set alarms: 1/week in the Device, here --alarms 1/week.", few, leastFaults)
	case good < 0:
		return "Only thresholds that promise more than a false alarm in 1,000 readings find a labelled fault: none is recommended."
	}
	c := &r.tried[good]
	alarms := fmt.Sprintf("%d false alarms", c.False)
	switch c.False {
	case 0:
		alarms = "no false alarm"
	case 1:
		alarms = "one false alarm"
	}
	return fmt.Sprintf("Where a missed fault and a false alarm count alike, a threshold of %.4g does best on this recording: "+
		"it finds %d of %d faults, with %s and a median delay of %s. Try it on another recording, as it was chosen on this one.",
		c.Threshold, c.Found, faults, alarms, duration(c.Delay))
}

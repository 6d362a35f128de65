// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Scores are shown by how rare they are: 0.9 is 1, 0.99 is 2, and so on. That is where the interesting thresholds are.
const rarest = 6.0 // what is rarer, a score of 1 included, is shown as that

func rarity(score float64) float64 {
	switch {
	case !(score > 0):
		return 0
	case score >= 1:
		return rarest
	}
	return min(-math.Log10(1-score), rarest)
}

// untold is what is left to 1 of the thresholds that are tried, in each power of ten.
var untold = [...]float64{8, 6, 5, 4, 3, 2.5, 2, 1.5, 1.2, 1}

// rest is how many readings in succession that are not anomalous end an alert: of what would have been at another threshold
// nobody knows the incidents.
const rest = 10

// Cost is what a threshold would have led to, had the scores alone decided.
type Cost struct {
	Threshold float64
	Alerts    int
	False     int // alerts that have no reading in a fault
	Found     int // faults
	Delay     time.Duration

	last   int // number of the last anomalous reading, +1; 0 before the first
	hit    bool
	fault  int // number of the last fault that was found, +1
	delays []time.Duration
}

// costs tries many thresholds at once.
type costs struct {
	tried  []Cost // by threshold
	n      int
	faults int
	begin  time.Time // of the last fault
	inside bool
}

func newCosts(threshold float64) *costs {
	c := new(costs)
	for unit := 10.0; unit <= 1e6; unit *= 10 {
		for _, rest := range untold {
			if t := 1 - rest/unit; t >= 0.5 && t != threshold {
				c.tried = append(c.tried, Cost{Threshold: t})
			}
		}
	}
	c.tried = append(c.tried, Cost{Threshold: threshold})
	slices.SortFunc(c.tried, func(a, b Cost) int {
		if a.Threshold < b.Threshold {
			return -1
		}
		return 1
	})
	return c
}

// ofReadings are the kinds that the check of the readings themselves finds; no threshold applies to it.
var ofReadings = []driver.Kind{
	driver.KindInvalid, driver.KindMissing, driver.KindStuckClock, driver.KindDuplicate, driver.KindOutOfOrder, driver.KindLate,
}

func (c *costs) add(row *Row, labelled bool, threshold float64) {
	i := c.n
	c.n++
	if labelled && !c.inside {
		c.faults++
		c.begin = row.At
	}
	c.inside = labelled
	score := row.Score
	switch anomalous := row.Severity.Anomalous(); {
	case anomalous && slices.Contains(ofReadings, row.Kind):
		score = 1
	case !anomalous && score >= threshold: // muted by the settings
		return
	}
	for k := range c.tried {
		t := &c.tried[k]
		if !(score >= t.Threshold) {
			return
		}
		if t.last == 0 || i+1-t.last > rest+1 {
			t.Alerts++
			t.False++
			t.hit = false
		}
		t.last = i + 1
		if !labelled {
			continue
		}
		if !t.hit {
			t.hit = true
			t.False--
		}
		if t.fault != c.faults {
			t.fault = c.faults
			t.Found++
			t.delays = append(t.delays, max(row.At.Sub(c.begin), 0))
		}
	}
}

// done returns the costs, of the lowest threshold first.
func (c *costs) done() []Cost {
	for k := range c.tried {
		c.tried[k].Delay = median(c.tried[k].delays)
	}
	return c.tried
}

// balance is how well a threshold does where a missed fault and a false alarm count alike: the harmonic mean of the share
// of faults that are found, and of the share of what is found and called that is right (F1).
func (c *Cost) balance(faults int) float64 {
	return 2 * float64(c.Found) / float64(2*c.Found+c.False+faults-c.Found)
}

// best is the number of the threshold of the best balance and, among those, of the shortest delay; the middle one of
// several that are equal.
func best(tried []Cost, faults int) int {
	first, last := 0, 0
	for k := range tried {
		a, b := &tried[k], &tried[first]
		better := cmp.Or(cmp.Compare(a.balance(faults), b.balance(faults)), cmp.Compare(b.Delay, a.Delay))
		switch {
		case better > 0:
			first, last = k, k
		case better == 0 && last == k-1:
			last = k
		}
	}
	return (first + last) / 2
}

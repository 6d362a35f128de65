// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Thresholds are those that a report tries beside that of the run. A lower one would promise a false alarm every few
// readings, and each one costs a run.
var Thresholds = [...]float64{0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999}

// LongThresholds are those of them that are tried on all of a long recording.
var LongThresholds = [...]float64{0.95, 0.99, 0.999, 0.9999}

// Cost is what a run at a threshold leads to.
type Cost struct {
	Threshold float64
	Alerts    int // incidents
	False     int // incidents that have no labelled reading
	Found     int // faults
	Delay     time.Duration
}

// CostOf is that of a run at a threshold.
func CostOf(threshold float64, t *replay.Truth) Cost {
	return Cost{Threshold: threshold, Alerts: t.Alerts, False: t.False(), Found: t.Found(), Delay: t.Delay()}
}

// balance is how well a threshold does where a missed fault and a false alarm count alike: the harmonic mean of the share
// of faults that are found, and of the share of what is found and called that is right (F1).
func (c *Cost) balance(faults int) float64 {
	return 2 * float64(c.Found) / float64(2*c.Found+c.False+faults-c.Found)
}

const (
	// leastFaults is how many faults there must be for a threshold to be recommended: of fewer, chance decides.
	leastFaults = 5
	// mostPromised is the rate of false alarms, a reading, from which a threshold is not recommended, however well it did on
	// one recording.
	mostPromised = 1.0 / 1000
)

// best is the number of the threshold of the best balance and, among those, of the shortest delay; the middle one of
// several that are equal. It is -1 where none can be recommended.
func best(tried []Cost, faults int) int {
	first, last := -1, -1
	for k := range tried {
		a := &tried[k]
		if faults < leastFaults || a.Found == 0 || driver.TailProbability(a.Threshold) > mostPromised*(1+1e-9) {
			continue
		}
		better := 1
		if first >= 0 {
			b := &tried[first]
			better = cmp.Or(cmp.Compare(a.balance(faults), b.balance(faults)), cmp.Compare(b.Delay, a.Delay))
		}
		switch {
		case better > 0:
			first, last = k, k
		case better == 0 && last == k-1:
			last = k
		}
	}
	if first < 0 {
		return -1
	}
	return (first + last + 1) / 2 // of two the one that promises fewer false alarms
}

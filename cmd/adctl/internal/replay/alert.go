// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// AlertRest is how many readings in succession that are not anomalous end an alert.
const AlertRest = 10

// Alert is a run of anomalous readings with no more than [AlertRest] others in succession between them.
type Alert struct {
	First, Last int // numbers of the first and the last anomalous reading, from 0
	Begin, End  time.Time
	Readings    int // anomalous ones
	Severity    driver.Severity
	Score       float64 // worst of the detector; NaN where only the quality stage found it
	Kind        driver.Kind

	kinds map[driver.Kind]int
}

// Alerts gathers readings into alerts. The zero value is ready for use.
type Alerts struct {
	Done []Alert
	open bool
	n    int
}

// Add takes the outcome of the next reading.
func (a *Alerts) Add(at time.Time, o *Outcome) {
	i := a.n
	a.n++
	if !o.Severity.Anomalous() {
		if a.open && i-a.last().Last > AlertRest {
			a.open = false
		}
		return
	}
	if !a.open {
		a.open = true
		a.Done = append(a.Done, Alert{First: i, Begin: at, Score: o.Score, kinds: make(map[driver.Kind]int)})
	}
	l := a.last()
	l.Last, l.End = i, at
	l.Readings++
	l.Severity = max(l.Severity, o.Severity)
	if !(l.Score >= o.Score) && o.Score == o.Score { // NaN gives way to any score
		l.Score = o.Score
	}
	l.kinds[o.Kind]++
	if l.kinds[o.Kind] > l.kinds[l.Kind] {
		l.Kind = o.Kind // the one that most readings had; of two, the one that had as many first
	}
}

func (a *Alerts) last() *Alert { return &a.Done[len(a.Done)-1] }

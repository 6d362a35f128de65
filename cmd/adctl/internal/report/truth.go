// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"time"
)

// Fault is a run of labelled readings.
type Fault struct {
	Begin, End time.Time
	Found      bool
	Delay      time.Duration // from its begin to the first anomalous reading in it
}

// Truth compares alerts with labels. A fault is found if a reading in it is anomalous; an alert that has no reading in a
// fault is a false alarm. The zero value is ready for use.
type Truth struct {
	Faults []Fault
	Alerts int
	hits   int // alerts that have a reading in a fault

	n, last int // readings; the last anomalous one
	open    bool
	hit     bool // of the open alert
	inside  bool // the last reading was labelled
}

// Add takes the next reading.
func (t *Truth) Add(at time.Time, labelled, anomalous bool) {
	i := t.n
	t.n++
	if labelled {
		if !t.inside {
			t.Faults = append(t.Faults, Fault{Begin: at})
		}
		t.Faults[len(t.Faults)-1].End = at
	}
	t.inside = labelled
	if t.open && i-t.last > rest+1 {
		t.open = false
	}
	if !anomalous {
		return
	}
	if !t.open {
		t.open, t.hit = true, false
		t.Alerts++
	}
	t.last = i
	if !labelled {
		return
	}
	if !t.hit {
		t.hit = true
		t.hits++
	}
	if f := &t.Faults[len(t.Faults)-1]; !f.Found {
		f.Found, f.Delay = true, max(at.Sub(f.Begin), 0)
	}
}

// False is the number of alerts that have no reading in a fault.
func (t *Truth) False() int { return t.Alerts - t.hits }

// Found is the number of faults that were found.
func (t *Truth) Found() (n int) {
	for i := range t.Faults {
		if t.Faults[i].Found {
			n++
		}
	}
	return n
}

// Delay is the median delay of the faults that were found; 0 where there are none.
func (t *Truth) Delay() time.Duration {
	var delays []time.Duration
	for i := range t.Faults {
		if t.Faults[i].Found {
			delays = append(delays, t.Faults[i].Delay)
		}
	}
	return median(delays)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[(len(d)-1)/2]
}

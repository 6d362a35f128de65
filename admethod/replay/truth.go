// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Fault is a run of labelled readings.
type Fault struct {
	Begin, End time.Time
	Found      bool
	Delay      time.Duration // from its begin to the first reading of it that is in an incident
}

// Truth compares incidents with labels. A fault is found if a reading of it is in an incident; an incident without a
// labelled reading is a false alarm. The zero value is ready for use.
type Truth struct {
	Faults []Fault
	Alerts int // incidents
	hits   int // incidents that have a labelled reading

	open   map[uint64]bool // incidents that last, and whether they are hits
	inside bool            // the last reading was labelled
}

// Add takes the next reading and what it tells of an incident.
func (t *Truth) Add(at time.Time, labelled bool, i driver.Incident) {
	if labelled {
		if !t.inside {
			t.Faults = append(t.Faults, Fault{Begin: at})
		}
		t.Faults[len(t.Faults)-1].End = at
	}
	t.inside = labelled
	if i.ID == 0 {
		return
	}
	hit, known := t.open[i.ID]
	if !i.Phase.Open() {
		delete(t.open, i.ID)
		return
	}
	if !known {
		if t.open == nil {
			t.open = make(map[uint64]bool)
		}
		t.Alerts++
	}
	if labelled && !hit {
		t.hits++
	}
	t.open[i.ID] = hit || labelled
	if !labelled {
		return
	}
	if f := &t.Faults[len(t.Faults)-1]; !f.Found {
		f.Found, f.Delay = true, max(at.Sub(f.Begin), 0)
	}
}

// False is the number of incidents that have no labelled reading.
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

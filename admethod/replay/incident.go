// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Incident is an incident of a recording, as the handler told it.
type Incident struct {
	driver.Incident     // as it was told last
	First           int // number of the first reading that was told to be in it, from 0
	Readings        int // in it
}

// Incidents gathers the incidents that outcomes tell of, in the order in which they began. The zero value is ready for use.
type Incidents struct {
	Done []Incident

	n int
}

// Add takes what the outcome of the next reading says of an incident. It reports whether that is one not heard of before.
func (a *Incidents) Add(at time.Time, i driver.Incident) (began bool) {
	n := a.n
	a.n++
	if i.ID == 0 {
		return false
	}
	of := len(a.Done) - 1
	for of >= 0 && a.Done[of].ID != i.ID { // of members of a group several may be open
		of--
	}
	if of < 0 {
		a.Done = append(a.Done, Incident{First: n})
		of, began = len(a.Done)-1, true
	}
	d := &a.Done[of]
	d.Incident = i
	if i.Phase.Open() {
		d.Readings++
		d.End = at // so far
	}
	return began
}

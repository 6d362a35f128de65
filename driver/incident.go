// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package driver

import (
	"fmt"
	"slices"
	"time"
)

// Incident is what people are told of: it begins when a stream leaves what was normal, lasts while it is away, and ends
// when it is back or when the new behaviour is accepted as the new normal. Brief excursions of one cause are one
// incident. The zero value is none.
type Incident struct {
	ID       uint64    // the same in every verdict of the incident, stable over a restart; 0: no incident
	Phase    Phase     // what this verdict says of it
	Start    time.Time // of the first reading in it
	End      time.Time // of the reading that ended it; zero while it lasts
	Severity Severity  // worst so far
	Score    float64   // worst so far
	Kind     Kind      // refined while it lasts: a spike that stays is a level
	Cause    Key       // to blame most; zero where nothing is
}

// Phase is where an incident stands.
type Phase uint8

// The phases.
const (
	NoIncident Phase = iota
	Began            // with this reading
	Lasts            // as before
	Returned         // it ended: the stream is back to what was normal
	NewNormal        // it ended: what it was about is the new normal, by time or by feedback
	Abandoned        // it ended without an answer: the stream ended, or its detector began anew
)

var phaseNames = [...]string{"", "began", "lasts", "returned", "newNormal", "abandoned"}

// String is the phase in lower camel case; "" for none.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "phase?"
}

// MarshalText is String, for JSON and the like.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Phase) UnmarshalText(text []byte) error {
	i := slices.Index(phaseNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("one of began, lasts, returned, newNormal, abandoned, not %q", text)
	}
	*p = Phase(i)
	return nil
}

// Open reports whether the incident goes on.
func (p Phase) Open() bool { return p == Began || p == Lasts }

// Duration is how long the incident lasted, or has lasted by the time of the reading at.
func (i *Incident) Duration(at time.Time) time.Duration {
	if !i.End.IsZero() {
		at = i.End
	}
	return max(at.Sub(i.Start), 0)
}

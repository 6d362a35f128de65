// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package verdict is a verdict as this module writes it for others: in the API's answers, the history, activities,
// CloudEvents and MQTT messages alike.
package verdict

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Verdict is a verdict in JSON. Numbers that are unknown are left out.
type Verdict struct {
	Namespace  string          `json:"namespace"`
	Device     string          `json:"device"`
	Property   string          `json:"property"` // "" for the device as a whole
	At         time.Time       `json:"at"`       // when the reading that was judged was taken
	Severity   driver.Severity `json:"severity"`
	Kind       driver.Kind     `json:"kind,omitempty"`
	Score      *float64        `json:"score,omitempty"` // how unusual now
	Onset      *float64        `json:"onset,omitempty"` // how unusual as news; 0 while an incident lasts
	Threshold  *float64        `json:"threshold,omitempty"`
	Confidence *float64        `json:"confidence,omitempty"`
	Ongoing    bool            `json:"ongoing,omitempty"`
	Incident   *Incident       `json:"incident,omitempty"` // that the reading is part of, or ended
	Value      *float64        `json:"value,omitempty"`    // the reading
	Expected   *float64        `json:"expected,omitempty"`
	Lower      *float64        `json:"lower,omitempty"`
	Upper      *float64        `json:"upper,omitempty"`
	Causes     []Cause         `json:"causes,omitempty"`
	Detector   string          `json:"detector"`
	Model      string          `json:"model,omitempty"`
	Config     string          `json:"config,omitempty"`
	Message    string          `json:"message,omitempty"`
	Translated string          `json:"translated,omitempty"` // Message in the other language; the API alone tells it
}

// Incident is an incident in JSON.
type Incident struct {
	ID       string          `json:"id"` // 16 hexadecimal digits
	Phase    driver.Phase    `json:"phase"`
	Start    time.Time       `json:"start"`
	End      *time.Time      `json:"end,omitempty"` // left out while it lasts
	Duration float64         `json:"duration"`      // seconds: to its end, or to the reading that the verdict is on
	Severity driver.Severity `json:"severity"`      // worst so far
	Kind     driver.Kind     `json:"kind,omitempty"`
	Score    *float64        `json:"score,omitempty"` // worst so far
	Cause    *Blamed         `json:"cause,omitempty"` // to blame most
}

// Report is an incident with what it is of, as the API and the history list it.
type Report struct {
	Namespace string `json:"namespace"`
	Device    string `json:"device"`
	Property  string `json:"property"` // "" for the device as a whole
	Incident
	Detector string `json:"detector,omitempty"`
	Model    string `json:"model,omitempty"`
	Message  string `json:"message,omitempty"` // why: the last reason that a verdict of it gave
	// Translated is Message in the other one of the languages, where that is known; the API alone tells it.
	Translated string `json:"translated,omitempty"`
}

// Update makes the report say what a verdict told of the incident.
func (p *Report) Update(r *driver.Result, i *driver.Incident) {
	p.Namespace, p.Device, p.Property = r.Key.Namespace, r.Key.Device, r.Key.Property
	blamed := p.Cause
	if p.Incident = FromIncident(i, r.At); i.Phase.Open() && len(r.Causes) > 0 { // who is to blame is known better later on, as why is
		blamed = &Blamed{r.Causes[0].Key.Device, r.Causes[0].Key.Property}
	}
	if blamed != nil {
		p.Cause = blamed
	}
	if r.Detector != "" {
		p.Detector, p.Model = r.Detector, r.Model
	}
	if i.Phase.Open() && r.Message != "" {
		p.Message = r.Message
	}
}

// Compare orders reports: the latest beginning first.
func Compare(a, b *Report) int {
	return cmp.Or(b.Start.Compare(a.Start), strings.Compare(b.ID, a.ID), strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Device, b.Device), strings.Compare(a.Property, b.Property))
}

// Blamed is what is to blame for an incident.
type Blamed struct {
	Device   string `json:"device"`
	Property string `json:"property,omitempty"`
}

// Cause is one candidate for the blame.
type Cause struct {
	Device   string  `json:"device"`
	Property string  `json:"property"`
	Weight   float64 `json:"weight"`
}

// The years that times in JSON can have.
var (
	earliest = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	newest   = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// FromResult copies a verdict. A time that JSON cannot hold becomes the nearest that it can.
func FromResult(r *driver.Result) Verdict {
	v := Verdict{
		Namespace: r.Key.Namespace, Device: r.Key.Device, Property: r.Key.Property, At: stamp(r.At),
		Severity: r.Severity, Kind: r.Kind, Ongoing: r.Ongoing,
		Score: Finite(r.Score), Onset: Finite(r.Onset), Threshold: Finite(r.Threshold), Confidence: Finite(r.Confidence),
		Value: Finite(r.Value), Expected: Finite(r.Expected), Lower: Finite(r.Lower), Upper: Finite(r.Upper),
		Detector: r.Detector, Model: r.Model, Config: r.Config, Message: r.Message,
	}
	if r.Incident.ID != 0 {
		i := FromIncident(&r.Incident, r.At)
		v.Incident = &i
	}
	for _, c := range r.Causes {
		if w := Finite(c.Weight); w != nil {
			v.Causes = append(v.Causes, Cause{Device: c.Key.Device, Property: c.Key.Property, Weight: *w})
		}
	}
	return v
}

// FromIncident copies an incident as it was at the time of a reading.
func FromIncident(i *driver.Incident, at time.Time) Incident {
	out := Incident{
		ID: ID(i.ID), Phase: i.Phase, Start: stamp(i.Start), Duration: i.Duration(at).Seconds(),
		Severity: i.Severity, Kind: i.Kind, Score: Finite(i.Score),
	}
	if !i.End.IsZero() {
		end := stamp(i.End)
		out.End = &end
	}
	if i.Cause != (driver.Key{}) {
		out.Cause = &Blamed{i.Cause.Device, i.Cause.Property}
	}
	return out
}

// ID is the name of an incident in text.
func ID(id uint64) string { return fmt.Sprintf("%016x", id) }

// ParseID reads what [ID] wrote.
func ParseID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != 16 || id == 0 {
		return 0, fmt.Errorf("incident: got %q, want 16 hexadecimal digits as verdicts show them", text)
	}
	return id, nil
}

func stamp(t time.Time) time.Time {
	switch t = t.UTC(); {
	case t.Before(earliest):
		return earliest
	case t.After(newest):
		return newest
	}
	return t
}

// Finite is v; nil for what JSON has no number for.
func Finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// Rarest is the rarity of what is rarer still, a score of 1 included.
const Rarest = 6.0

// Rarity is how rare a score is, as powers of ten, which is where the interesting scores are: 0.9 is 1, 0.99 is 2, and so on.
func Rarity(score float64) float64 {
	switch {
	case !(score > 0):
		return 0
	case score >= 1:
		return Rarest
	}
	return min(-math.Log10(1-score), Rarest)
}

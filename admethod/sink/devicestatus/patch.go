// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// What one property may take: a DeviceStatus holds 1 MiB.
const (
	mostCauses  = 5
	mostMessage = 512 // bytes

	mostIncidents = 16 // listed of one device
)

// extension is what the sink writes. A field that is nil is written as null, by which a merge patch removes what was
// there before.
type extension struct {
	LastUpdated string `json:"lastUpdated"` // RFC 3339, of the write
	Data        data   `json:"data"`
}

type data struct {
	AnomalyScore *float64            `json:"anomalyScore"` // of the worst verdict below, as the next two
	Confidence   *float64            `json:"confidence"`
	Severity     string              `json:"severity"`
	Incidents    []incident          `json:"incidents"`  // that last, the worst first; null where there is none
	Device       *verdict            `json:"device"`     // on the device as a whole; null where there is none
	Properties   map[string]*verdict `json:"properties"` // null: no longer watched
}

type verdict struct {
	Score      *float64 `json:"score"`
	Confidence *float64 `json:"confidence"`
	Severity   string   `json:"severity"`
	Kind       *string  `json:"kind"`
	Value      *float64 `json:"value"`
	Expected   *float64 `json:"expected"`
	Lower      *float64 `json:"lower"`
	Upper      *float64 `json:"upper"`
	At         *string  `json:"at"`    // of the reading, RFC 3339
	Since      *string  `json:"since"` // time of the reading from which on the severity and kind are what they are
	Detector   *string  `json:"detector"`
	Model      *string  `json:"model"`
	Config     *string  `json:"config"`
	Incident   *string  `json:"incident"` // that lasts
	Causes     []cause  `json:"causes"`
	Message    *string  `json:"message"`
}

// incident is one that lasts.
type incident struct {
	ID       string   `json:"id"`
	Property string   `json:"property,omitempty"` // left out for the device as a whole
	Start    *string  `json:"start,omitempty"`
	Severity string   `json:"severity"` // worst so far
	Kind     string   `json:"kind,omitempty"`
	Score    *float64 `json:"score,omitempty"` // worst so far
	Cause    *cause   `json:"cause,omitempty"` // to blame most
	Message  *string  `json:"message,omitempty"`

	severity driver.Severity
	start    time.Time
}

func newIncident(property string, e *entry, of deviceID) incident {
	i := &e.incident
	out := incident{
		ID: shared.ID(i.ID), Property: property, Start: stamp(i.Start), Severity: i.Severity.String(), Kind: string(i.Kind),
		Score: number(i.Score), Message: e.verdict.Message, severity: i.Severity, start: i.Start,
	}
	if c := i.Cause; c != (driver.Key{}) {
		out.Cause = &cause{Property: c.Property}
		if c.Device != of.name || c.Namespace != of.namespace {
			out.Cause.Device = c.Device
		}
	}
	return out
}

type cause struct {
	Device   string  `json:"device,omitempty"` // left out where it is the same device
	Property string  `json:"property,omitempty"`
	Weight   float64 `json:"weight,omitempty"`
}

// number is nil for what JSON cannot say.
func number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func stamp(t time.Time) *string {
	if y := t.Year(); t.IsZero() || y < 0 || y > 9999 {
		return nil
	}
	s := t.UTC().Format(time.RFC3339Nano)
	return &s
}

// shorten cuts s to n bytes at most, at the end of a character.
func shorten(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n-len("…")], "") + "…"
	}
	return s
}

// newVerdict keeps of a result what is written; it shares no memory with r.
func newVerdict(r *driver.Result, in driver.Language) *verdict {
	v := &verdict{
		Score: number(r.Score), Confidence: number(r.Confidence),
		Value: number(r.Value), Expected: number(r.Expected), Lower: number(r.Lower), Upper: number(r.Upper),
		At: stamp(r.At), Since: stamp(r.At), Detector: text(r.Detector), Model: text(r.Model), Config: text(r.Config),
		Message: text(shorten(r.Message, mostMessage)),
	}
	severity, kind := incidents.Standing(r)
	v.Severity, v.Kind = severity.String(), text(string(kind))
	switch {
	case r.Incident.Phase.Open():
		v.Incident = text(shared.ID(r.Incident.ID))
	case r.Incident.ID != 0 && v.Message == nil:
		v.Message = text(incidents.Ending(&r.Incident, in))
	}
	for _, c := range r.Causes[:min(len(r.Causes), mostCauses)] {
		if number(c.Weight) == nil {
			continue
		}
		w := cause{Property: c.Key.Property, Weight: c.Weight}
		if c.Key.Device != r.Key.Device || c.Key.Namespace != r.Key.Namespace {
			w.Device = c.Key.Device
		}
		v.Causes = append(v.Causes, w)
	}
	return v
}

// wrap is the merge patch that sets the extension to value, and nothing else.
func wrap(name string, value any) ([]byte, error) {
	return json.Marshal(map[string]any{"status": map[string]any{"extensions": map[string]any{name: value}}})
}

// watched lists the properties that an object's extension tells of. It is nil where the object cannot be read.
func watched(object []byte, name string) []string {
	var o struct {
		Status struct {
			Extensions map[string]json.RawMessage `json:"extensions"`
		} `json:"status"`
	}
	var e struct {
		Data struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"data"`
	}
	if json.Unmarshal(object, &o) != nil || json.Unmarshal(o.Status.Extensions[name], &e) != nil {
		return nil
	}
	properties := make([]string, 0, len(e.Data.Properties))
	for p := range e.Data.Properties {
		properties = append(properties, p)
	}
	return properties
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package verdict is a verdict as this module writes it for others: in the API's answers, the history, activities,
// CloudEvents and MQTT messages alike.
package verdict

import (
	"math"
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
	Score      *float64        `json:"score,omitempty"`
	Threshold  *float64        `json:"threshold,omitempty"`
	Confidence *float64        `json:"confidence,omitempty"`
	Ongoing    bool            `json:"ongoing,omitempty"`
	Value      *float64        `json:"value,omitempty"` // the reading
	Expected   *float64        `json:"expected,omitempty"`
	Lower      *float64        `json:"lower,omitempty"`
	Upper      *float64        `json:"upper,omitempty"`
	Causes     []Cause         `json:"causes,omitempty"`
	Detector   string          `json:"detector"`
	Model      string          `json:"model,omitempty"`
	Config     string          `json:"config,omitempty"`
	Message    string          `json:"message,omitempty"`
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
		Namespace: r.Key.Namespace, Device: r.Key.Device, Property: r.Key.Property, At: r.At.UTC(),
		Severity: r.Severity, Kind: r.Kind, Ongoing: r.Ongoing,
		Score: finite(r.Score), Threshold: finite(r.Threshold), Confidence: finite(r.Confidence),
		Value: finite(r.Value), Expected: finite(r.Expected), Lower: finite(r.Lower), Upper: finite(r.Upper),
		Detector: r.Detector, Model: r.Model, Config: r.Config, Message: r.Message,
	}
	switch {
	case v.At.Before(earliest):
		v.At = earliest
	case v.At.After(newest):
		v.At = newest
	}
	for _, c := range r.Causes {
		if w := finite(c.Weight); w != nil {
			v.Causes = append(v.Causes, Cause{Device: c.Key.Device, Property: c.Key.Property, Weight: *w})
		}
	}
	return v
}

// finite is nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

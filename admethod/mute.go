// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Mute keeps what is found of a property, or of all that a device has, from sinks that alert, see [SinkFactory], until a
// time. It is judged, recorded and told to the other sinks as ever. What still lasts then is told of within a heartbeat.
type Mute struct {
	Namespace string    `json:"namespace"`
	Device    string    `json:"device"`
	Property  string    `json:"property,omitempty"` // "" is all of the device
	Since     time.Time `json:"since,omitzero"`     // when it was said; set by the handler
	Until     time.Time `json:"until,omitzero"`     // a time that is over lifts the mute
	By        string    `json:"by,omitempty"`       // who said so
	Note      string    `json:"note,omitempty"`
}

// Of reports whether a property is muted by it, as long as it is in force.
func (m *Mute) Of(key driver.Key) bool {
	return m.Namespace == key.Namespace && m.Device == key.Device && (m.Property == "" || m.Property == key.Property)
}

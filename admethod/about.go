// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// About is what is known of a property that no detector needs, for sinks.
type About struct {
	// Labels are those of its device, as its source has them; nil where none are known. They must not change.
	Labels map[string]string
	// Predicted is the name of a metric by which what is expected of the property is to be shown; "" is none.
	Predicted string
	// Model is the name of the device's DeviceModel, Node that of the node that the device is at; "" where it is not known.
	Model, Node string
}

// Watched says how a property is watched.
type Watched struct {
	Config   ADMethodConfig
	Meta     Meta         // the zero value for those whose mapper is elsewhere
	Members  []driver.Key // those that are judged together, itself among them
	States   []string     // what its numbers stand for, from 0 on, of an enumeration or a boolean; nil of others
	ModelDir string       // where its model is looked up; "" where it has none
}

// Meta is what the Device and its model say of a property. Empty fields are unknown.
type Meta struct {
	DataType         string // int, float, double, string, boolean, bytes
	Minimum, Maximum string // as in the DeviceModel
	Unit             string
	AccessMode       string        // ReadOnly or ReadWrite
	Cycle            time.Duration // between two readings
	Model            string        // name of the DeviceModel
}

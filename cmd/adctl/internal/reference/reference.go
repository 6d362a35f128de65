// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package reference describes what a Device can say about anomaly detection, as the parts of a program describe it.
package reference

import (
	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Reference is the whole configuration, in the order in which it is documented.
type Reference struct {
	Device    []pipeline.DeviceKey `json:"device"` // keys that a Device may set
	Keys      []Param              `json:"keys"`   // of a property
	Detectors []Part               `json:"detectors"`
	Adapters  []Part               `json:"adapters"`
	Sinks     []Part               `json:"sinks"`
	Sources   []Part               `json:"sources"`
}

// Part is a detector, adapter, sink or source.
type Part struct {
	Role    string   `json:"role"` // detector, adapter, sink or source
	Name    string   `json:"name"`
	Summary string   `json:"summary"`
	Source  string   `json:"source,omitempty"`  // of a detector's method
	Kinds   []string `json:"kinds,omitempty"`   // that a detector reports
	Members int      `json:"members,omitempty"` // most properties that a detector watches together
	Params  []Param  `json:"params,omitempty"`
}

// Param is a setting, under its whole key.
type Param struct {
	Key     string `json:"key"`
	Type    string `json:"type"`
	Default string `json:"default,omitempty"`
	Bounds  string `json:"bounds,omitempty"`
	Doc     string `json:"doc"`
	Scope   string `json:"scope,omitempty"` // who may set it, see params.Scope; "" is the operator alone
}

// Of describes what the registries hold.
func Of(drivers *driver.Registry, adapters *admethod.AdapterRegistry, sinks *admethod.SinkRegistry, sources *source.Registry) Reference {
	r := Reference{
		Device: pipeline.Options{Drivers: drivers, Adapters: adapters, Sinks: sinks}.DeviceKeys(),
		Keys:   settings("", params.Describe(admethod.DefaultConfig())),
	}
	for _, f := range drivers.Factories() {
		info := f.Info()
		part := Part{
			Role: "detector", Name: info.Name, Summary: info.Summary, Source: info.Source, Members: info.Members,
			Params: settings("detector.", f.Params()),
		}
		for _, kind := range info.Kinds {
			part.Kinds = append(part.Kinds, string(kind))
		}
		r.Detectors = append(r.Detectors, part)
	}
	for _, f := range adapters.Items() {
		r.Adapters = append(r.Adapters, Part{
			Role: "adapter", Name: f.Name, Summary: f.Summary, Params: settings(f.Name+".", describe(f.Params)),
		})
	}
	for _, f := range sinks.Items() {
		r.Sinks = append(r.Sinks, Part{
			Role: "sink", Name: f.Name, Summary: f.Summary, Params: settings("", describe(f.Params)),
		})
	}
	for _, f := range sources.Items() {
		r.Sources = append(r.Sources, Part{
			Role: "source", Name: f.Name, Summary: f.Summary, Params: settings("", describe(f.Params)),
		})
	}
	return r
}

// Parts lists all parts, detectors first.
func (r *Reference) Parts() []Part {
	parts := make([]Part, 0, len(r.Detectors)+len(r.Adapters)+len(r.Sinks)+len(r.Sources))
	parts = append(parts, r.Detectors...)
	parts = append(parts, r.Adapters...)
	parts = append(parts, r.Sinks...)
	return append(parts, r.Sources...)
}

func describe(f func() []params.Param) []params.Param {
	if f == nil {
		return nil
	}
	return f()
}

func settings(prefix string, described []params.Param) []Param {
	var out []Param
	for _, p := range described {
		out = append(out, Param{Key: prefix + p.Key, Type: p.Type, Default: p.Default, Bounds: p.Bounds, Doc: p.Doc, Scope: string(p.Scope)})
	}
	return out
}

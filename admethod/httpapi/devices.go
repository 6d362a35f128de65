// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	usualDevices = 100
	mostDevices  = 1000 // of an answer
	mostChoices  = 200  // namespaces and models that an answer lists
	mostNamed    = 24   // properties of a device that an answer names
	keysAtOnce   = 4096 // that are looked up before others have their turn
	mostText     = 256  // bytes of a filter
)

// Device is one in the answer to GET /v1/devices.
type Device struct {
	Namespace  string            `json:"namespace"`
	Device     string            `json:"device"`
	Model      string            `json:"model,omitempty"`
	Node       string            `json:"node,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Severity   driver.Severity   `json:"severity"`   // the worst of its properties
	Properties []PropertyState   `json:"properties"` // at most 24, the worst first
}

// PropertyState is how a property is.
type PropertyState struct {
	Property string          `json:"property"`
	Severity driver.Severity `json:"severity"`
}

// DeviceList is the answer to GET /v1/devices.
type DeviceList struct {
	Devices    []Device       `json:"devices"`
	Fit        int            `json:"fit"`        // devices that fit the filter, on all pages
	All        int            `json:"all"`        // devices that may be seen
	Counts     map[string]int `json:"counts"`     // of all that may be seen, by severity
	Namespaces []string       `json:"namespaces"` // to choose from
	Models     []string       `json:"models"`
	Nodes      []string       `json:"nodes"`
}

// deviceFilter narrows a list of devices. What is empty matches all.
type deviceFilter struct {
	namespace, device, model, node string // globs
	text                           string // in the name of a namespace, device, model, node or property, or in a label; in small letters
	label, labelValue              string
	severity                       *driver.Severity
	limit, offset                  int
}

func (f *deviceFilter) parse(q url.Values) error {
	f.namespace, f.device, f.model, f.node, f.text = q.Get("namespace"), q.Get("device"), q.Get("model"), q.Get("node"), strings.ToLower(q.Get("text"))
	err := globs(q, "namespace", "device", "model", "node")
	if err != nil {
		return err
	}
	if len(f.text) > mostText {
		return fmt.Errorf("text: %d bytes, want at most %d", len(f.text), mostText)
	}
	f.label, f.labelValue, _ = strings.Cut(q.Get("label"), "=")
	if text := q.Get("severity"); text != "" {
		f.severity = new(driver.Severity)
		if err := f.severity.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("severity: want %w", err)
		}
	}
	if f.limit, err = Number(q, "limit", usualDevices, 1, mostDevices); err != nil {
		return err
	}
	f.offset, err = Number(q, "offset", 0, 0, mostVerdicts)
	return err
}

// fits reports whether a device is one of those.
func (f *deviceFilter) fits(d *group) bool {
	return fits(f.namespace, d.keys[0].Namespace) && fits(f.device, d.keys[0].Device) && fits(f.model, d.model) && fits(f.node, d.node) &&
		(f.severity == nil || *f.severity == d.worst) && (f.label == "" || d.labels[f.label] != "" && fits(f.labelValue, d.labels[f.label])) &&
		(f.text == "" || d.says(f.text))
}

// group is a device: its keys are among those of the server, next to each other.
type group struct {
	keys       []driver.Key
	severities []driver.Severity
	worst      driver.Severity
	model      string
	node       string
	labels     map[string]string
}

func (d *group) says(text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if has(d.keys[0].Namespace+"/"+d.keys[0].Device) || has(d.model) || has(d.node) {
		return true
	}
	for name, value := range d.labels {
		if has(name + "=" + value) {
			return true
		}
	}
	return slices.ContainsFunc(d.keys, func(k driver.Key) bool { return has(k.Property) })
}

// grouped calls each with every device that may be seen, in order of their names. What it is given is used again.
func (s *Server) grouped(v *viewer, each func(*group)) {
	keys := s.keys()
	severities := s.severities(keys)
	for from := 0; from < len(keys); {
		to := from + 1
		for to < len(keys) && keys[to].Namespace == keys[from].Namespace && keys[to].Device == keys[from].Device {
			to++
		}
		if v.sees(keys[from].Namespace) {
			d := group{keys: keys[from:to], severities: severities[from:to], worst: slices.Max(severities[from:to])}
			if s.about != nil {
				about := s.about(keys[from])
				d.model, d.node, d.labels = about.Model, about.Node, about.Labels
			}
			each(&d)
		}
		from = to
	}
}

// severities are those of the latest verdicts on keys; Unknown of those that were forgotten meanwhile.
func (s *Server) severities(keys []driver.Key) []driver.Severity {
	out := make([]driver.Severity, len(keys))
	for from := 0; from < len(keys); from += keysAtOnce {
		s.mu.Lock()
		for i := from; i < min(from+keysAtOnce, len(keys)); i++ {
			out[i] = s.latest[keys[i]].Severity
		}
		s.mu.Unlock()
	}
	return out
}

// device copies one for an answer.
func (d *group) device() Device {
	out := Device{Namespace: d.keys[0].Namespace, Device: d.keys[0].Device, Model: d.model, Node: d.node, Labels: d.labels, Severity: d.worst}
	for i, k := range d.keys {
		out.Properties = append(out.Properties, PropertyState{k.Property, d.severities[i]})
	}
	slices.SortStableFunc(out.Properties, func(a, b PropertyState) int { return int(b.Severity) - int(a.Severity) })
	out.Properties = out.Properties[:min(len(out.Properties), mostNamed)]
	return out
}

// devices answers GET /v1/devices: devices by their state, the worst first. The query may narrow by namespace, device,
// model, node (globs), label (name=glob), text, and severity; limit and offset page.
func (s *Server) devices(w http.ResponseWriter, r *http.Request) {
	var f deviceFilter
	if err := f.parse(r.URL.Query()); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := DeviceList{Devices: []Device{}, Counts: make(map[string]int), Namespaces: []string{}, Models: []string{}, Nodes: []string{}}
	var found [driver.Critical + 1][]group // by severity, each in order of names
	choose := func(list *[]string, name string) {
		if i, there := slices.BinarySearch(*list, name); !there && name != "" && len(*list) < mostChoices {
			*list = slices.Insert(*list, i, name)
		}
	}
	s.grouped(viewerOf(r), func(d *group) {
		answer.All++
		answer.Counts[d.worst.String()]++
		choose(&answer.Namespaces, d.keys[0].Namespace)
		choose(&answer.Models, d.model)
		choose(&answer.Nodes, d.node)
		if f.fits(d) {
			answer.Fit++
			found[d.worst] = append(found[d.worst], *d)
		}
	})
	skip := f.offset
	for _, list := range slices.Backward(found[:]) {
		from := min(skip, len(list))
		skip -= from
		for i := from; i < len(list) && len(answer.Devices) < f.limit; i++ {
			answer.Devices = append(answer.Devices, list[i].device())
		}
	}
	WriteJSON(w, http.StatusOK, answer)
}

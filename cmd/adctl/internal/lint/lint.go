// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package lint finds in manifests of Devices and DeviceModels what would do harm once they are applied: EdgeCore drops
// a whole Device for one value that it cannot carry, and says so only in the log of the node.
package lint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Severity of a finding.
type Severity string

// The severities. An error keeps a device or a property from working; a warning is likely not what was meant; a notice
// says what could not be checked.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Notice  Severity = "notice"
)

// Finding is something wrong at a place in a file.
type Finding struct {
	File     string   `json:"file"`
	Line     int      `json:"line"` // from 1
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	Rule     string   `json:"rule"`
	Object   string   `json:"object,omitempty"`   // namespace/name
	Property string   `json:"property,omitempty"` // of the Device
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy,omitempty"`
}

// Linter collects the manifests of several files, as a Device and its model may stand in different ones.
type Linter struct {
	options  pipeline.Options
	findings []Finding
	devices  []*instance
	watched  []*watched
	models   map[string]*model // by namespace/name
	objects  int
}

// New returns a linter that knows the detectors, adapters and sinks of the registries in options.
func New(options pipeline.Options) *Linter {
	return &Linter{options: options, models: make(map[string]*model)}
}

// Read takes the manifests of a file: YAML documents, or JSON. Objects of other kinds are passed over. What is no YAML
// is a finding, not an error; the error is that of reading.
func (l *Linter) Read(name string, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	docs, err := documents(data)
	for _, doc := range docs {
		asKubectl(doc)
		l.object(name, doc)
	}
	if err != nil {
		line, message := position(err)
		if bytes.Contains(data, []byte("{{")) {
			l.template(name, line, "")
			return nil
		}
		l.add(Finding{File: name, Line: line, Column: 1, Severity: Error, Rule: "yaml", Message: message})
	}
	return nil
}

// documents parses a stream of YAML documents up to the first that is broken.
func documents(data []byte) (docs []*yaml.Node, err error) {
	defer func() { // the parser reports some broken streams by a panic
		if p := recover(); p != nil {
			err = fmt.Errorf("yaml: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		doc := new(yaml.Node)
		switch err := dec.Decode(doc); {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return docs, err
		}
		docs = append(docs, doc)
	}
}

// position takes the line out of an error of the parser, which has it in its text only.
func position(err error) (line int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if _, scanErr := fmt.Sscanf(message, "line %d:", &line); scanErr == nil {
		_, message, _ = strings.Cut(message, ": ")
	}
	return max(line, 1), message
}

// object takes a Device, a DeviceModel, or a List of them.
func (l *Linter) object(file string, n *yaml.Node) {
	n = content(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	kind, version := text(child(n, "kind")), text(child(n, "apiVersion"))
	if strings.HasSuffix(kind, "List") {
		for _, item := range items(child(n, "items")) {
			l.object(file, item)
		}
		return
	}
	group, v, _ := strings.Cut(version, "/")
	if group != "devices.kubeedge.io" || kind != "Device" && kind != "DeviceModel" {
		return
	}
	l.objects++
	at := place{file: file, linter: l, object: objectName(n)}
	if t := templated(n); t != nil {
		l.template(file, t.Line, at.object)
		return
	}
	if v != "v1beta1" {
		at.warn("api-version", child(n, "apiVersion"), "",
			fmt.Sprintf("%s knows no anomalyDetection", version), "write the manifest as devices.kubeedge.io/v1beta1")
		return
	}
	name := child(child(n, "metadata"), "name")
	if text(name) == "" {
		at.fail("name", n, "", kind+" without metadata.name", "give it a name")
		return
	}
	at.checkDuplicates(n)
	at.checkShape(n, kind)
	if kind == "Device" {
		l.devices = append(l.devices, &instance{place: at, node: n, spec: child(n, "spec")})
		return
	}
	l.models[at.object] = newModel(at, child(n, "spec"))
}

// objectName is namespace/name; Kubernetes takes the namespace from the context where the manifest has none.
func objectName(n *yaml.Node) string {
	meta := child(n, "metadata")
	namespace := text(child(meta, "namespace"))
	if namespace == "" {
		namespace = "default"
	}
	return namespace + "/" + text(child(meta, "name"))
}

// Findings checks what was read and returns what is wrong, by file and line. objects is the number of Devices and
// DeviceModels that were read.
func (l *Linter) Findings() (findings []Finding, objects int) {
	groups := make(map[groupKey][]*watched)
	for _, d := range l.devices {
		d.check(l.models, groups)
	}
	l.checkGroups(groups)
	for _, w := range l.watched {
		members := 1
		if w.config.Group != "" {
			members = len(groups[groupKey{w.key.Namespace, w.config.Group}])
		}
		if err := l.options.Check(w.key, w.config, w.meta, members); err != nil {
			w.at.settingErrors(err, w.node, w.keys, w.key.Property)
		} else if w.config.Group == "" {
			l.checkAlone(w)
		}
	}
	slices.SortStableFunc(l.findings, func(a, b Finding) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			return c
		}
		if c := a.Line - b.Line; c != 0 {
			return c
		}
		return a.Column - b.Column
	})
	return slices.Compact(l.findings), l.objects
}

// checkAlone finds detectors that have nothing to judge without a group.
func (l *Linter) checkAlone(w *watched) {
	drivers := l.options.Drivers
	if drivers == nil {
		drivers = driver.Default
	}
	f, err := drivers.Lookup(w.config.Detector)
	if err == nil && w.config.ADMethodName == inprocess && slices.Contains(f.Info().Kinds, driver.KindCausal) {
		w.at.fail("no-group", nodeOf("detector", w.keys, w.node), w.key.Property,
			fmt.Sprintf("%s tells which member of a group is to blame, and this property has no group", w.config.Detector), "write the key group, or take another detector, such as auto")
	}
}

// inprocess is the adapter whose detectors are known here.
const inprocess = "inprocess"

func (l *Linter) add(f Finding) { l.findings = append(l.findings, f) }

// place is where findings of an object belong.
type place struct {
	file, object string
	linter       *Linter
}

func (p place) fail(rule string, n *yaml.Node, property, message, remedy string) {
	p.report(Error, rule, n, property, message, remedy)
}

func (p place) warn(rule string, n *yaml.Node, property, message, remedy string) {
	p.report(Warning, rule, n, property, message, remedy)
}

func (p place) report(s Severity, rule string, n *yaml.Node, property, message, remedy string) {
	f := Finding{
		File: p.file, Line: 1, Column: 1, Severity: s, Rule: rule, Object: p.object, Property: property,
		Message: message, Remedy: remedy,
	}
	if n != nil && n.Line > 0 {
		f.Line, f.Column = n.Line, n.Column
	}
	p.linter.add(f)
}

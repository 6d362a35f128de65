// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	"go.yaml.in/yaml/v3"

	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// checkShape holds a Device or a DeviceModel against its Go type: the API server refuses values of other types, and
// fields that it does not know are refused or pruned.
func (p place) checkShape(n *yaml.Node, kind string) {
	spec := reflect.TypeFor[v1beta1.DeviceSpec]()
	if kind == "DeviceModel" {
		spec = reflect.TypeFor[v1beta1.DeviceModelSpec]()
	}
	top := []string{"apiVersion", "kind", "metadata", "spec", "status"}
	for _, e := range entries(n) {
		if !slices.Contains(top, e.key.Value) {
			p.unknownField(e.key, "", kind, top)
		}
	}
	p.checkType(child(n, "spec"), spec, "", "spec")
}

var freeForm = []reflect.Type{reflect.TypeFor[v1beta1.CustomizedValue](), reflect.TypeFor[v1beta1.AnomalyDetectionConfig]()}

func (p place) checkType(n *yaml.Node, t reflect.Type, property, path string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNull(n) {
		return
	}
	is := func(ok bool, want, remedy string) bool {
		if !ok {
			p.fail("type", n, property, path+": "+want, remedy)
		}
		return ok
	}
	switch {
	case slices.Contains(freeForm, t):
		if !strings.HasSuffix(path, ".anomalyDetection") { // which has a check of its own
			is(n.Kind == yaml.MappingNode, "want a map of scalars", "write key: value")
		}
	case t.Kind() == reflect.Struct:
		if is(n.Kind == yaml.MappingNode, "want a map", "write key: value") {
			p.checkFields(n, t, property, path)
		}
	case t.Kind() == reflect.Slice:
		if !is(n.Kind == yaml.SequenceNode, "want a list", "write - in front of each item") {
			return
		}
		for i, item := range items(n) {
			of := property
			if path == "spec.properties" {
				of = text(child(item, "name"))
			}
			p.checkType(item, t.Elem(), of, fmt.Sprintf("%s[%d]", path, i))
		}
	case t.Kind() == reflect.Map:
		if is(n.Kind == yaml.MappingNode, "want a map", "write key: value") {
			for _, e := range entries(n) {
				p.checkType(e.value, t.Elem(), property, path+"."+e.key.Value)
			}
		}
	case n.Kind != yaml.ScalarNode:
		is(false, "want one value, not a map or a list", "")
	case t.Kind() == reflect.String:
		read := "number"
		if n.Tag == "!!bool" {
			read = "boolean"
		}
		is(n.Tag == "!!str", fmt.Sprintf("want a text; kubectl reads %s as a %s", n.Value, read), fmt.Sprintf("write it in quotes: %q", n.Value))
	case t.Kind() == reflect.Bool:
		is(n.Tag == "!!bool", fmt.Sprintf("got %q, want true or false", n.Value), "write it without quotes")
	default:
		is(n.Tag == "!!int", fmt.Sprintf("got %q, want a whole number", n.Value), "write it without quotes and unit")
	}
}

func (p place) checkFields(n *yaml.Node, t reflect.Type, property, path string) {
	fields := make(map[string]reflect.Type)
	var names []string
	for f := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(f).Tag.Get("json"), ",")
		fields[name] = t.Field(f).Type
		names = append(names, name)
	}
	for _, e := range entries(n) {
		if f, ok := fields[e.key.Value]; ok {
			p.checkType(e.value, f, property, path+"."+e.key.Value)
		} else {
			p.unknownField(e.key, property, path, names)
		}
	}
}

func (p place) unknownField(key *yaml.Node, property, path string, known []string) {
	remedy := "remove it"
	i := slices.IndexFunc(known, func(name string) bool { return strings.EqualFold(name, key.Value) })
	switch near := params.Nearest(key.Value, known); {
	case i >= 0:
		remedy = fmt.Sprintf("write %s", known[i])
	case strings.EqualFold(key.Value, "anomalyDetection"):
		remedy = "put anomalyDetection under pushMethod of a property"
	case near != "":
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	p.fail("unknown-field", key, property, fmt.Sprintf("%s has no field %s: the API server refuses the object or leaves the field out", path, key.Value), remedy)
}

// checkDuplicates finds keys that stand twice in one map: kubectl takes the last without a word.
func (p place) checkDuplicates(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		first := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
				continue
			}
			if line := first[key.Value]; line > 0 {
				p.fail("duplicate-key", key, "", fmt.Sprintf("the key %s stands in line %d, too: only one of them counts", key.Value, line), "remove one of them")
				continue
			}
			first[key.Value] = key.Line
		}
	}
	for _, below := range n.Content {
		p.checkDuplicates(below)
	}
}

// checkConfigData finds in free-form configuration of drivers what EdgeCore cannot carry there either.
func (p place) checkConfigData(n *yaml.Node, where, property string) {
	for _, e := range entries(n) {
		if !p.deadly(e, where+"."+e.key.Value, property, "write it as one text, which the driver reads; --fix does",
			"choose another name, here and in the driver; --fix cannot, as it does not know which name the driver reads") {
			p.carried(e, property)
		}
	}
}

// deadly finds what makes EdgeCore drop the whole Device, wherever free-form values stand: EdgeCore makes scalars of
// them, and the key data meets a field of the message that carries them, whatever its case.
func (p place) deadly(e entry, name, property, flatten, rename string) bool {
	if e.key.Tag == "!!bool" && !strings.EqualFold(e.key.Value, "true") && !strings.EqualFold(e.key.Value, "false") {
		p.warn("yaml-key", e.key, property, fmt.Sprintf("kubectl reads the key %s as %t", e.key.Value, isYes(e.key.Value)), fmt.Sprintf("write it in quotes: %q", e.key.Value))
	}
	switch {
	case isData(e.key):
		if isNull(e.value) {
			rename = "remove it; --fix does"
		}
		p.fail("data-key", e.key, property, fmt.Sprintf("the key %s makes EdgeCore drop the whole Device", name), rename)
	case isNested(e.value):
		p.fail("nested-value", e.value, property, fmt.Sprintf("%s is a map or a list: EdgeCore drops the whole Device", name), flatten)
	case isNull(e.value):
		p.fail("null", e.key, property, fmt.Sprintf("%s is null: EdgeCore drops the whole Device", name), "give it a value or remove it; --fix removes it")
	default:
		return false
	}
	return true
}

// checkTwinName finds names of properties whose twins EdgeCore drops.
func (p place) checkTwinName(n *yaml.Node, name string) {
	if legal := device.LegalTwinName(name); legal != name {
		remedy := "choose another name, in the DeviceModel, too"
		if legal != "" {
			remedy = fmt.Sprintf("for example %q, in the DeviceModel, too", legal)
		}
		p.fail("twin-name", n, name, "EdgeCore drops the twins of a property of this name: want at most 128 of a-z A-Z 0-9 - _ . , : / @ #", remedy)
	}
}

// templated finds what a template engine has yet to fill in: a scalar that holds {{, or {{ x }} itself, which YAML
// reads as a map in a map.
func templated(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "{{") && (n.Style == 0 || strings.Contains(n.Value, "}}")) {
		return n
	}
	if n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode {
		return n
	}
	for _, below := range n.Content {
		if t := templated(below); t != nil {
			return t
		}
	}
	return nil
}

func (l *Linter) template(file string, line int, object string) {
	l.add(Finding{
		File: file, Line: line, Column: 1, Severity: Error, Rule: "template", Object: object,
		Message: "this is a template, not a manifest: {{ has to be filled in first", Remedy: "render the chart first: helm template CHART | adctl lint -",
	})
}

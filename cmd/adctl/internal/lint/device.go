// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// model is a DeviceModel.
type model struct {
	properties map[string]modelProperty
	names      []string
}

type modelProperty struct{ dataType, accessMode, minimum, maximum, unit string }

func newModel(at place, spec *yaml.Node) *model {
	m := &model{properties: make(map[string]modelProperty)}
	at.checkConfigData(child(spec, "protocolConfigData"), "protocolConfigData", "")
	for _, p := range items(child(spec, "properties")) {
		name := child(p, "name")
		at.checkTwinName(name, text(name))
		at.checkConfigData(child(child(p, "visitors"), "configData"), "visitors.configData", text(name))
		if _, twice := m.properties[text(name)]; twice {
			at.fail("duplicate", name, text(name), "the model has this property twice", "remove one of them")
			continue
		}
		m.names = append(m.names, text(name))
		m.properties[text(name)] = modelProperty{
			dataType: strings.ToLower(text(child(p, "type"))), accessMode: text(child(p, "accessMode")),
			minimum: text(child(p, "minimum")), maximum: text(child(p, "maximum")), unit: text(child(p, "unit")),
		}
		lower, upper := child(p, "minimum"), child(p, "maximum")
		l, lErr := strconv.ParseFloat(text(lower), 64)
		u, uErr := strconv.ParseFloat(text(upper), 64)
		for _, bound := range []struct {
			node *yaml.Node
			err  error
		}{{lower, lErr}, {upper, uErr}} {
			if text(bound.node) != "" && bound.err != nil {
				at.warn("model-bounds", bound.node, text(name), fmt.Sprintf("%q is no number: it bounds nothing", text(bound.node)), "write a number")
			}
		}
		if lErr == nil && uErr == nil && l > u {
			at.fail("model-bounds", lower, text(name), fmt.Sprintf("minimum %v is over maximum %v", l, u), "exchange them")
		}
	}
	return m
}

// instance is a Device.
type instance struct {
	place
	node, spec *yaml.Node
}

// watched is a property that anomaly detection is configured for.
type watched struct {
	at     place
	node   *yaml.Node // of anomalyDetection
	key    driver.Key
	keys   map[string]*yaml.Node // of anomalyDetection, as written
	config admethod.ADMethodConfig
	meta   admethod.Meta
}

func (d *instance) check(models map[string]*model, groups map[groupKey][]*watched) {
	namespace, name, _ := strings.Cut(d.object, "/")
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		d.fail("name", child(child(d.node, "metadata"), "name"), "", fmt.Sprintf("%q is no name: %s", name, problems[0]), "")
	}
	if text(child(d.spec, "nodeName")) == "" {
		d.fail("node", d.at(), "", "no nodeName: the Device reaches no node", "name the node that its mapper runs on")
	}
	if text(child(child(d.spec, "protocol"), "protocolName")) == "" {
		d.fail("protocol", d.at(), "", "no protocol.protocolName: no mapper takes the Device", "name the protocol that its mapper registers for")
	}
	m := d.model(models, namespace)
	d.checkConfigData(child(child(d.spec, "protocol"), "configData"), "protocol.configData", "")
	seen := make(map[string]bool)
	for _, p := range items(child(d.spec, "properties")) {
		property := text(child(p, "name"))
		switch {
		case property == "":
			d.fail("name", p, "", "a property without a name", "name it as in the model")
			continue
		case seen[property]:
			d.fail("duplicate", child(p, "name"), property, "the Device has this property twice", "remove one of them")
			continue
		}
		seen[property] = true
		d.checkTwinName(child(p, "name"), property)
		declared, known := modelProperty{}, false
		if m != nil {
			if declared, known = m.properties[property]; !known {
				d.missing(m, child(p, "name"), property)
			}
		}
		d.checkTwin(p, property, declared)
		d.checkConfigData(child(child(p, "visitors"), "configData"), "visitors.configData", property)
		push := child(p, "pushMethod")
		config := child(push, "anomalyDetection")
		if isNull(config) {
			continue
		}
		for _, other := range []string{"http", "mqtt", "otel"} {
			if n := child(push, other); !isNull(n) {
				d.warn("push-beside", n, property,
					fmt.Sprintf("a mapper of KubeEdge's own framework ignores anomalyDetection beside %s", other),
					"run the mapper on this project's device package, which takes both, or remove "+other)
			}
		}
		if isNull(child(child(p, "visitors"), "configData")) {
			d.warn("visitors", p, property, "without visitors.configData a mapper of KubeEdge's own framework panics", "add configData, {} at least")
		}
		w := d.checkConfig(config, driver.Key{Namespace: namespace, Device: name, Property: property}, declared, p)
		if w == nil {
			continue
		}
		if !known { // what the model says is not known, so nothing is held against it
			w.meta.Minimum, w.meta.Maximum = "0", "1"
		}
		d.linter.watched = append(d.linter.watched, w)
		if w.config.Group != "" {
			key := groupKey{namespace, w.config.Group}
			groups[key] = append(groups[key], w)
		}
	}
}

// model finds the Device's model among those that were read; nil where it was not.
func (d *instance) model(models map[string]*model, namespace string) *model {
	ref := child(child(d.spec, "deviceModelRef"), "name")
	if text(ref) == "" {
		d.fail("model", d.at(), "", "no deviceModelRef.name: a mapper cannot make the Device", "name its DeviceModel")
		return nil
	}
	name := namespace + "/" + text(ref)
	m := models[name]
	if m == nil {
		d.report(Notice, "model-absent", ref, "", fmt.Sprintf("DeviceModel %s is not among the files: what depends on it was not checked", name), "give its manifest, too")
	}
	return m
}

// at is the node to blame for what is missing.
func (d *instance) at() *yaml.Node {
	if d.spec == nil {
		return d.node
	}
	return d.spec
}

func (d *instance) missing(m *model, n *yaml.Node, property string) {
	remedy := "add it to the model"
	if near := params.Nearest(property, m.names); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	d.fail("model-property", n, property, "not in the DeviceModel: upstream mappers panic, others leave it out", remedy)
}

// checkTwin looks at what is to be written to the device.
func (d *instance) checkTwin(p *yaml.Node, property string, declared modelProperty) {
	desired := child(child(p, "desired"), "value")
	if declared.accessMode == "ReadWrite" && isNull(desired) {
		d.warn("desired", p, property, "ReadWrite without desired.value: upstream mappers write the empty text to the device", "give it a desired value, or make it ReadOnly in the model")
	}
	if desired == nil {
		return
	}
	value := text(desired)
	if legal := device.LegalTwinValue(value); legal != value {
		d.fail("twin-value", desired, property,
			"EdgeCore carries at most 512 of a-z A-Z 0-9 - _ . , : / @ # in a twin, and drops other values without an error",
			fmt.Sprintf("for example %q", legal))
	}
}

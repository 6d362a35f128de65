// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// checkConfig checks pushMethod.anomalyDetection of the property p. It returns nil where the configuration cannot be
// read.
func (d *instance) checkConfig(n *yaml.Node, key driver.Key, declared modelProperty, p *yaml.Node) *watched {
	property := key.Property
	if n.Kind != yaml.MappingNode {
		d.fail("config", n, property, "anomalyDetection is a map of scalars", "write key: value")
		return nil
	}
	settings := make(map[string]any)
	nodes := make(map[string]*yaml.Node)
	for _, e := range entries(n) {
		name := e.key.Value
		nodes[name] = e.key
		if isNested(e.value) {
			if v, err := decode(e.value); err == nil {
				settings[name] = v
			}
		}
		rename := "remove it, nothing reads it; --fix does"
		if e.value != nil && e.value.Kind == yaml.MappingNode {
			rename = "write what it holds one level up; --fix does, unless a key stands there with another value"
		}
		if d.deadly(e, name, property, "write dotted keys, or one JSON text under the key config; --fix does", rename) {
			continue
		}
		settings[name] = d.carried(e, property)
	}
	config, err := admethod.Layers{Device: settings}.Parse()
	if err != nil {
		d.settingErrors(err, n, nodes, property)
		// What is wrong with the other keys is to be said in the same run.
		for _, e := range leaves(err) {
			var wrong *params.Error
			if errors.As(e, &wrong) {
				delete(settings, wrong.Key)
			}
		}
		if config, err = (admethod.Layers{Device: settings}).Parse(); err != nil {
			return nil
		}
	}
	d.checkUnused(&config, n, nodes, property)
	return &watched{at: d.place, node: n, keys: nodes, key: key, config: config, meta: admethod.Meta{
		DataType: declared.dataType, AccessMode: declared.accessMode, Unit: declared.unit,
		Minimum: declared.minimum, Maximum: declared.maximum, Cycle: cycleOf(p),
	}}
}

// checkUnused finds keys of adapters that are linked and not asked for: nothing reads them, whatever they say.
func (d *instance) checkUnused(c *admethod.ADMethodConfig, n *yaml.Node, nodes map[string]*yaml.Node, property string) {
	adapters := d.linter.options.Adapters
	if adapters == nil {
		adapters = admethod.Adapters
	}
	for _, name := range adapters.Names() {
		if name == c.ADMethodName {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(c.Options[name])) {
			key = name + "." + key
			d.warn("no-effect", nodeOf(key, nodes, n), property, fmt.Sprintf("%s has no effect: adMethodName is %s", key, c.ADMethodName),
				fmt.Sprintf("remove it, or write adMethodName: %s", name))
		}
	}
}

// carried is a scalar as EdgeCore hands it on: a number becomes a float32.
func (p place) carried(e entry, property string) any {
	v := e.value
	switch v.Tag {
	case "!!bool":
		return isYes(v.Value)
	case "!!int", "!!float":
		var f float64
		if err := v.Decode(&f); err != nil {
			return v.Value
		}
		arrives, exact := asFloat32(f)
		if !exact {
			report := p.warn
			if narrow := float32(f); math.IsInf(float64(narrow), 0) || narrow == 0 {
				report = p.fail
			}
			report("float32", v, property, fmt.Sprintf("%s: %s arrives as %s, as EdgeCore carries numbers as float32", e.key.Value, v.Value, arrives),
				fmt.Sprintf("write it as text: %q", v.Value))
		}
		return json.Number(arrives)
	}
	return v.Value
}

// settingErrors reports each of the joined errors at its key.
func (p place) settingErrors(err error, at *yaml.Node, nodes map[string]*yaml.Node, property string) {
	for _, e := range leaves(err) {
		node, rule, message, remedy := at, "config", e.Error(), ""
		var wrong *params.Error
		if errors.As(e, &wrong) {
			rule = "value"
			switch {
			case admethod.IsOperators(wrong):
				rule = "not-device"
				if text, instead, ok := strings.Cut(message, " it: "); ok {
					message, remedy = text+" it", instead
				}
			case strings.HasPrefix(wrong.Want, "unknown key"):
				rule = "unknown-key"
			}
			node = nodeOf(wrong.Key, nodes, at)
			if v := child(at, wrong.Key); v != nil && v.Tag == "!!bool" && !strings.EqualFold(v.Value, "true") && !strings.EqualFold(v.Value, "false") {
				remedy = fmt.Sprintf("kubectl reads %s as %t: write %q in quotes if the text is meant", v.Value, isYes(v.Value), v.Value)
			}
		} else {
			for _, key := range []string{"detector", "sinks", "adMethodName"} {
				if strings.HasPrefix(e.Error(), key+": ") && nodes[key] != nil {
					rule, node = "unknown-name", nodes[key]
				}
			}
		}
		p.fail(rule, node, property, message, remedy)
	}
}

// nodeOf finds the key, or what it is nested in.
func nodeOf(key string, nodes map[string]*yaml.Node, otherwise *yaml.Node) *yaml.Node {
	for k := key; k != ""; {
		if n := nodes[k]; n != nil {
			return n
		}
		i := strings.LastIndexByte(k, '.')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	if n := nodes["config"]; n != nil {
		return n
	}
	return otherwise
}

// leaves are the errors that were joined.
func leaves(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	if inner := errors.Unwrap(err); inner != nil {
		if _, ok := inner.(interface{ Unwrap() []error }); ok { // a sentence in front of several
			return leaves(inner)
		}
	}
	return []error{err}
}

func cycleOf(p *yaml.Node) time.Duration {
	n, err := strconv.ParseInt(text(child(p, "reportCycle")), 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return admethod.Cycle(n, 0)
}

type groupKey struct{ namespace, name string }

// checkGroups checks what only several properties together show, and then each as Bind would.
func (l *Linter) checkGroups(groups map[groupKey][]*watched) {
	spread := make(map[string][]string) // group: namespaces
	for key, members := range groups {
		if !slices.Contains(spread[key.name], key.namespace) {
			spread[key.name] = append(spread[key.name], key.namespace)
		}
		checkAlignment(members)
	}
	for key, members := range groups {
		if namespaces := spread[key.name]; len(namespaces) > 1 {
			slices.Sort(namespaces)
			for _, w := range members {
				w.at.warn("group-namespaces", nodeOfKey(w.node, "group"), w.key.Property,
					fmt.Sprintf("group %q stands in the namespaces %s: these are %d groups, not one", key.name, strings.Join(namespaces, ", "), len(namespaces)),
					"put the devices into one namespace, or give the groups names of their own")
			}
		}
	}
}

// checkAlignment finds members that cannot make rows together.
func checkAlignment(members []*watched) {
	first := members[0]
	if len(members) == 1 {
		first.at.warn("group-alone", nodeOfKey(first.node, "group"), first.key.Property,
			fmt.Sprintf("no other property is in group %q", first.config.Group), "give the manifests of all members, or remove the group")
		return
	}
	slowest := first.meta.Cycle
	for _, w := range members {
		slowest = max(slowest, w.meta.Cycle)
	}
	for _, w := range members {
		for _, c := range []struct{ name, got, want string }{
			{"adMethodName", w.config.ADMethodName, first.config.ADMethodName},
			{"detector", w.config.Detector, first.config.Detector}, {"model", w.config.Model, first.config.Model},
		} {
			if c.got != c.want {
				w.at.fail("group-differs", nodeOfKey(w.node, c.name), w.key.Property,
					fmt.Sprintf("%s %q differs from %q of %v in the same group", c.name, c.got, c.want, first.key), "write the same for all members")
			}
		}
		const most = 4 // cycles after which a member's reading no longer stands for it
		if maxAge := w.config.Rows.MaxAge; w.meta.Cycle > 0 && maxAge > 0 && slowest > maxAge {
			w.at.fail("group-align", nodeOfKey(w.node, "rows.maxAge"), w.key.Property,
				fmt.Sprintf("a member reports every %v, which is more than rows.maxAge %v: rows are never complete", slowest, maxAge), "raise rows.maxAge")
		} else if w.meta.Cycle > 0 && slowest > most*w.meta.Cycle {
			w.at.warn("group-align", nodeOfKey(w.node, "group"), w.key.Property,
				fmt.Sprintf("reports every %v, another member of the group every %v: most readings meet an old one", w.meta.Cycle, slowest), "bring the report cycles closer")
		}
	}
}

func nodeOfKey(n *yaml.Node, key string) *yaml.Node {
	for _, e := range entries(n) {
		if e.key.Value == key {
			return e.key
		}
	}
	return n
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// What a Device says is bounded before anything is made of it, and what is said of it is short.
func TestBoundsOfADevice(t *testing.T) {
	many := make(map[string]any)
	for i := range 300 {
		many[fmt.Sprint("detector.k", i)] = 1
	}
	for name, settings := range map[string]map[string]any{
		"a group name of 1 MB":        {"group": strings.Repeat("g", 1<<20)},
		"a group name of 1,000":       {"group": strings.Repeat("g", 1000)},
		"100,000 maintenance windows": {"mute": strings.Repeat("22:00-06:00,", 100_000)},
		"1,000 maintenance windows":   {"mute": strings.Repeat("22:00-06:00,", 1000)},
		"1,000 sinks":                 {"sinks": strings.Repeat("log,", 1000)},
		"a key of 1 MB":               {strings.Repeat("k", 1<<20): 1},
		"300 keys":                    many,
		"300 keys in one text":        {"config": jsonOf(t, many)},
		"a text of 1 MB":              {"config": `{"group":"` + strings.Repeat("g", 1<<20) + `"}`},
		"a timezone of 2,000":         {"timezone": strings.Repeat("z", 2000)},
		"a list of 1,000 lists":       {"categories": []any{strings.Repeat("c", 2000)}},
		"a heartbeat of 200 years":    {"heartbeat": "1752000h"},
		"a cycle of 200 years":        {"quality.cycle": "1752000h"},
		"an age of 200 years":         {"rows.maxAge": "1752000h"},
		"an acceptance of 200 years":  {"accept": "1752000h"},
		"a deviation of 1e300":        {"minDeviation": 1e300},
		"a map in a map":              {"quality": map[string]any{"cycle": strings.Repeat("9", 1<<20)}},
	} {
		_, err := admethod.Layers{Device: settings}.Parse()
		if err == nil {
			t.Errorf("%s is taken", name)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	if _, err := admethod.Parse([]byte(`{"group":"` + strings.Repeat("g", 1<<20) + `"}`)); err == nil {
		t.Error("1 MB of JSON is taken")
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A Device names only sinks that are for Devices, and sets only what is a Device's; the operator sets what he wants.
func TestOwners(t *testing.T) {
	type peer struct {
		Name   string `param:"name" scope:"device"`
		Secret string `param:"secret" scope:"target"`
		Depth  int    `param:"depth"`
	}
	adapters := new(admethod.AdapterRegistry)
	adapters.Register("far", admethod.AdapterFactory{Name: "far", Params: func() []params.Param { return params.Describe(peer{}) }})
	type tuned struct {
		Window int `param:"window"`
		Seed   int `param:"seed" scope:"operator"`
	}
	drivers := driver.NewRegistry(driver.NewFactory(driver.Info{Name: "tuned"}, func() tuned { return tuned{} },
		func(driver.Settings, tuned) (driver.Detector, error) { return nil, errors.New("not opened here") }))
	sinks := new(admethod.SinkRegistry)
	for _, name := range []string{"log", "api"} {
		sinks.Register(name, admethod.SinkFactory{Name: name})
	}
	o := pipeline.Options{Drivers: drivers, Adapters: adapters, Sinks: sinks, DefaultSinks: []string{"log"}}
	for _, c := range []struct {
		operator, device map[string]any
		refused          string // of the Device's keys; "" none
	}{
		{nil, map[string]any{"far.name": "x", "detector.window": 3, "sinks": "log"}, ""},
		{nil, map[string]any{"far.secret": "x"}, "far.secret: a Device must not set it: it belongs in the mapper's configuration, under adapterOptions.far"},
		{nil, map[string]any{"far.depth": 3}, "far.depth"},
		{nil, map[string]any{"config": `{"far":{"depth":3}}`}, "far.depth"},
		{nil, map[string]any{"far": map[string]any{"depth": 3}}, "far.depth"},
		{nil, map[string]any{"detector.seed": 3}, "detector.seed"},
		{nil, map[string]any{"sinks": "log,api"}, `"api" is not among the sinks for Devices (log)`},
		{map[string]any{"far.secret": "x", "far.depth": 3, "detector.seed": 3, "sinks": "api"}, nil, ""},
		{map[string]any{"far.secret": "x"}, map[string]any{"far.secret": "y"}, "far.secret"},
		{map[string]any{"sinks": "api"}, map[string]any{"sinks": "api"}, `"api" is not among`},
	} {
		config, err := admethod.Layers{Operator: c.operator, Device: merge(map[string]any{"adMethodName": "far", "detector": "tuned"}, c.device)}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		err = o.Check(driver.Key{Namespace: "ns", Device: "d", Property: "p"}, config, admethod.Meta{}, 1)
		if got := admethod.IsOperators(err); got != (c.refused != "") || c.refused != "" && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%v over %v: %v, want %q", c.device, c.operator, err, c.refused)
		}
	}
	o.DeviceSinks = []string{"api"}
	config, err := admethod.Layers{Device: map[string]any{"sinks": "api", "adMethodName": "far", "detector": "tuned"}}.Parse()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Check(driver.Key{}, config, admethod.Meta{}, 1); admethod.IsOperators(err) {
		t.Errorf("a sink for Devices: %v", err)
	}
}

func merge(a, b map[string]any) map[string]any {
	maps.Copy(a, b)
	return a
}

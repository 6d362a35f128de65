// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// deadlyRules are those of what makes EdgeCore drop a whole Device.
var deadlyRules = []string{"nested-value", "null", "data-key"}

// What lint calls deadly is what the simulated EdgeCore drops, as the real one does, wherever it stands; and --fix mends
// it, but for the key data of a driver.
func TestDeadlyAsEdgeCore(t *testing.T) {
	const placeholder = "HERE"
	places := map[string]string{
		"anomalyDetection":       strings.Replace(deviceWith(), "anomalyDetection:\n        \n", "anomalyDetection: HERE\n", 1) + models,
		"visitors":               strings.Replace(deviceWith(), "{register: 2}", placeholder, 1) + models,
		"protocol":               strings.Replace(deviceWith(), "{port: 502}", placeholder, 1) + models,
		"visitors of the model":  deviceWith() + strings.Replace(models, "type: DOUBLE", "type: DOUBLE, visitors: {configData: HERE}", 1),
		"protocol of the model":  deviceWith() + strings.Replace(models, "protocol: modbus", "protocol: modbus\n  protocolConfigData: HERE", 1),
		"detection and protocol": strings.Replace(strings.Replace(deviceWith(), "anomalyDetection:\n        \n", "anomalyDetection: HERE\n", 1), "{port: 502}", placeholder, 1) + models,
	}
	for where, manifest := range places {
		for config, deadly := range map[string]bool{
			"{detector: auto}": false, "{detector: on}": false, "{}": false, `{config: "{}"}`: false, "{dataset: x}": false, "{metadata: x}": false,
			"{a: {b: c}}": true, "{a: {}}": true, "{a: [b]}": true, "{a: []}": true, "{a: null}": true, "{a: }": true, "{a: ~}": true,
			"{data: x}": true, "{Data: 1}": true, "{DATA: true}": true, "{dAtA: x}": true, "{data: {a: b}}": true, "{Data: [x]}": true, "{data: {}}": true,
		} {
			t.Run(where+" "+config, func(t *testing.T) {
				manifest := strings.ReplaceAll(manifest, placeholder, config)
				if dropped := droppedBySimulator(t, manifest); dropped != deadly {
					t.Fatalf("EdgeCore drops it: %v, want %v", dropped, deadly)
				}
				says := func(manifest string) bool {
					return slices.ContainsFunc(findings(t, manifest), func(f lint.Finding) bool {
						return f.Severity == lint.Error && slices.Contains(deadlyRules, f.Rule)
					})
				}
				if got := says(manifest); got != deadly {
					t.Errorf("lint calls it deadly: %v, want %v", got, deadly)
				}
				fixed, changes, err := lint.Fix([]byte(manifest), nil)
				if err != nil || deadly == (changes == 0) && !isDataKey(config) {
					t.Fatalf("the fix makes %d changes, error %v", changes, err)
				}
				mended := deadly && (where == "anomalyDetection" || !isDataKey(config))
				if mended && (says(string(fixed)) || droppedBySimulator(t, string(fixed))) {
					t.Errorf("it is deadly after the fix:\n%s", fixed)
				}
			})
		}
	}
}

func isDataKey(config string) bool { return strings.HasPrefix(strings.ToLower(config), "{data:") }

func droppedBySimulator(t *testing.T, manifest string) bool {
	t.Helper()
	m, err := edgecoretest.ParseManifests(strings.NewReader(manifest))
	if err != nil {
		t.Fatal(err)
	}
	_, err = edgecoretest.ConvertDevice(m.Devices[0], m.Models[0])
	return errors.Is(err, edgecoretest.ErrDropped)
}

func TestShape(t *testing.T) {
	good := deviceWith("detector: auto")
	change := func(old, to string) string {
		t.Helper()
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the manifest", old)
		}
		return strings.Replace(good, old, to, 1)
	}
	for _, tt := range []struct {
		name, manifest string
		want           []string
		says           string // the first finding
	}{
		{"a space in a property's name", change("name: temperature", "name: motor speed (rpm)"), []string{"f0.yaml:12 error twin-name"}, "motor_speed_rpm"},
		{"an umlaut in a property's name", change("name: temperature", "name: über"), []string{"f0.yaml:12 error twin-name"}, "_ber"},
		{"a long name", change("name: temperature", "name: "+strings.Repeat("a", 129)), []string{"f0.yaml:12 error twin-name"}, "128"},
		{"a space in a model's name", strings.Replace(models, "humidity", "relative humidity", 1), []string{"f0.yaml:9 error twin-name"}, "relative_humidity"},
		{"detection one level too high", change("    pushMethod:\n      anomalyDetection:\n        ", "    anomalyDetection:\n      "), []string{"f0.yaml:16 error unknown-field"}, "under pushMethod"},
		{"detection two levels too high", change("  nodeName: edge", "  nodeName: edge\n  anomalyDetection: {detector: auto}"), []string{"f0.yaml:10 error unknown-field"}, "under pushMethod"},
		{"pushMethods", change("pushMethod:", "pushMethods:"), []string{"f0.yaml:16 error unknown-field"}, "pushMethod"},
		{"anomalydetection", change("anomalyDetection:", "anomalydetection:"), []string{"f0.yaml:17 error unknown-field"}, "write anomalyDetection"},
		{"a typo beside spec", change("spec:", "specs: {}\nspec:"), []string{"f0.yaml:6 error unknown-field"}, "spec"},
		{"a key twice", deviceWith("detector: auto", "threshold: 0.9", "detector: ewma"), []string{"f0.yaml:20 error duplicate-key"}, "line 18"},
		{"a section twice", change("  nodeName: edge", "  nodeName: edge\n  nodeName: other"), []string{"f0.yaml:10 error duplicate-key"}, "line 9"},
		{"no protocol", change("  protocol: {protocolName: modbus, configData: {port: 502}}\n", ""), []string{"f0.yaml:7 error protocol"}, "protocolName"},
		{"a protocol without a name", change("protocolName: modbus, configData: {port", "configData: {port"), []string{"f0.yaml:7 error protocol"}, "protocolName"},
		{"no node", change("  nodeName: edge\n", ""), []string{"f0.yaml:7 error node"}, "no node"},
		{"a number for a text", change("nodeName: edge", "nodeName: 7"), []string{"f0.yaml:9 error type"}, `"7"`},
		{"a boolean for a text", change("nodeName: edge", "nodeName: off"), []string{"f0.yaml:9 error type"}, `"off"`},
		{"a text for a number", change("reportCycle: 1000", `reportCycle: "1000"`), []string{"f0.yaml:13 error type"}, "without quotes"},
		{"a duration for a number", change("reportCycle: 1000", `reportCycle: 1s`), []string{"f0.yaml:13 error type"}, "whole number"},
		{"a map for a list", change("  - name: temperature\n    reportCycle", "    name: temperature\n    reportCycle"), []string{"f0.yaml:12 error type"}, "want a list"},
		{"a number as a bound", strings.Replace(models, `"-40"`, "-40", 1), []string{"f0.yaml:8 error type"}, `"-40"`},
		{"a host without a port", deviceWith("adMethodName: http", "http.address: d.edge"), []string{"f0.yaml:19 error not-device", "f0.yaml:19 error value"}, "http.target"},
		{"a causal detector without a group", deviceWith("detector: bayesnet", "model: room.model"), []string{"f0.yaml:18 error no-group"}, "group"},
		{"a number of the driver that float32 changes", change("register: 2", "register: 16777217"), []string{"f0.yaml:15 warning float32"}, "float32"},
		{"a key that kubectl reads as a boolean", change("register: 2", "y: 2"), []string{"f0.yaml:15 warning yaml-key"}, `"y"`},
		{"a boolean of YAML 1.1 where a text is wanted", deviceWith("sensitivity: off"), []string{"f0.yaml:18 error value"}, "off as false"},
		{"off for a boolean", deviceWith("detector: auto", "detector.season: off"), nil, ""},
		{"n for a boolean", deviceWith("detector: auto", "detector.season: n"), nil, ""},
		{"Yes for a boolean", deviceWith("detector: auto", "detector.season: Yes"), nil, ""},
		{"off in quotes", deviceWith("detector: auto", `detector.season: "off"`), []string{"f0.yaml:19 error value"}, "off"},
		{"a date for a text", change("    reportCycle", "    desired: {value: 2024-01-01}\n    reportCycle"), nil, ""},
		{"a template", change("nodeName: edge", "nodeName: {{ .Values.node }}"), []string{"f0.yaml:9 error template"}, "render the chart first"},
		{"a template in quotes", change("nodeName: edge", `nodeName: "{{ .Values.node }}"`), []string{"f0.yaml:9 error template"}, "render the chart first"},
		{"a template inside a name", change("name: sensor-1", "name: sensor-{{ .Values.n }}"), []string{"f0.yaml:4 error template"}, "render the chart first"},
		{"a template that is no YAML", "{{- range .Values.sensors }}\n" + good + "{{- end }}\n", []string{"f0.yaml:1 error template"}, "render the chart first"},
		{"a template of something else", "kind: PrometheusRule\nmetadata: {name: a}\nspec: {text: '{{ $labels.device }}'}\n---\n" + good, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := findings(t, tt.manifest)
			if diff := cmp.Diff(tt.want, brief(found)); diff != "" {
				t.Fatalf("findings (-want +got):\n%s%+v", diff, found)
			}
			for _, f := range found {
				if f.Severity == lint.Notice {
					continue
				}
				if said := f.Message + " " + f.Remedy; !strings.Contains(said, tt.says) {
					t.Errorf("says %q, want it to mention %q", said, tt.says)
				}
				break
			}
		})
	}
}

// A model that is not there is said, and no error: it may well be in the cluster.
func TestAbsentModelIsSaid(t *testing.T) {
	found := findings(t, deviceWith("detector: auto"))
	if len(found) != 1 || found[0].Severity != lint.Notice || !strings.Contains(found[0].Message, "default/sensor") {
		t.Errorf("got %+v, want a notice that names the model", found)
	}
	if found := findings(t, deviceWith("detector: auto"), models); len(found) != 0 {
		t.Errorf("with the model: %+v", found)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
	stdcmp "cmp"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/lint"
)

// Whatever is nested, the text that the fix makes of it holds what kubectl would have read there: keys that are no texts in
// YAML 1.1 among it.
func TestFixHoldsWhatKubectlReads(t *testing.T) {
	const manifest = `apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: d}
spec:
  protocol:
    protocolName: room
    configData:
      x: VALUE
`
	for _, value := range []string{
		"{y: 1}", "{on: {no: Off}}", "{1: a, 2.5: b}", "[y, n, ~, 1e3]", "[{true: [{off: 1}]}]", "{2024-01-01: 2024-01-01}",
		"{a: 0o17, b: 017, c: 0x1F}", "{}", "[]", "{12:30: 12:30}", "[[[y: {z: null}]]]",
	} {
		before := strings.Replace(manifest, "VALUE", value, 1)
		fixed, changes, err := lint.Fix([]byte(before), nil)
		if err != nil || changes != 1 {
			t.Errorf("%s: %d changes, error %v", value, changes, err)
			continue
		}
		var object struct {
			Spec struct {
				Protocol struct{ ConfigData map[string]any }
			}
		}
		if err := yaml.Unmarshal(fixed, &object); err != nil {
			t.Fatal(err)
		}
		text, ok := object.Spec.Protocol.ConfigData["x"].(string)
		if !ok {
			t.Errorf("%s: not a text in\n%s", value, fixed)
			continue
		}
		var got, want any
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", value, err)
		}
		if err := yaml.Unmarshal([]byte(value), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-kubectl +fixed):\n%s", value, diff)
		}
	}
}

// The key data loses the whole Device. In detection it is EdgeCore's own shape on the wrong level, or nothing; in what a
// driver reads nobody but its author knows another name.
func TestFixOfTheKeyData(t *testing.T) {
	detection := func(keys string) string { return strings.Replace(deviceWith("KEYS"), "KEYS", keys, 1) + models }
	protocol := func(keys string) string {
		return strings.Replace(deviceWith("detector: auto"), "{port: 502}", keys, 1) + models
	}
	const nobodyKnows, one = "--fix cannot, as it does not know which name the driver reads", "unless a key stands there with another value"
	for _, tt := range []struct {
		name, before, after string
		left                string // what lint says of it after the fix
	}{
		{"a map", detection("data: {detector: ewma, threshold: 0.97}"), detection("detector: ewma\n        threshold: 0.97"), ""},
		{"beside others", detection("detector: ewma\n        DATA: {threshold: 0.97}\n        sinks: log"), detection("detector: ewma\n        threshold: 0.97\n        sinks: log"), ""},
		{"said twice", detection("detector: ewma\n        data: {detector: ewma, threshold: 0.97}"), detection("detector: ewma\n        threshold: 0.97"), ""},
		{"data in data", detection("data: {Data: {detector: ewma}}"), detection("detector: ewma"), ""},
		{"nested", detection("data: {detector: {window: 60}, sinks: log}"), detection("config: '{\"detector\":{\"window\":60}}'\n        sinks: log"), ""},
		{"comments", detection("# why\n        data: # of the field\n          # which\n          detector: ewma"), detection("# why\n        # of the field\n        # which\n        detector: ewma"), ""},
		{"nothing", detection("detector: ewma\n        data: x"), detection("detector: ewma"), ""},
		{"an empty map", detection("detector: ewma\n        data: {}"), detection("detector: ewma"), ""},
		{"a list", detection("detector: ewma\n        data: [x]"), detection("detector: ewma"), ""},
		{"a null inside", detection("data: {detector: ewma, threshold: ~}"), detection("detector: ewma"), ""},
		{"a contradiction", detection("detector: ewma\n        data: {detector: mad}"), "", one},
		{"a reference", detection("sinks: &s log\n        data: {detector: *s}"), "", one},
		{"of a driver", protocol("{data: 1}"), "", nobodyKnows},
		{"of a driver, nested", protocol("{Data: {register: 1}}"), "", nobodyKnows},
		{"of a driver, a null", protocol("{data: ~, port: 502}"), protocol("{port: 502}"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fixed, changes, err := lint.Fix([]byte(tt.before), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := stdcmp.Or(tt.after, tt.before)
			if diff := cmp.Diff(want, string(fixed)); diff != "" {
				t.Errorf("fixed (-want +got):\n%s", diff)
			}
			if (changes > 0) != (tt.after != "") {
				t.Errorf("%d changes", changes)
			}
			var said []string
			for _, f := range findings(t, string(fixed)) {
				if f.Rule == "data-key" {
					said = append(said, f.Remedy)
				}
			}
			if tt.left == "" && said != nil || tt.left != "" && (len(said) != 1 || !strings.Contains(said[0], tt.left)) {
				t.Errorf("lint says of the key: %q", said)
			}
		})
	}
}

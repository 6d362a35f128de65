// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package lint_test

import (
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

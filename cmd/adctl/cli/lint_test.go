// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const nestedDevice = `apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata:
  name: sensor-1
spec:
  <<: {nodeName: edge, protocol: {protocolName: modbus}, deviceModelRef: {name: sensor}}
  properties:
  - name: temperature
    visitors: {configData: {register: 2}}
    pushMethod:
      anomalyDetection:
        detector: mad
        quality: # strict
          late: 3
`

func TestLint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nested := write("nested.yaml", nestedDevice)
	odd := write("odd.yaml", strings.Replace(nestedDevice, "quality: # strict\n          late: 3", "minDeviation: 0.123456789", 1))
	device := func(lines string) string {
		return strings.Replace(nestedDevice, "detector: mad\n        quality: # strict\n          late: 3\n", lines, 1)
	}
	mapper := write("mapper.yaml", `grpc_server: {socket_path: /s}
common: {name: m, protocol: p}
anomalyDetection:
  sinks: log
  budget: 8
  adapterOptions:
    grpc: {targets: {plant-a: {address: "a:1", token: /t}, theirs: {address: "t:1", namespaces: other}}, allow: {def*: "*.svc"}}
`)
	for _, tt := range []struct {
		name   string
		args   []string
		stdin  string
		code   int
		output string // of standard output
	}{
		{"an error", []string{nested}, "", exitFailed, nested + ":14:11: error [nested-value]"},
		{"standard input", []string{"-"}, nestedDevice, exitFailed, "-:14:11: error [nested-value]"},
		{"annotations", []string{"-o", "github", nested}, "", exitFailed, "::error file="},
		{"a warning", []string{odd}, "", exitOK, "warning [float32]"},
		{"a warning that counts", []string{"--strict", odd}, "", exitFailed, "warning [float32]"},
		{"a part of a manifest", []string{"-"}, "properties:\n- name: temperature\n", exitOK, ""},
		{"a part of a manifest that counts", []string{"--strict", "-"}, "properties:\n- name: temperature\n", exitUsage, ""},
		{"no files", nil, "", exitUsage, ""},
		{"a file that is not there", []string{filepath.Join(dir, "none.yaml")}, "", exitUsage, ""},
		{"an unknown format", []string{"--format", "xml", nested}, "", exitUsage, ""},
		{"the policy", []string{"--policy"}, "", exitOK, "kind: ValidatingAdmissionPolicy"},
		{"an address", []string{"-"}, device("adMethodName: grpc\n        grpc.address: a:1\n"), exitFailed, "error [not-device]"},
		{"a target of the mapper", []string{"--config", mapper, "-"}, device("adMethodName: grpc\n        grpc.target: plant-a\n"), exitOK, ""},
		{"a target of others", []string{"--config", mapper, "-"}, device("adMethodName: grpc\n        grpc.target: theirs\n"), exitFailed, "plant-a"},
		{"an address that is allowed", []string{"--config", mapper, "-"}, device("adMethodName: grpc\n        grpc.address: x.svc:443\n"), exitOK, ""},
		{"a sink that is not for Devices", []string{"--config", mapper, "-"}, device("sinks: metrics\n"), exitFailed, "error [not-device]"},
		{"a fix of an address", []string{"--config", mapper, "--fix", "-"}, device("adMethodName: grpc\n        grpc.address: a:1\n        grpc.token: /t\n        grpc.fallback: mad\n"), exitOK, "grpc.target: plant-a\n        grpc.fallback: mad\n"},
		{"over the budget", []string{"--config", mapper, "-"}, device("detector: iforest\n        detector.trees: 300\n        detector.sample: 1024\n        detector.trainRows: 1024\n"), exitFailed, "detector.trees: takes up to 11."},
		{"no configuration", []string{"--config", "none.yaml", "-"}, "", exitUsage, ""},
		{"a fix of standard input", []string{"--fix", "-"}, nestedDevice, exitOK, `config: '{"quality":{"late":3}}'`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := Run(t.Context(), append([]string{"lint"}, tt.args...), strings.NewReader(tt.stdin), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.output) {
				t.Errorf("exit code %d, want %d\nstdout %swant it to hold %q\nstderr %s", code, tt.code, &stdout, tt.output, &stderr)
			}
		})
	}

	t.Run("a fix in place", func(t *testing.T) {
		link := filepath.Join(dir, "link.yaml")
		if err := os.Symlink(nested, link); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		if code := Run(t.Context(), []string{"lint", "--fix", "-o", "json", link}, nil, &stdout, &stderr); code != exitOK {
			t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
		}
		var found []any
		if err := json.Unmarshal(stdout.Bytes(), &found); err != nil || len(found) != 1 || !strings.Contains(stdout.String(), `"notice"`) {
			t.Errorf("findings %s, error %v; want only that the model is not there", &stdout, err)
		}
		data, err := os.ReadFile(nested)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), "# strict\n        config: '{\"quality\":{\"late\":3}}'") {
			t.Errorf("the file holds\n%s", data)
		}
		info, err := os.Stat(nested)
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, error %v; want it as it was", info.Mode(), err)
		}
		if target, err := os.Readlink(link); err != nil || target != nested {
			t.Errorf("the link leads to %q, error %v", target, err)
		}
	})
}

// The manifests that this project ships pass its own check.
func TestShippedManifestsPassLint(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*/manifests/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, error %v", len(files), err)
	}
	var stdout, stderr bytes.Buffer
	if code := Run(t.Context(), append([]string{"lint", "--strict"}, files...), nil, &stdout, &stderr); code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
}

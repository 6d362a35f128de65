// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/scaffold"
)

func TestNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "boiler")
	args := []string{"new", "boiler", "--output", dir, "--properties", "pressure:double:ro,valve:int:rw"}
	code, stdout, stderr := adctl(t, "", args...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard output", stdout, filepath.Join(dir, "driver.go"))
	raw, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, "go.mod", string(raw), "replace github.com/kubeedge/edge-anomaly => ")

	code, _, stderr = adctl(t, "", args...)
	if code != exitFailed {
		t.Errorf("again: exit code %d", code)
	}
	has(t, "standard error", stderr, "file already exists")

	for _, c := range []struct {
		want string
		args []string
	}{
		{`name "Boiler"`, []string{"new", "Boiler"}},
		{"--detector:", []string{"new", "boiler", "--detector", "none"}},
		{"begin with auto", []string{"new", "boiler", "--detector", "bayesnet"}},
		{`adapter "mqtt": want one of`, []string{"new", "boiler", "--adapter", "mqtt"}},
		{"the adapter inprocess has none", []string{"new", "boiler", "--address", "localhost:1"}},
		{"want host:port", []string{"new", "boiler", "--adapter", "grpc", "--address", "a b"}},
		{"--properties:", []string{"new", "boiler", "--properties", "a:b"}},
		{"is not a checkout", []string{"new", "boiler", "--sdk-path", t.TempDir()}},
		{"not a generated mapper", []string{"patch", t.TempDir()}},
	} {
		code, _, stderr := adctl(t, "", c.args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d, want %d", c.args, code, exitUsage)
		}
		has(t, "standard error", stderr, c.want)
	}

}

// What new writes passes adctl lint for every adapter, and says where a remote detector is.
func TestNewAdapters(t *testing.T) {
	for _, adapter := range scaffold.Adapters {
		t.Run(adapter, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "boiler")
			args := []string{"new", "boiler", "--output", dir, "--adapter", adapter, "--detector", "ewma", "--protocol", "modbus",
				"--module", "example.org/boiler", "--properties", "pressure:double:ro,valve:int:rw,on:boolean:rw,mode:string:rw,flow:float"}
			if adapter != "inprocess" {
				args = append(args, "--address", "detector.edge:7000")
			}
			if code, _, stderr := adctl(t, "", args...); code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			device, model := filepath.Join(dir, "manifests", "device.yaml"), filepath.Join(dir, "manifests", "device-model.yaml")
			if code, stdout, stderr := adctl(t, "", "lint", "--strict", device, model); code != exitOK {
				t.Errorf("lint: exit code %d: %s%s", code, stdout, stderr)
			}
			for path, want := range map[string][]string{
				device:                            {"adMethodName: " + adapter, "detector: ewma", `protocolName: "modbus"`, adapter + ".target: default"},
				filepath.Join(dir, "config.yaml"): {`protocol: "modbus"`, adapter + ":\n      targets:", "default:\n          address: \"detector.edge:7000\""},
				filepath.Join(dir, "go.mod"):      {"module example.org/boiler\n"},
			} {
				raw, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range want {
					if adapter == "inprocess" && (strings.Contains(w, "detector.edge") || strings.Contains(w, "target")) {
						continue
					}
					has(t, path, string(raw), w)
				}
			}
		})
	}
}

func mapperFrom(t *testing.T, version string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mapper")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "..", "pkg", "scaffold", "testdata", "mapper-"+version))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPatch(t *testing.T) {
	for _, version := range []string{"v1.18", "v1.21", "v1.23"} {
		dir := mapperFrom(t, version)
		code, diff, stderr := adctl(t, "", "patch", "--dry-run", dir)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		has(t, "standard output", diff, "--- a/device/device.go", "+++ b/device/device.go", "AnomalyDetectionHandler(ctx, &twin", "+++ b/go.mod")
		if version == "v1.18" {
			has(t, "standard output", diff, "--- /dev/null\n+++ b/device/devicemethod.go")
		}
		if raw, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || strings.Contains(string(raw), scaffold.SDK) {
			t.Errorf("--dry-run wrote go.mod: %v\n%s", err, raw)
		}
		if code, stdout, stderr := adctl(t, "", "patch", dir); code != exitOK || !strings.Contains(stdout, filepath.Join(dir, "go.mod")) {
			t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
		}
		if code, stdout, stderr := adctl(t, "", "patch", dir); code != exitOK || stdout != "" {
			t.Errorf("again: exit code %d: %s%s", code, stdout, stderr)
		}
	}
}

func TestNewFromTemplate(t *testing.T) {
	from, to := mapperFrom(t, "v1.21"), filepath.Join(t.TempDir(), "boiler")
	args := []string{"new", "boiler", "--from-template", from, "--output", to, "--module", "example.org/boiler"}
	code, diff, stderr := adctl(t, "", append(args, "--dry-run")...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard output", diff, "+++ b/device/device.go", "+module example.org/boiler")
	if _, err := os.Stat(to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("--dry-run wrote %s", to)
	}
	code, stdout, stderr := adctl(t, "", args...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard output", stdout, filepath.Join(to, "config.yaml"))
	raw, err := os.ReadFile(filepath.Join(to, "device", "device.go"))
	if err != nil {
		t.Fatal(err)
	}
	has(t, "device.go", string(raw), `"example.org/boiler/driver"`, "AnomalyDetectionHandler(ctx, &twin")
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"file already exists", exitFailed, args},
		{"not a generated mapper", exitUsage, []string{"new", "boiler", "--from-template", t.TempDir()}},
		{"--detector: a project from a template", exitUsage, append(args, "--detector", "ewma")},
	} {
		code, _, stderr := adctl(t, "", c.args...)
		if code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		has(t, "standard error", stderr, c.want)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNewAndPatch(t *testing.T) {
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

	mapper := filepath.Join("..", "..", "pkg", "scaffold", "testdata", "mapper-v1.23")
	code, stdout, stderr = adctl(t, "", "patch", "--dry-run", mapper)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	has(t, "standard output", stdout, "+++ b/device/device.go", "AnomalyDetectionHandler(ctx, &twin", "+++ b/go.mod")
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guide_test runs the guide of the README.
package guide_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

var commands = regexp.MustCompile("(?s)```sh\n(.*?)```")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The commands of the README's first guide do what it says: but for the place of the program and the ports, which others
// may use, they are run as they are printed.
func TestGuide(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program, which the race detector does not see")
	}
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	raw, err := os.ReadFile("README.md")
	must(t, err)
	_, guide, _ := strings.Cut(string(raw), "\n## Five minutes\n")
	guide, _, _ = strings.Cut(guide, "\n### ")
	file := filepath.Join(t.TempDir(), "anomaly-detector")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../cmd/anomaly-detector")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	http := proctest.FreeAddress(t)
	_, port, err := net.SplitHostPort(http)
	must(t, err)
	script := "set -euo pipefail\ntrap 'kill %1; wait' EXIT\n"
	blocks := commands.FindAllStringSubmatch(guide, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d blocks of commands, want 3", len(blocks))
	}
	for _, b := range blocks {
		script += b[1]
	}
	for _, change := range [][2]string{
		{"go build -o /tmp/anomaly-detector ../../cmd/anomaly-detector && ", ""}, {"/tmp/anomaly-detector", file}, {"localhost:6805", "localhost:" + port},
	} {
		if !strings.Contains(script, change[0]) {
			t.Fatalf("the guide lacks %q", change[0])
		}
		script = strings.ReplaceAll(script, change[0], change[1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	for _, name := range []string{"certificates.sh", "config.yaml", "testdata"} {
		path, err := filepath.Abs(name)
		must(t, err)
		must(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "EDGE_ANOMALY_LISTEN="+proctest.FreeAddress(t), "EDGE_ANOMALY_HTTP_LISTEN="+http)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, out)
	}
	for _, want := range []string{"config.yaml: ok", `"status":"critical"`, `"value":95`} {
		if !strings.Contains(strings.ReplaceAll(string(out), `": `, `":`), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
}

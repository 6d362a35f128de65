// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/otlp"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	edgeanomaly "github.com/kubeedge/edge-anomaly/otelcol/edgeanomalyprocessor"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// build builds the collector of the manifest, as its README says.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	manifest, err := os.ReadFile("../builder.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	// The same, in a directory that leaves with the test.
	text := string(manifest)
	for old, replaced := range map[string]string{"./_build": dir, "=> ../..\n": "=> " + filepath.Dir(here) + "\n", "=> ..\n": "=> " + here + "\n"} {
		if !strings.Contains(text, old) {
			t.Fatalf("the manifest has no %q", old)
		}
		text = strings.Replace(text, old, replaced, 1)
	}
	config := filepath.Join(dir, "builder.yaml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "builder", "--config", config)
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false -trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("built in %v", time.Since(began).Round(time.Second))
	return filepath.Join(dir, "otelcol-edgeanomaly")
}

// A mapper pushes to a real collector, which judges, and sends all of it on: what was pushed, and verdicts.
func TestCollector(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a collector")
	}
	program := build(t)
	dir, from, to := t.TempDir(), proctest.FreeAddress(t), proctest.FreeAddress(t)
	config := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`receivers:
  otlp: {protocols: {http: {endpoint: %q}}}
processors:
  edgeanomaly:
    directory: %s
    defaults: {detector: range, detector.upper: 50}
exporters:
  otlphttp: {endpoint: "http://%s", compression: gzip}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {metrics: {receivers: [otlp], processors: [edgeanomaly], exporters: [otlphttp]}}
`, from, filepath.Join(dir, "state"), to)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "validate", "--config", config).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	in := new(sourcetest.Intake)
	s, err := otlp.New(source.Settings{
		Name: "test", Options: map[string]any{"listen": to, "insecure": true}, Report: new(sourcetest.Reports).Report,
	})
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, s, in)
	proctest.Start(t, program, "--config", config)
	var jumps atomic.Bool
	push(t, overHTTP(t, from), "plant/press-7", "force", 20*time.Millisecond, func() float64 {
		if jumps.Load() {
			return 60
		}
		return 20
	})
	severities := func() (all map[float64]int) {
		all = make(map[float64]int)
		for _, r := range in.Readings() {
			if r.Key.String() == "plant/press-7/"+edgeanomaly.Severity {
				all[r.Value]++
			}
		}
		return all
	}
	waittest.Eventually(t, "what is normal", func() bool { return severities()[1] > 10 })
	if all := severities(); all[2]+all[3] > 0 {
		t.Errorf("severities %v before the fault", all)
	}
	jumps.Store(true)
	waittest.Eventually(t, "the fault", func() bool { return severities()[3] > 3 })
	values, names := make(map[float64]bool), make(map[string]bool)
	for _, r := range in.Readings() {
		if names[r.Key.Property] = true; r.Key.Property == "force" {
			values[r.Value] = true
		}
	}
	if len(values) != 2 || !names[edgeanomaly.Score] {
		t.Errorf("values %v, metrics %v", values, names)
	}
}

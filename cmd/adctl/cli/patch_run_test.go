// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// patchedManifest is of a device that counts its reads.
const patchedManifest = `
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: counter, namespace: default}
spec:
  protocol: room
  properties:
  - {name: count, type: DOUBLE, accessMode: ReadOnly}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: counter-1, namespace: default}
spec:
  deviceModelRef: {name: counter}
  nodeName: edge
  protocol: {protocolName: room, configData: {a: b}}
  properties:
  - name: count
    collectCycle: 60000
    reportCycle: 10
    reportToCloud: true
    visitors: {protocolName: room, configData: {dataType: double}}
    pushMethod:
      anomalyDetection: {adMethodName: inprocess}
`

// patchedMapper is a mapper as KubeEdge's generator left it, patched, with its own program.
type patchedMapper struct {
	t    *testing.T
	dir  string
	edge *edgecoretest.EdgeCore
	runs int
}

func newPatchedMapper(t *testing.T, args ...string) *patchedMapper {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "..", "pkg", "scaffold", "testdata", "mapper-v1.23"))); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := adctl(t, "", append([]string{"patch", dir}, args...)...); code != exitOK {
		t.Fatalf("patch: exit code %d: %s", code, stderr)
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"build", "-o", "main", "./cmd"}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
	}
	m := &patchedMapper{t: t, dir: dir, edge: edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})}
	if err := m.edge.Apply(t.Context(), strings.NewReader(patchedManifest)); err != nil {
		t.Fatal(err)
	}
	return m
}

// run starts the program, waits until its log has a line like that, ends it by SIGTERM, and returns the line and all.
func (m *patchedMapper) run(state string, like *regexp.Regexp, linger time.Duration) (line, all string) {
	m.t.Helper()
	m.runs++
	sockets, err := os.MkdirTemp("", "mapper") // a short path
	if err != nil {
		m.t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	config := filepath.Join(sockets, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "grpc_server: {socket_path: %s/m.sock}\ncommon: {name: Room-mapper, version: v1.13.0, api_version: v1.0.0, protocol: room, address: 127.0.0.1, edgecore_sock: %s, http_port: \"0\"}\n",
		sockets, m.edge.Socket()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(m.dir, "main"), "--config-file", config)
	cmd.Dir, cmd.Env = m.dir, append(os.Environ(), "EDGE_ANOMALY_STATE_DIR="+state)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	var wg sync.WaitGroup
	var log strings.Builder
	found := make(chan string, 1)
	wg.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if like.MatchString(lines.Text()) && len(found) == 0 {
				found <- lines.Text()
			}
		}
	})
	select {
	case line = <-found:
	case <-ctx.Done():
	}
	select { // what is learned is what is read meanwhile
	case <-time.After(linger):
	case <-ctx.Done():
	}
	began := time.Now()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Error(err)
	}
	wg.Wait()
	if err := cmd.Wait(); err != nil || time.Since(began) > 10*time.Second {
		m.t.Errorf("run %d ended %v after SIGTERM: %v\n%s", m.runs, time.Since(began), err, log.String())
	}
	if line == "" {
		m.t.Fatalf("run %d: no line like %v in\n%s", m.runs, like, log.String())
	}
	return line, log.String()
}

// What detection has learned survives that a patched mapper is told to end: the next one knows from the first reading on
// what is normal, where one that begins anew has to learn it.
func TestPatchedMapperKeepsWhatItLearned(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_BUILDS") == "" {
		t.Skip("downloads and builds what KubeEdge's mappers need: make scaffold-check")
	}
	m := newPatchedMapper(t)
	state := t.TempDir()
	verdict := regexp.MustCompile(`anomaly: default/counter-1/count (?:warning|critical) .* detector=auto\b`)
	watched := regexp.MustCompile(`Property is watched.*default/counter-1/count`)
	if _, log := m.run(state, watched, 4*time.Second); verdict.MatchString(log) {
		t.Errorf("a verdict on a steady count:\n%s", log)
	}
	// It counts from 1 again, which is a jump for whom knows where it was.
	line, log := m.run(state, verdict, 0)
	value := regexp.MustCompile(` value=([0-9.]+)`).FindStringSubmatch(line)
	if value == nil {
		t.Fatalf("the verdict has no value: %s", line)
	}
	if n, err := strconv.ParseFloat(value[1], 64); err != nil || n > 20 {
		t.Errorf("the first verdict is on count %s, want one of the first:\n%s", value[1], log)
	}
	if _, log := m.run(t.TempDir(), watched, time.Second/2); verdict.MatchString(log) {
		t.Errorf("a verdict although nothing was learned:\n%s", log)
	}
}

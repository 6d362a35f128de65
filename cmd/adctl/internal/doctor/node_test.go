// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/doctor"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// line finds the line of a check.
func line(t *testing.T, lines []doctor.Line, check string) doctor.Line {
	t.Helper()
	i := slices.IndexFunc(lines, func(l doctor.Line) bool { return l.Check == check })
	if i < 0 {
		t.Fatalf("no line %q in %+v", check, lines)
	}
	if l := lines[i]; l.State != doctor.OK && l.State != doctor.Unknown && l.Remedy == "" {
		t.Errorf("%q is %s and says nothing of what to do: %s", check, l.State, l.Found)
	}
	return lines[i]
}

func wantLine(t *testing.T, lines []doctor.Line, check string, state doctor.State, found string) {
	t.Helper()
	if l := line(t, lines, check); l.State != state || !strings.Contains(l.Found, found) {
		t.Errorf("%s: %s, %q; want %s with %q", check, l.State, l.Found, state, found)
	}
}

// program is an EdgeCore that knows its version only.
func program(t *testing.T, says string) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	path := filepath.Join(t.TempDir(), "edgecore")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return path
}

func listen(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path) //nolint:noctx // no name is looked up
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
}

// A node where all is well: a simulated EdgeCore, a MetaServer, a mapper, and a directory for its state.
func healthy(t *testing.T, e *edgecoretest.EdgeCore) doctor.Node {
	t.Helper()
	meta := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(meta.Close)
	own := filepath.Join(t.TempDir(), "mapper.sock")
	listen(t, own)
	c := config.Config{
		GRPCServer: config.GRPCServer{SocketPath: own},
		Common:     config.Common{Name: "room", Protocol: "modbus", EdgeCoreSock: e.Socket()},
	}
	c.AnomalyDetection.StateDir = t.TempDir()
	return doctor.Node{Socket: e.Socket(), EdgeCore: program(t, "KubeEdge v1.23.1"), MetaServer: meta.Listener.Addr().String(), Config: &c}
}

func TestNode(t *testing.T) {
	e := edgecoretest.StartTest(t, edgecoretest.Options{Rate: 1e-9, Burst: 2})
	n := healthy(t, e)
	before := e.Counts()
	lines := doctor.CheckNode(t.Context(), n)
	for check, found := range map[string]string{
		"edgecore socket": e.Socket(), "edgecore version": "v1.23.1", "edgecore limiter": "has room", "metaserver": n.MetaServer,
		"mappers here": "no other", "mapper room": "modbus", "state directory": n.Config.AnomalyDetection.StateDir,
	} {
		wantLine(t, lines, check, doctor.OK, found)
	}
	if n := doctor.Failed(lines); n != 0 {
		t.Errorf("%d lines are wrong: %+v", n, lines)
	}
	// It takes one call of the limiter, and reports nothing.
	if after := e.Counts(); after.ReportDeviceStates != before.ReportDeviceStates+1 || after.StatesDropped != 0 {
		t.Errorf("counts %+v", after)
	}

	e.ExhaustLimiter()
	other := filepath.Join(filepath.Dir(n.Config.GRPCServer.SocketPath), "other.sock")
	listen(t, other)
	n.EdgeCore = program(t, "KubeEdge v1.22.2")
	n.Config.AnomalyDetection.StateDir = filepath.Join(n.Config.AnomalyDetection.StateDir, "none")
	lines = doctor.CheckNode(t.Context(), n)
	wantLine(t, lines, "edgecore limiter", doctor.Warning, "exhausted")
	wantLine(t, lines, "mappers here", doctor.Warning, other)
	wantLine(t, lines, "edgecore version", doctor.Wrong, "v1.22.2")
	wantLine(t, lines, "state directory", doctor.Wrong, "cannot be written to")

	e.Kill()
	n.Config.GRPCServer.SocketPath += "-none"
	n.Config.AnomalyDetection.StateDir = ""
	n.EdgeCore = program(t, "no version")
	n.MetaServer = "127.0.0.1:1"
	n.Config.AnomalyDetection.SinkOptions = map[string]map[string]any{"devicestatus": {"server": "http://127.0.0.1:1"}}
	lines = doctor.CheckNode(t.Context(), n)
	wantLine(t, lines, "edgecore limiter", doctor.Unknown, "does not answer")
	wantLine(t, lines, "mapper room", doctor.Wrong, "does not answer")
	wantLine(t, lines, "state directory", doctor.Warning, "none")
	wantLine(t, lines, "edgecore version", doctor.Unknown, "no version")
	wantLine(t, lines, "metaserver", doctor.Wrong, "writes to it")
	n.Config.Common.EdgeCoreSock = "/elsewhere.sock"
	n.Config.AnomalyDetection.SinkOptions = nil
	lines = doctor.CheckNode(t.Context(), n)
	wantLine(t, lines, "mapper room", doctor.Wrong, "/elsewhere.sock")
	wantLine(t, lines, "metaserver", doctor.Warning, "off")
}

func TestNodeWithoutEdgeCore(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	lines := doctor.CheckNode(t.Context(), doctor.Node{Socket: filepath.Join(dir, "dmi.sock"), MetaServer: "127.0.0.1:1"})
	wantLine(t, lines, "edgecore socket", doctor.Wrong, "is not there")
	wantLine(t, lines, "edgecore version", doctor.Unknown, "PATH")
	if n := doctor.Failed(lines); n != 1 {
		t.Errorf("%d lines are wrong, want that on the socket", n)
	}
	file := filepath.Join(dir, "file.sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wantLine(t, doctor.CheckNode(t.Context(), doctor.Node{Socket: file, MetaServer: "127.0.0.1:1"}), "edgecore socket", doctor.Wrong, "no socket")
}

func TestWrite(t *testing.T) {
	lines := []doctor.Line{{"a", doctor.OK, "is\nwell", "nothing"}, {"longer", doctor.Wrong, "is <not>", "do & so"}}
	var table, raw bytes.Buffer
	if err := doctor.Write(&table, "text", lines); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("CHECK   STATE  FOUND\na       ok     is well\nlonger  wrong  is <not>\n               → do & so\n", table.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if err := doctor.Write(&raw, "json", lines); err != nil {
		t.Fatal(err)
	}
	var back []doctor.Line
	if err := json.Unmarshal(raw.Bytes(), &back); err != nil || !cmp.Equal(lines, back) {
		t.Errorf("%s: %v", &raw, err)
	}
	raw.Reset()
	if err := doctor.Write(&raw, "json", nil); err != nil || strings.TrimSpace(raw.String()) != "[]" {
		t.Errorf("no lines: %q, %v", &raw, err)
	}
}

// A limiter of the node that is switched off has room.
func TestNodeLimiterUnlimited(t *testing.T) {
	e := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	wantLine(t, doctor.CheckNode(t.Context(), doctor.Node{Socket: e.Socket(), MetaServer: "127.0.0.1:1"}), "edgecore limiter", doctor.OK, "has room")
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const full = `
grpc_server:
  socket_path: /etc/kubeedge/room.sock
common:
  name: room-mapper
  version: v1.13.0
  api_version: v1.0.0
  protocol: room
  address: 127.0.0.1
  edgecore_sock: /run/dmi.sock
  http_port: 7777
dev_init:
  mode: register
anomalyDetection:
  stateDir: /var/lib/edge-anomaly
  modelDir: /models
  sinks: [log, metrics]
  sinkOptions:
    metrics: {address: "127.0.0.1:9090", tls: {ca: /ca.pem}}
  adapterOptions:
    grpc: {address: "detector:6804"}
  defaults:
    threshold: 0.9
    detector.stepSize: 3
  routes:
    - match: {device: "room-*", property: temperature}
      settings: {detector: ewma, detector: {window: 60}}
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(strings.Replace(full, "detector: ewma, ", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		GRPCServer: GRPCServer{SocketPath: "/etc/kubeedge/room.sock"},
		Common: Common{Name: "room-mapper", Version: "v1.13.0", APIVersion: "v1.0.0", Protocol: "room",
			Address: "127.0.0.1", EdgeCoreSock: "/run/dmi.sock", HTTPPort: "7777"},
		AnomalyDetection: AnomalyDetection{
			StateDir: "/var/lib/edge-anomaly", ModelDir: "/models", Sinks: []string{"log", "metrics"},
			SinkOptions:    map[string]map[string]any{"metrics": {"address": "127.0.0.1:9090", "tls.ca": "/ca.pem"}},
			AdapterOptions: map[string]map[string]any{"grpc": {"address": "detector:6804"}},
			Defaults:       map[string]any{"threshold": json.Number("0.9"), "detector.stepSize": json.Number("3")},
			Routes: []Route{{Match: Match{Device: "room-*", Property: "temperature"},
				Settings: map[string]any{"detector.window": json.Number("60")}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const least = "grpc_server: {socket_path: /s}\ncommon: {name: mapper, protocol: p}\n"

func TestEnvironmentWinsOverTheFile(t *testing.T) {
	t.Setenv("EDGE_ANOMALY_SOCKET_PATH", "/other.sock")
	t.Setenv("EDGE_ANOMALY_EDGECORE_SOCK", "/edge.sock")
	t.Setenv("EDGE_ANOMALY_STATE_DIR", "/state")
	t.Setenv("EDGE_ANOMALY_SINKS", "log, webhook")
	t.Setenv("EDGE_ANOMALY_DEFAULTS", `{"threshold":0.8,"detector":{"window":7}}`)
	c, err := Parse([]byte(least + "anomalyDetection: {stateDir: /file, sinks: log, defaults: {threshold: 0.9, detector.rest: 1s}}"))
	if err != nil {
		t.Fatal(err)
	}
	if c.GRPCServer.SocketPath != "/other.sock" || c.Common.EdgeCoreSock != "/edge.sock" || c.AnomalyDetection.StateDir != "/state" {
		t.Errorf("%+v", c)
	}
	if diff := cmp.Diff([]string{"log", "webhook"}, c.AnomalyDetection.Sinks); diff != "" {
		t.Error(diff)
	}
	want := map[string]any{"threshold": 0.8, "detector.window": 7.0, "detector.rest": "1s"}
	if diff := cmp.Diff(want, c.AnomalyDetection.Defaults); diff != "" {
		t.Error(diff)
	}
	t.Setenv("EDGE_ANOMALY_ADAPTER_OPTIONS", `{"grpc":{"targets":{"plant-a":{"address":"a:1"}}}}`)
	if c, err = Parse([]byte(least)); err != nil || c.AnomalyDetection.AdapterOptions["grpc"]["targets.plant-a.address"] != "a:1" {
		t.Errorf("adapter options %v, error %v", c.AnomalyDetection.AdapterOptions, err)
	}
	t.Setenv("EDGE_ANOMALY_DEFAULTS", `[1]`)
	if _, err := Parse([]byte(least)); err == nil || !strings.Contains(err.Error(), "EDGE_ANOMALY_DEFAULTS") {
		t.Errorf("wrong variable: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	c, err := Parse([]byte(least))
	if err != nil {
		t.Fatal(err)
	}
	want := Common{Name: "mapper", Protocol: "p", Version: "v1.0.0", APIVersion: "v1.0.0", Address: "127.0.0.1", EdgeCoreSock: "/etc/kubeedge/dmi.sock"}
	if diff := cmp.Diff(want, c.Common); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsAreJoinedWithTheirPath(t *testing.T) {
	tests := []struct {
		name, file string
		want       []string
	}{
		{"empty", "", []string{"grpc_server.socket_path: required", "common.name: required", "common.protocol: required"}},
		{"not yaml", ":\n\t-", []string{""}},
		{"a key twice", "common: {name: a}\ncommon: {name: b}", []string{"common"}},
		{"not a mapping", "[1, 2]", []string{"want a mapping"}},
		{"typos", least + "anomalydetection: {}\n", []string{`anomalydetection: unknown key; did you mean "anomalyDetection"?`}},
		{"typos below", "grpc_server: {socketpath: /s}\ncommon: {nam: n, protocol: [1]}\nanomalyDetection: {statedir: x, route: []}", []string{
			`grpc_server.socketpath: unknown key; did you mean "socket_path"?`, `common.nam: unknown key; did you mean "name"?`,
			"common.protocol: got [1], want text", `anomalyDetection.statedir: unknown key; did you mean "stateDir"?`,
			`anomalyDetection.route: unknown key; did you mean "routes"?`,
		}},
		{"routes", least + `anomalyDetection: {routes: [{match: {devise: x, device: "[", namespace: 3}, setting: {}}, 7], sinks: [1], defaults: 3, sinkOptions: {log: 1}}`, []string{
			`anomalyDetection.routes[0].match.devise: unknown key; did you mean "device"?`,
			`anomalyDetection.routes[0].match.device: got "[", want a pattern`, "anomalyDetection.routes[0].match.namespace: got 3",
			`anomalyDetection.routes[0].setting: unknown key; did you mean "settings"?`, "anomalyDetection.routes[1]: got 7, want a mapping",
			"anomalyDetection.sinks[0]", "anomalyDetection.defaults: got 3, want a mapping", "anomalyDetection.sinkOptions.log: got 1, want a mapping",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.file))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a file that is not there: no error")
	}
}

func TestResolve(t *testing.T) {
	a := &AnomalyDetection{
		Defaults: map[string]any{"threshold": 0.9, "detector": "auto"},
		Routes: []Route{
			{Match: Match{Device: "room-*"}, Settings: map[string]any{"detector": "ewma", "detector.window": 60}},
			{Match: Match{Namespace: "ns", Property: "temp*", Model: "m"}, Settings: map[string]any{"detector": "mad"}},
			{Match: Match{Device: "mute-*"}, Settings: map[string]any{"enabled": false}},
			{Match: Match{Device: "rich"}, Settings: map[string]any{"config": `{"detector":{"window":5},"threshold":0.7}`}},
		},
	}
	tests := []struct {
		name   string
		target Target
		own    map[string]any
		want   map[string]any
	}{
		{"nobody speaks of it", Target{Device: "pump"}, nil, nil},
		{"the Device does", Target{Device: "pump"}, map[string]any{}, map[string]any{"threshold": 0.9, "detector": "auto"}},
		{"a route", Target{Device: "room-1"}, nil, map[string]any{"threshold": 0.9, "detector": "ewma", "detector.window": 60}},
		{"two routes, the later wins", Target{"ns", "room-1", "m", "temperature"}, nil,
			map[string]any{"threshold": 0.9, "detector": "mad", "detector.window": 60}},
		{"the Device wins over routes", Target{Device: "room-1"}, map[string]any{"detector": "mad", "threshold": "0.5"},
			map[string]any{"threshold": "0.5", "detector": "mad", "detector.window": 60}},
		{"switched off by a route", Target{Device: "mute-1"}, map[string]any{}, nil},
		{"and on again by the Device", Target{Device: "mute-1"}, map[string]any{"enabled": "true"}, map[string]any{"threshold": 0.9, "detector": "auto"}},
		{"switched off by the Device", Target{Device: "room-1"}, map[string]any{"enabled": false}, nil},
		{"rich settings of the Device win over flat ones below", Target{Device: "pump"}, map[string]any{"config": `{"threshold":0.5}`, "detector": "mad"},
			map[string]any{"threshold": 0.5, "detector": "mad"}},
		{"rich settings of a route", Target{Device: "rich"}, map[string]any{"detector.window": 9},
			map[string]any{"threshold": 0.7, "detector": "auto", "detector.window": 9}},
		{"broken rich settings stay, to be refused later", Target{Device: "pump"}, map[string]any{"config": "{"},
			map[string]any{"threshold": 0.9, "detector": "auto", "config": "{"}},
		{"so does a wrong switch", Target{Device: "pump"}, map[string]any{"enabled": "perhaps"},
			map[string]any{"threshold": 0.9, "detector": "auto", "enabled": "perhaps"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, _ := json.Marshal([]any{a, tt.own})
			layers := a.Resolve(tt.target, tt.own)
			got := merged(layers)
			if layers != nil {
				for key := range layers.Device { // what the Device does not say is never taken for its word
					if _, own := tt.own[key]; !own && tt.own["config"] == nil {
						t.Errorf("the Device is said to set %s", key)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if layers != nil {
				layers.Operator["x"], layers.Device["x"] = 1, 1
			}
			if after, _ := json.Marshal([]any{a, tt.own}); string(before) != string(after) {
				t.Error("Resolve wrote to its input")
			}
		})
	}
}

// merged is what holds, whoever says it.
func merged(l *admethod.Layers) map[string]any {
	if l == nil {
		return nil
	}
	all := maps.Clone(l.Operator)
	maps.Copy(all, l.Device)
	return all
}

func TestSinksForDevices(t *testing.T) {
	for file, want := range map[string][]string{
		"{}":                nil, // the handler's default
		"sinks: [log, dmi]": {"log", "dmi"},
		"{sinks: [log], defaults: {sinks: \"metrics,log\"}, routes: [{match: {device: d}, settings: {sinks: [dmi]}}]}": {"log", "metrics", "dmi"},
		"{routes: [{match: {device: d}, settings: {sinks: dmi}}]}":                                                     {"log", "dmi"},
		"{sinks: [log, metrics], deviceSinks: dmi}":                                                                    {"dmi"},
		"{sinks: [log, metrics], deviceSinks: []}":                                                                     {},
	} {
		c, err := Parse([]byte(least + "anomalyDetection: " + file + "\n"))
		if strings.HasPrefix(file, "sinks") {
			c, err = Parse([]byte(least + "anomalyDetection:\n  " + file + "\n"))
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if diff := cmp.Diff(want, c.AnomalyDetection.SinksForDevices()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestWatchFollowsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write := func(content string) {
		t.Helper()
		// As a ConfigMap does: a new file takes the name.
		if err := os.WriteFile(file+".new", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		write(least)
		s, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var changes atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.Watch(ctx, 0, func() { changes.Add(1) })
		}()
		expect := func(what string, want int64, threshold any) {
			t.Helper()
			<-time.After(3 * DefaultInterval)
			synctest.Wait()
			if got := changes.Load(); got != want {
				t.Errorf("%s: %d changes, want %d", what, got, want)
			}
			if got := merged(s.Resolve(Target{Device: "d"}, map[string]any{}))["threshold"]; got != threshold {
				t.Errorf("%s: threshold %v, want %v", what, got, threshold)
			}
		}
		expect("nothing", 0, nil)
		write(least + "anomalyDetection: {defaults: {threshold: 0.9}}")
		expect("a default", 1, json.Number("0.9"))
		write(least + "anomalyDetection: {defaults: {threshold: 0.9}, rout: []}")
		expect("a broken file", 1, json.Number("0.9"))
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		expect("no file", 1, json.Number("0.9"))
		write("grpc_server: {socket_path: /moved}\ncommon: {name: mapper, protocol: p}\nanomalyDetection: {defaults: {threshold: 0.9}}")
		expect("another socket needs a restart", 1, json.Number("0.9"))
		if got := s.Current().GRPCServer.SocketPath; got != "/s" {
			t.Errorf("socket %q, want the old one", got)
		}
		write(least + "anomalyDetection: {routes: [{match: {device: d}, settings: {threshold: 0.8}}]}")
		expect("a route", 2, json.Number("0.8"))
		cancel()
		<-done
	})
	if got := Fixed(Config{}).Resolve(Target{}, nil); got != nil {
		t.Errorf("fixed store: %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte(least))
	f.Add([]byte("anomalyDetection: {routes: [null, {match: null}], defaults: {a: [1, {b: 2}]}}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
	})
}

// The section alone is read by the same rules, and asks for nothing that only a mapper has.
func TestParseSection(t *testing.T) {
	t.Setenv("EDGE_ANOMALY_MODEL_DIR", "/models")
	a, err := ParseSection(map[string]any{
		"stateDir": "/state", "sinks": []any{"log"}, "defaults": map[string]any{"threshold": json.Number("0.9")},
		"routes": []any{map[string]any{"match": map[string]any{"device": "lamp-*"}, "settings": map[string]any{"detector": "ewma"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.StateDir != "/state" || a.ModelDir != "/models" || !slices.Equal(a.Sinks, []string{"log"}) || len(a.Defaults) != 1 || len(a.Routes) != 1 {
		t.Errorf("section %+v", a)
	}
	if a, err := ParseSection(nil); err != nil || a.ModelDir != "/models" {
		t.Errorf("section %+v, error %v", a, err)
	}
	for _, tt := range []struct {
		section any
		want    string
	}{
		{map[string]any{"stateDri": "/state"}, "anomalyDetection.stateDri: unknown key; did you mean \"stateDir\"?"},
		{"log", "anomalyDetection: got \"log\", want a mapping"},
	} {
		if _, err := ParseSection(tt.section); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want %q", tt.section, err, tt.want)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/api/apis/devices/v1beta1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/kubernetes/cloudtest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// pulse is a source for tests: it brings a number each time, and a high one at last.
type pulse struct {
	Device string        `param:"device"`
	Every  time.Duration `param:"every" min:"1ms"`
}

func init() {
	source.Register(source.Factory{
		Name: "pulse", Summary: "for tests",
		New: func(s source.Settings) (source.Source, error) {
			p := &pulse{Every: time.Millisecond, Device: s.Name}
			return p, source.Decode(p, s.Options)
		},
		Params: func() []params.Param { return params.Describe(pulse{}) },
	})
}

func (p *pulse) Run(ctx context.Context, in source.Intake) error {
	about := &source.Property{Model: "beater", Labels: map[string]string{"hall": "3"}}
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ticker := time.NewTicker(p.Every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		r := source.Reading{
			Key: driver.Key{Namespace: "default", Device: p.Device, Property: "beat"}, At: at.Add(time.Duration(n) * time.Second),
			Value: 20 + float64(n*7919%101)/100, Property: about,
		}
		if n > 300 {
			r.Value = 90
		}
		if _, err := source.Refused(in.Take(ctx, []source.Reading{r})); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

const withSources = `
sources:
- type: pulse
  namespaces: default
  options: {every: 2ms}
anomalyDetection:
  stateDir: %STATE%
  sinks: history
  sinkOptions: {history: {path: %STATE%/history}}
  routes:
  - match: {client: pulse, model: beat*, labels: {hall: "3"}}
    settings: {detector: ewma}
`

// A program with sources needs no endpoint, and judges what they bring until it is told to end.
func TestSourcesAlone(t *testing.T) {
	state := t.TempDir()
	config := strings.ReplaceAll(withSources, "%STATE%", state)
	file := filepath.Join(t.TempDir(), "config.yaml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	ctx, end := context.WithCancel(within(t))
	ended := make(chan error, 1)
	var told strings.Builder
	go func() { ended <- run(ctx, []string{"--config", file}, &told) }()
	found := func() bool {
		files, _ := filepath.Glob(filepath.Join(state, "history*"))
		for _, name := range files {
			if raw, _ := os.ReadFile(name); strings.Contains(string(raw), "ewma") && strings.Contains(string(raw), `"beat"`) {
				return true
			}
		}
		return false
	}
	for !found() {
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-ended:
			t.Fatal("it ended: ", err)
		case <-ctx.Done():
			t.Fatal("no incident is told")
		}
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if told.String() != "anomaly-detector: source pulse\n" {
		t.Errorf("told %q", told.String())
	}
}

// All that is wrong with sources and routes is told at once, with the line and what was expected.
func TestCheckNamesEveryError(t *testing.T) {
	const config = `insecure: true
listen: 127.0.0.1:0
sources:
- type: pulse
  options:
    evry: 2ms
- {name: other, type: puls}
- name: pulse
  type: pulse
  options: {every: 0s}
- name: Not/Good
  type: pulse
  limits: {series: 0}
- 7
- options: {}
- type: pulse
  name: loose
  options: [a]
anomalyDetection:
  defaults:
    detector: auto
  routes:
  - match: {device: "["}
    settings: {}
  - match: {device: a}
    settings:
      detector: ewma
      detector.alhpa: 0.1
  - match: {labels: [a]}
    settings: {}
`
	want := []string{
		`line 6: sources[0].options.evry: unknown key; did you mean "every"?`,
		`line 7: sources[1].type: unknown source "puls": did you mean "pulse"?`,
		`line 8: sources[2].name: got "pulse", want another one for each source and client`,
		`line 10: sources[2].options.every: got "0s", want at least 1ms`,
		`line 11: sources[3].name: got "Not/Good", want small letters`,
		`line 13: sources[3].limits.series: got 0, want at least 1`,
		`line 14: sources[4]: got 7, want a mapping`,
		`line 15: sources[5].type: required: `,
		`line 18: sources[6].options: got [a], want a mapping`,
		`line 23: anomalyDetection.routes[0].match.device: got "[", want a pattern`,
		`anomalyDetection.routes[1].settings`,
		`line 29: anomalyDetection.routes[2].match.labels: got [a], want a mapping of labels to patterns`,
	}
	_, err := parse([]byte(config), nil)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(located([]byte(config), err).Error(), "\n")
	for _, w := range want {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, w) }) {
			t.Errorf("want %q in\n%s", w, strings.Join(lines, "\n"))
		}
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "line 28: ") && strings.Contains(l, "alhpa") }) &&
		!slices.ContainsFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "line 26: ") && strings.Contains(l, "alhpa")
		}) {
		t.Errorf("want the line of detector.alhpa in\n%s", strings.Join(lines, "\n"))
	}
}

// What endpoints need is asked for where there are some.
func TestEndpointsBesideSources(t *testing.T) {
	const pulses = "sources: [{type: pulse}]\n"
	for _, c := range []struct {
		config, grpc, http, says string
	}{
		{pulses, "", "", ""},
		{pulses + "listen: 127.0.0.1:1\ninsecure: true", "127.0.0.1:1", "", ""},
		{pulses + "listen: 127.0.0.1:1", "", "", "tls.cert: required"},
		{pulses + "http: {listen: '127.0.0.1:1'}\ninsecure: true", "0.0.0.0:6804", "127.0.0.1:1", ""},
		{pulses + "http: {listen: '127.0.0.1:1'}\nlisten: ''\ninsecure: true", "", "127.0.0.1:1", ""},
		{pulses + "clients: [{name: m, namespaces: [d]}]", "", "", "clients: an endpoint for them"},
		{"listen: ''", "", "", "listen: required without sources"},
		{"insecure: true", "0.0.0.0:6804", "", ""},
	} {
		got, err := parse([]byte(c.config), nil)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s\n%v: want %q", c.config, err, c.says)
			}
			continue
		}
		if err != nil || got.Listen != c.grpc || got.HTTP.Listen != c.http {
			t.Errorf("%s\n%v: %q, %q: want %q, %q", c.config, err, got.Listen, got.HTTP.Listen, c.grpc, c.http)
		}
	}
}

// What is linked here and what an error tells a smaller program to import are the same.
func TestSourcesAreLinked(t *testing.T) {
	names := slices.DeleteFunc(source.Sources.Names(), func(n string) bool { return n == "pulse" })
	var known []string
	for name := range source.Sources.Packages {
		known = append(known, name)
	}
	slices.Sort(known)
	if diff := cmp.Diff(names, known); diff != "" {
		t.Error(diff)
	}
}

// A kubeconfig is all that it takes to watch what KubeEdge knows.
func TestKubeconfigAlone(t *testing.T) {
	cloud := cloudtest.Start()
	t.Cleanup(cloud.Close)
	putPump(t, cloud, "pump-1", "3")
	report(t, cloud, "pump-1", 0)
	file := filepath.Join(t.TempDir(), "a config") // with a space
	must(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: c,
  clusters: [{name: c, cluster: {server: "`+cloud.URL+`"}}], contexts: [{name: c, context: {cluster: c, user: u}}], users: [{name: u, user: {}}]}`), 0o600))
	var told strings.Builder
	must(t, run(t.Context(), []string{"--kubeconfig", file, "--check"}, &told))
	if want := "--kubeconfig " + file + ": ok\n"; told.String() != want {
		t.Errorf("told %q, want %q", told.String(), want)
	}
	for _, args := range [][]string{{"--kubeconfig", file, "--config", file}, {"--kubeconfig", file + "x"}} {
		if err := run(t.Context(), append(args, "--check"), &told); err == nil || !strings.Contains(err.Error(), "--kubeconfig: ") {
			t.Errorf("%q: %v", args, err)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--kubeconfig", file}, io.Discard) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := within(t); cloud.Status("plant", "pump-1")["status"].(map[string]any)["extensions"] == nil; {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-deadline.Done():
			t.Fatal("nothing is told in the DeviceStatus")
		}
	}
	cancel()
	must(t, <-ended)
}

// putPump puts a Device, of a line of the plant.
func putPump(t *testing.T, cloud *cloudtest.Server, name, line string) {
	t.Helper()
	var m v1beta1.DeviceModel
	m.Namespace, m.Name = "plant", "pump"
	var d v1beta1.Device
	d.Namespace, d.Name, d.Labels = "plant", name, map[string]string{"line": line}
	d.Spec.DeviceModelRef = &corev1.LocalObjectReference{Name: "pump"}
	for _, p := range []string{"pressure", "flow"} {
		m.Spec.Properties = append(m.Spec.Properties, v1beta1.ModelProperty{Name: p, Type: v1beta1.DOUBLE})
		d.Spec.Properties = append(d.Spec.Properties, v1beta1.DeviceProperty{Name: p})
	}
	must(t, cloud.Put(&m))
	must(t, cloud.Put(&d))
}

// reported is the time of the first report.
var reported = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// report reports the n-th value of each property, a minute after the one before.
func report(t *testing.T, cloud *cloudtest.Server, name string, n int) {
	t.Helper()
	var s v1beta1.DeviceStatus
	s.Namespace, s.Name = "plant", name
	stamp := strconv.FormatInt(reported.Add(time.Duration(n)*time.Minute).UnixMilli(), 10)
	for _, p := range []string{"pressure", "flow"} {
		s.Status.Twins = append(s.Status.Twins, v1beta1.Twin{PropertyName: p, Reported: v1beta1.TwinProperty{Value: fmt.Sprint(n), Metadata: map[string]string{"timestamp": stamp}}})
	}
	must(t, cloud.Put(&s))
}

// What a source brings is mirrored, and downloaded by the labels of devices, property and time.
func TestMirror(t *testing.T) {
	cloud := cloudtest.Start()
	t.Cleanup(cloud.Close)
	for name, line := range map[string]string{"pump-1": "3", "pump-2": "4", "pump-3": "3"} {
		putPump(t, cloud, name, line)
		report(t, cloud, name, 0)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	state := t.TempDir()
	file := filepath.Join(state, "config.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
sources: [{type: kubernetes, options: {server: %q}}]
anomalyDetection:
  stateDir: %q
  sinks: [recorder, api]
  sinkOptions: {api: {address: %q}}
`, cloud.URL, state, address), 0o600))

	download := func(query string) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v1/dataset?format=csv&"+query, nil)
		must(t, err)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return "" // it is not there yet
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		must(t, err)
		var rows []string
		for line := range strings.Lines(string(text)) {
			if cells := strings.Split(line, ","); len(cells) > 4 && cells[0] != "time" {
				rows = append(rows, strings.Join(cells[2:5], " "))
			} else if cells[0] != "time" {
				rows = append(rows, line)
			}
		}
		slices.Sort(rows)
		return strings.Join(rows, ", ")
	}
	const day = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"
	expect := func(query, want string) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := within(t); ; {
			got := download(query)
			if got == want {
				return
			}
			select {
			case <-tick.C:
			case <-deadline.Done():
				t.Fatalf("%s:\ngot  %s\nwant %s", query, got, want)
			}
		}
	}
	run := func(do func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, []string{"--config", file}, io.Discard) }()
		do()
		cancel()
		must(t, <-ended)
	}
	run(func() {
		must(t, cloud.Watched(within(t)))
		expect(day+"&deviceLabel=line=3", "pump-1 flow 0, pump-1 pressure 0, pump-3 flow 0, pump-3 pressure 0")
		for _, name := range []string{"pump-1", "pump-2", "pump-3"} {
			report(t, cloud, name, 1)
		}
		expect(day+"&deviceLabel=line=4&property=flow", "pump-2 flow 0, pump-2 flow 1")
		expect("from=2026-03-01T08:01:00Z&to=2026-03-01T09:00:00Z&deviceLabel=line=3&property=pressure", "pump-1 pressure 1, pump-3 pressure 1")
		expect(day+"&deviceLabel=line=[34]&deviceLabel=hall=*", "")
		expect(day+"&deviceLabel=line", "device label \"line\": want NAME=VALUE, or a pattern for the value, such as line=3 or hall=north-*\n")
	})
	cloud.Delete(cloudtest.Devices, "plant", "pump-1") // what was recorded of it keeps its labels
	putPump(t, cloud, "pump-3", "5")                   // of a line that counts for all that it reported
	run(func() {
		must(t, cloud.Watched(within(t)))
		report(t, cloud, "pump-3", 2)
		expect(day+"&deviceLabel=line=5&property=flow", "pump-3 flow 0, pump-3 flow 1, pump-3 flow 2")
		expect(day+"&deviceLabel=line=3&property=flow", "pump-1 flow 0, pump-1 flow 1")
	})
	http.DefaultClient.CloseIdleConnections()
}

// Each error of sources, routes and sinks is told, once, with its line and what to do.
func TestCheckTellsEverything(t *testing.T) {
	for _, tt := range []struct {
		name, config string
		want         []string
	}{
		{"sections that are written otherwise", `
source:
- type: file
anomalydetection: {stateDir: /tmp}
`, []string{`line 2: source: unknown section; did you mean "sources"?`, `line 4: anomalydetection: unknown section; did you mean "anomalyDetection"?`,
			"tls.cert: required", "tls.key: required", "clients: at least one"}},
		{"an option of another source", `
sources:
- type: kubernetes
  options:
    broker: mqtts://broker
    namespaces: [A_b]
    desired: soon
    server: https://api
    kubeconfig: file
`, []string{
			"line 5: sources[0].options.broker: no such key: it is one of the source mqtt, not of kubernetes",
			`line 7: sources[0].options.desired: got "soon", want a duration`,
			"line 4: sources[0].options: server and kubeconfig: one of them, not both",
			`line 6: sources[0].options.namespaces: got "A_b"`,
		}},
		{"names of namespaces", `
sources:
- type: kubernetes
  options: {server: "https://api", namespaces: [plant-1, A_b]}
`, []string{`line 4: sources[0].options.namespaces: got "A_b", want names of namespaces`}},
		{"a type that is not there", "sources: [{type: kubernets}]", []string{`line 1: sources[0].type: unknown source "kubernets": did you mean "kubernetes"?`}},
		{"twice", "sources:\n- {type: pulse}\n- {type: pulse}", []string{`line 3: sources[1].name: got "pulse", want another one`}},
		{"a key twice", "sources:\n- type: pulse\n  type: file", []string{`line 3: key "type" already set`}},
		{"routes that never count", `
sources: [{type: pulse}]
anomalyDetection:
  routes:
  - match: {property: temp, model: "pump-*"}
    settings: {threshold: 0.9}
  - match: {property: temp}
    settings: {threshold: 0.8, accept: never}
  - match: {client: puls}
    settings: {threshold: 0.8}
  - match: {client: "p*"}
    settings: {accept: never}
`, []string{
			"line 5: anomalyDetection.routes[0]: it never counts: routes[1] comes later",
			`line 9: anomalyDetection.routes[2].match.client: got "puls", want the name of a client or source: pulse`,
		}},
		{"what is wrong for all is told once", `
sources: [{type: pulse}]
anomalyDetection:
  defaults:
    threshold: 2
    detectr: auto
  routes:
  - match: {property: temp}
    settings: {sensitivity: medium}
  - match: {property: flow}
    settings:
      treshold: 0.9
`, []string{
			`line 6: anomalyDetection.defaults: anomalyDetection: detectr: unknown key; did you mean "detector"?`,
			"line 5: anomalyDetection.defaults: anomalyDetection: threshold: got 2, want at most",
			`line 12: anomalyDetection.routes[1].settings: anomalyDetection: treshold: unknown key; did you mean "threshold"?`,
		}},
		{"sinks", `
sources: [{type: pulse}]
anomalyDetection:
  sinks: [log, devicstatus]
  sinkOptions:
    devicestatus:
      intervall: 1s
    webhok: {}
`, []string{
			`line 4: anomalyDetection.sinks[1]: unknown sink "devicstatus": did you mean "devicestatus"?`,
			`line 7: anomalyDetection.sinkOptions.devicestatus.intervall: unknown key; did you mean "interval"?`,
			`line 8: anomalyDetection.sinkOptions.webhok: unknown sink "webhok": did you mean "webhook"?`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.yaml")
			must(t, os.WriteFile(file, []byte(tt.config), 0o600))
			err := run(t.Context(), []string{"--config", file, "--check"}, io.Discard)
			if err == nil {
				t.Fatal("nothing is wrong with it")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != len(tt.want) && !strings.Contains(tt.name, "twice") {
				t.Errorf("%d lines, want %d:\n%v", n, len(tt.want), err)
			}
		})
	}
}

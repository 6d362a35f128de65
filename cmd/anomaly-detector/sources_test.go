// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/api/apis/devices/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	var m v1beta1.DeviceModel
	m.Namespace, m.Name = "plant", "pump"
	m.Spec.Properties = []v1beta1.ModelProperty{{Name: "pressure", Type: v1beta1.DOUBLE}}
	var d v1beta1.Device
	d.Namespace, d.Name = "plant", "pump-1"
	d.Spec.DeviceModelRef = &corev1.LocalObjectReference{Name: "pump"}
	d.Spec.Properties = []v1beta1.DeviceProperty{{Name: "pressure"}}
	var s v1beta1.DeviceStatus
	s.Namespace, s.Name = "plant", "pump-1"
	s.Status.Twins = []v1beta1.Twin{{PropertyName: "pressure", Reported: v1beta1.TwinProperty{Value: "4.2"}}}
	for _, o := range []metav1.Object{&m, &d, &s} {
		must(t, cloud.Put(o))
	}
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

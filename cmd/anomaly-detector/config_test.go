// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const everything = `
listen: 127.0.0.1:7804
http: {listen: "127.0.0.1:7805"}
tls:
  ca: ca.crt
  cert: tls.crt
  key: tls.key
anonymous: [try]
limits: {streams: 10, idle: 10m}
clientLimits: {rate: 500.5}
clients:
- {name: mapper.edge, namespaces: [default, plant-1]}
- name: plant-2
  certificates: [a.plant-2, spiffe://plant-2/b]
  token: tokens/plant-2
  namespaces: ["*"]
  limits: {series: 5, patience: 10s}
callbacks:
- {client: mapper.edge, url: "https://mapper.edge/verdicts", tls: {ca: mappers.crt}}
anomalyDetection:
  stateDir: /state
  modelDir: /models
  sinks: [log, history]
  sinkOptions: {history: {rows: 1000}}
  defaults: {threshold: 0.9}
  routes:
  - match: {device: "pump-*", client: mapper.edge}
    settings: {detector: ewma, detector: ewma2}
`

func TestConfiguration(t *testing.T) {
	t.Setenv("EDGE_ANOMALY_TLS_KEY", "elsewhere.key")
	t.Setenv("EDGE_ANOMALY_LIMITS_IDLE", "20m")
	t.Setenv("EDGE_ANOMALY_STATE_DIR", "/other")
	c, err := parse([]byte(strings.Replace(everything, ", detector: ewma2", "", 1)), map[string]any{"listen": "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Listen, want.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:7805"
	want.TLS.CA, want.TLS.Cert, want.TLS.Key = "ca.crt", "tls.crt", "elsewhere.key"
	want.Anonymous = []string{"try"}
	want.Limits.Streams, want.Limits.Idle, want.ClientLimits.Rate = 10, 20*time.Minute, 500.5
	own := want.ClientLimits
	own.Series, own.Patience = 5, 10*time.Second
	clients := []client{
		{Name: "mapper.edge", Certificates: []string{"mapper.edge"}, Namespaces: []string{"default", "plant-1"}, Limits: want.ClientLimits},
		{Name: "plant-2", Certificates: []string{"a.plant-2", "spiffe://plant-2/b"}, Token: "tokens/plant-2", Namespaces: []string{"*"}, Limits: own},
	}
	callbacks := []callback{{Client: "mapper.edge", URL: "https://mapper.edge/verdicts"}}
	callbacks[0].TLS.CA = "mappers.crt"
	routes := []detectserver.Route{{Device: "pump-*", Client: "mapper.edge", Settings: map[string]any{"detector": "ewma"}}}
	for _, diff := range []string{
		cmp.Diff(want, c.settings), cmp.Diff(clients, c.Clients), cmp.Diff(callbacks, c.Callbacks),
		cmp.Diff(routes, c.Routes, cmpopts.EquateEmpty()), cmp.Diff([]string{"log", "history"}, c.Detection.Sinks),
		cmp.Diff("/other /models", c.Detection.StateDir+" "+c.Detection.ModelDir),
	} {
		if diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// What is wrong is told by its key, all of it at once.
func TestConfigurationErrors(t *testing.T) {
	const good = "tls: {ca: a, cert: b, key: c}\nclients: [{name: m, namespaces: [d]}]\n"
	for _, tt := range []struct {
		config string
		want   []string
	}{
		{"- a", []string{"want a mapping"}},
		{everything, []string{`key "detector" already set`}},
		{"", []string{"tls.cert: required; or insecure: true for plaintext", "tls.key: required", "clients: at least one"}},
		{good + "listn: 127.0.0.1:1", []string{`listn: unknown key; did you mean "listen"?`}},
		{good + "listen: :6804", []string{`listen: got ":6804", want host:port`}},
		{good + "limits: {idle: 3}", []string{"limits.idle: got 3, want a duration"}},
		{good + "limits: {streams: 0, series: many}", []string{"limits.streams: got 0", `limits.series: got "many"`}},
		{"tls: {cert: b, key: c}\nclients: [{name: m, namespaces: [d]}]", []string{"tls.ca: required for clients"}},
		{"tls: {cert: b, key: c}\nclients: [{name: m, token: t}]", []string{"clients[0].namespaces: at least one"}},
		{"insecure: true\nclients: [{name: m, namespaces: [d]}]", []string{"insecure: got true, want no tls.* and no clients"}},
		{"tls: {ca: a, cert: b, key: c}\nclients: [{name: m, namespaces: [d]}, {name: m, namespaces: d, tokn: x}, 3]", []string{
			`clients[1].name: got "m", want another one`, `clients[1].tokn: unknown key; did you mean "token"?`, "clients[2]: got 3, want a mapping",
		}},
		{"tls: {cert: b, key: c}\nclients: {name: m}", []string{"clients: got", "want a list"}},
		{good + "callbacks: [{client: m}]", []string{"callbacks[0].url: required"}},
		{good + "anomalyDetection: {stateDri: x}", []string{`anomalyDetection.stateDri: unknown key; did you mean "stateDir"?`}},
		{good + "anomalyDetection: {adapterOptions: {grpc: {}}}", []string{"anomalyDetection.adapterOptions", "for mappers"}},
		{good + "anomalyDetection: {routes: {match: {}}}", []string{"anomalyDetection.routes", "want a list"}},
		{good + "anomalyDetection: {routes: [{match: {device: a}}]}", []string{"anomalyDetection.routes[0].match: match and settings"}},
		{good + "anomalyDetection: {routes: [{match: {kind: a}, settings: {}}]}", []string{"anomalyDetection.routes[0].match.kind: unknown key"}},
		{good + "anomalyDetection: {routes: [{match: {device: '['}, settings: {}}]}", []string{"anomalyDetection.routes[0].match.device: got \"[\", want a pattern"}},
	} {
		_, err := parse([]byte(tt.config), nil)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nerror %v, want %q", tt.config, err, want)
			}
		}
	}
}

// Settings that every property would fail with are found before one comes.
func TestDetectionIsChecked(t *testing.T) {
	for _, tt := range []struct{ section, want string }{
		{"defaults: {detector: emwa}", `anomalyDetection.defaults: detector: unknown`},
		{"defaults: {thresold: 0.9}", "thresold"},
		{"defaults: {adMethodName: grpc}", "anomalyDetection.defaults.adMethodName"},
		{"routes: [{match: {}, settings: {detector: ewma, detector.alpha: 7}}]", "anomalyDetection.routes[0].settings"},
		{"routes: [{match: {}, settings: {sinks: nowhere}}]", "nowhere"},
		{"sinks: nowhere", "nowhere"},
	} {
		c, err := parse([]byte("insecure: true\nanomalyDetection: {"+tt.section+"}"), nil)
		if err == nil {
			_, err = newServer(c)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.section, err, tt.want)
		}
	}
	c, err := parse([]byte("insecure: true\nanomalyDetection: {defaults: {threshold: 0.9}, routes: [{match: {device: \"p*\"}, settings: {group: g, detector: autogroup}}]}"), nil)
	if err == nil {
		_, err = newServer(c)
	}
	if err != nil {
		t.Error(err)
	}
}

var update = flag.Bool("update", false, "write the table of settings into README.md")

const (
	reference  = "../../examples/external-anomaly-detector/README.md"
	tableBegin = "<!-- settings: go test -run TestReference -update -->\n"
	tableEnd   = "<!-- end of settings -->\n"
)

// The README has every setting.
func TestReference(t *testing.T) {
	var b strings.Builder
	b.WriteString("\n| Key | Default | |\n|---|---|---|\n")
	all := params.Describe(defaults())
	for _, p := range params.Describe(newOrigin(&clientLimits{})) {
		if p.Key = "sources[]." + p.Key; p.Default == "0" {
			p.Default = ""
		}
		all = append(all, p)
	}
	for _, p := range all {
		value := p.Default
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Key, value, p.Doc)
	}
	b.WriteString("\n")
	raw, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatal("README.md has no place for the table")
	}
	next := before + tableBegin + b.String() + tableEnd + after
	if next == string(raw) {
		return
	}
	if !*update {
		t.Fatal("README.md is not current: go test -run TestReference -update")
	}
	if err := os.WriteFile(reference, []byte(next), 0o644); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(plainConfig))
	f.Add([]byte("clients: [{name: m, namespaces: [{}]}]\nanomalyDetection: {routes: [3]}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parse(raw, nil)
		if err == nil && c == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}

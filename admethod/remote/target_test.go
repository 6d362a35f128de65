// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// postConfig has keys of its own that belong to one peer.
type postConfig struct {
	remote.Config `param:""`
	Reply         struct {
		Listen string `param:"listen"`
	} `param:"callback" scope:"target"`
	Gzip bool `param:"gzip"`
}

// dialled collects what transports are made for.
type dialled struct {
	mu   sync.Mutex
	seen []postConfig
}

func (d *dialled) factory() admethod.AdapterFactory {
	return remote.Kind[postConfig]{
		Name: "post", URLs: true,
		Defaults: func() postConfig { return postConfig{Config: remote.DefaultConfig()} },
		Shared:   func(c *postConfig) *remote.Config { return &c.Config },
		Transport: func(c postConfig, _ remote.Identity) (remote.Transport, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.seen = append(d.seen, c)
			return nowhere{}, nil
		},
	}.Factory()
}

// Every credential stays with the target that it was given for, whoever asks for which detector.
func TestTargets(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	mapper := map[string]any{
		"address": "usual:1", "token": secret, "tls.ca": "usual.pem", "tls.cert": "usual.crt", "tls.key": "usual.key", "gzip": true,
		"targets.plant-a.address": "a:1", "targets.plant-a.token": secret + "-a", "targets.plant-a.timeout": "7s",
		"targets.plain.address": "p:1", "targets.plain.insecure": true,
		"targets.theirs.address": "t:1", "targets.theirs.namespaces": "other,else-*",
		"allow.ns":  "*.svc:443,plaintext:lab.local:*,plaintext:[fd00::7]:80",
		"allow.te*": "*:6804",
	}
	type want struct {
		address, token, ca, cert, callback string
		insecure, gzip                     bool
	}
	usual := want{address: "usual:1", token: secret, ca: "usual.pem", cert: "usual.crt", gzip: true}
	for name, c := range map[string]struct {
		namespace        string
		operator, device map[string]any
		want             want
		err              string
	}{
		"nobody says a word":     {"ns", nil, nil, usual, ""},
		"a target":               {"ns", nil, map[string]any{"target": "plant-a"}, want{address: "a:1", token: secret + "-a", gzip: true}, ""},
		"plaintext for one":      {"ns", nil, map[string]any{"target": "plain"}, want{address: "p:1", insecure: true, gzip: true}, ""},
		"of another namespace":   {"ns", nil, map[string]any{"target": "theirs"}, want{}, `post.target: got "theirs", want a target that the mapper's configuration has (adapterOptions.post.targets): plain, plant-a`},
		"of its own":             {"else-1", nil, map[string]any{"target": "theirs"}, want{address: "t:1", gzip: true}, ""},
		"unknown":                {"ns", nil, map[string]any{"target": "../plant-a"}, want{}, "post.target"},
		"the operator's route":   {"ns", map[string]any{"address": "r:1", "token": "r"}, nil, want{address: "r:1", token: "r", ca: "usual.pem", cert: "usual.crt", gzip: true}, ""},
		"a target over a route":  {"ns", map[string]any{"address": "r:1", "token": "r", "callback.listen": ":1"}, map[string]any{"target": "plant-a"}, want{address: "a:1", token: secret + "-a", gzip: true}, ""},
		"a route with a target":  {"ns", map[string]any{"target": "plant-a"}, nil, want{address: "a:1", token: secret + "-a", gzip: true}, ""},
		"a route with both":      {"ns", map[string]any{"target": "plant-a", "address": "r:1"}, nil, want{}, "either target or address"},
		"a Device with both":     {"ns", nil, map[string]any{"target": "plant-a", "address": "x.svc:443"}, want{}, "either target or address"},
		"an allowed address":     {"ns", nil, map[string]any{"address": "x.svc:443"}, want{address: "x.svc:443", ca: "usual.pem", gzip: true}, ""},
		"over a route's":         {"ns", map[string]any{"address": "r:1", "token": "r", "callback.listen": ":1"}, map[string]any{"address": "x.svc:443"}, want{address: "x.svc:443", ca: "usual.pem", gzip: true}, ""},
		"over a route's target":  {"ns", map[string]any{"target": "plant-a"}, map[string]any{"address": "x.svc:443"}, want{address: "x.svc:443", ca: "usual.pem", gzip: true}, ""},
		"an allowed URL":         {"ns", nil, map[string]any{"address": "https://X.SVC:443/v1"}, want{address: "https://X.SVC:443/v1", ca: "usual.pem", gzip: true}, ""},
		"allowed in plaintext":   {"ns", nil, map[string]any{"address": "lab.local:80"}, want{address: "lab.local:80", insecure: true, gzip: true}, ""},
		"IPv6":                   {"ns", nil, map[string]any{"address": "[fd00::7]:80"}, want{address: "[fd00::7]:80", insecure: true, gzip: true}, ""},
		"another port":           {"ns", nil, map[string]any{"address": "x.svc:80"}, want{}, "adapterOptions.post.allow.ns"},
		"another namespace's":    {"team", nil, map[string]any{"address": "x.svc:443"}, want{}, "adapterOptions.post.allow.team"},
		"a namespace by pattern": {"team", nil, map[string]any{"address": "any.where:6804"}, want{address: "any.where:6804", ca: "usual.pem", gzip: true}, ""},
		"one of two":             {"ns", nil, map[string]any{"address": "x.svc:443,127.0.0.1:443"}, want{}, "a Device must not set it"},
		"TLS and plaintext":      {"ns", nil, map[string]any{"address": "x.svc:443,lab.local:80"}, want{}, "a Device must not set it"},
		"a user in it":           {"ns", nil, map[string]any{"address": "https://x@x.svc:443"}, want{}, "a Device must not set it"},
		"a socket":               {"team", nil, map[string]any{"address": "unix:6804"}, want{}, "a Device must not set it"},
		"a socket's path":        {"team", nil, map[string]any{"address": "unix:///run/x.sock"}, want{}, "a Device must not set it"},
		"a resolver":             {"team", nil, map[string]any{"address": "passthrough:///x:6804"}, want{}, "a Device must not set it"},
		"hidden in a path":       {"ns", nil, map[string]any{"address": "https://127.0.0.1/x.svc:443"}, want{}, "a Device must not set it"},
		"encoded":                {"ns", nil, map[string]any{"address": "https://127.0.0.1%2fx.svc:443"}, want{}, "a Device must not set it"},
		"plaintext by URL":       {"ns", nil, map[string]any{"address": "plaintext:x.svc:443"}, want{}, "a Device must not set it"},
		"a Device's token":       {"ns", nil, map[string]any{"token": "/etc/hostname"}, want{}, "post.token: a Device must not set it: write post.target: NAME"},
		"a Device's CA":          {"ns", nil, map[string]any{"tls.ca": ""}, want{}, "post.tls.ca: a Device must not set it"},
		"a Device's insecure":    {"ns", nil, map[string]any{"insecure": true}, want{}, "post.insecure: a Device must not set it"},
		"a Device's callback":    {"ns", nil, map[string]any{"callback.listen": ":80"}, want{}, "post.callback.listen: a Device must not set it"},
		"a Device's spool":       {"ns", nil, map[string]any{"spool.size": 1}, want{}, "post.spool.size: a Device must not set it"},
		"a Device's target":      {"ns", nil, map[string]any{"targets.x.address": "x:1"}, want{}, "post.targets.x.address: a Device must not set it"},
		"a Device's allowance":   {"ns", nil, map[string]any{"allow.*": "*"}, want{}, "post.allow.*: a Device must not set it"},
	} {
		t.Run(name, func(t *testing.T) {
			var d dialled
			adapters := new(admethod.AdapterRegistry)
			adapters.Register("post", d.factory())
			h := sinktest.Handler(t, pipeline.Options{
				Drivers: driver.NewRegistry(), Adapters: adapters, Sinks: new(admethod.SinkRegistry),
				AdapterOptions: map[string]map[string]any{"post": mapper},
			})
			layers := admethod.Layers{Operator: map[string]any{"adMethodName": "post"}, Device: map[string]any{}}
			for key, value := range c.operator {
				layers.Operator["post."+key] = value
			}
			for key, value := range c.device {
				layers.Device["post."+key] = value
			}
			config, err := layers.Parse()
			if err != nil {
				t.Fatal(err)
			}
			_, err = h.Bind(driver.Key{Namespace: c.namespace, Device: "d", Property: "p"}, config, admethod.Meta{})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
				if len(d.seen) > 0 {
					t.Errorf("connects to %q all the same", d.seen[0].Address)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := d.seen[0]
			if diff := cmp.Diff(c.want, want{
				got.Address, got.Token, got.TLS.CA, got.TLS.Cert, got.Reply.Listen, got.Insecure, got.Gzip,
			}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A Device must not make the mapper hold any number of connections.
func TestAllowedAddressesAreBounded(t *testing.T) {
	var d dialled
	adapters := new(admethod.AdapterRegistry)
	adapters.Register("post", d.factory())
	h, err := pipeline.NewHandler(pipeline.Options{
		Drivers: driver.NewRegistry(), Adapters: adapters, Sinks: new(admethod.SinkRegistry),
		AdapterOptions: map[string]map[string]any{"post": {"allow.*": "*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 20 {
		host := string(rune('a'+i)) + ".example:443"
		config, err := admethod.Layers{Device: map[string]any{"adMethodName": "post", "post.address": host}}.Parse()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Bind(driver.Key{Namespace: "ns", Device: "d", Property: host}, config, admethod.Meta{}); err != nil {
			if !strings.Contains(err.Error(), "have the operator define targets") {
				t.Fatal(err)
			}
			refused++
		}
	}
	if refused != 12 || len(d.seen) != 8 {
		t.Errorf("%d connections, %d refused, want 8 and 12", len(d.seen), refused)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// What is wrong with a target is said to its operator by name, also if nobody uses it yet.
func TestWrongTargets(t *testing.T) {
	var d dialled
	for options, want := range map[string]string{
		"targets.a.adress":   `targets.a.adress: unknown key; did you mean "address"?`,
		"targets.a.insecure": "targets.a.address: must be set",
		"targets.a":          "targets.a: want targets.NAME.KEY",
		"allow":              "allow: allow.NAMESPACE",
		"allow.[":            "allow.[: allow.NAMESPACE",
	} {
		_, err := d.factory().New(admethod.AdapterSettings{Options: map[string]any{options: "true"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", options, err, want)
		}
	}
	if keys := params.List(nil); len(keys) != 0 {
		t.Errorf("no list has the entries %q", keys)
	}
}

// nowhere is a detector that is away.
type nowhere struct{}

func (nowhere) Open(context.Context) (remote.Session, error) { return nil, errors.New("away") }
func (nowhere) Close() error                                 { return nil }

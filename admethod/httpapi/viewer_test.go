// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

const viewToken = "viewer-0123456789"

// asker is an API that several kinds of people ask.
type asker struct{ *Server }

func newAsker(t *testing.T, c Config, tokens bool) *asker {
	t.Helper()
	c.Address = "127.0.0.1:0"
	if tokens {
		c.TokenFile, c.Viewer.TokenFile = tokenFile(t), filepath.Join(t.TempDir(), "viewer")
		if err := os.WriteFile(c.Viewer.TokenFile, []byte(viewToken), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	routes := new(Routes)
	for _, pattern := range []string{"GET /v1/locks", "DELETE /v1/locks"} {
		if _, err := routes.Handle(pattern, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})); err != nil {
			t.Fatal(err)
		}
	}
	s, err := New(c, routes)
	if err != nil {
		t.Fatal(err)
	}
	mine, other := verdict("light-1", driver.Normal), verdict("light-9", driver.Normal)
	other.Key.Namespace = "secret"
	sick := during(7, "light-9", 0, driver.Began)
	sick.Key.Namespace = "secret"
	if err := s.Write(t.Context(), []driver.Result{mine, other, sick}); err != nil {
		t.Fatal(err)
	}
	return &asker{s}
}

// ask asks from an address, with headers as pairs.
func (a *asker) ask(ctx context.Context, method, path, body, from string, header ...string) (int, string) {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost", from
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	a.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const feedbackBody = `{"namespace":"default","device":"light-1","property":"brightness","from":"2026-01-02T12:00:00Z","to":"2026-01-02T12:01:00Z","verdict":"fault"}`

// What each may see and change. The operator's token may all; the viewer's looks, at its namespaces, streams included; a
// header of a proxy is believed from its address only.
func TestWhoMayWhat(t *testing.T) {
	proxy := ProxyConfig{Header: "X-Forwarded-Email", From: []string{"10.0.0.0/8"}, Operators: []string{"*@plant.example"}, Namespaces: []string{"default"}}
	const here, there = "127.0.0.1:5", "10.1.2.3:5"
	tests := []struct {
		name            string
		config          Config
		tokens          bool
		from            string
		header          []string
		in, all, change bool
	}{
		{"operator", Config{Viewer: ViewerConfig{Namespaces: []string{"def*"}}}, true, here, []string{"Authorization", "Bearer " + token}, true, true, true},
		{"viewer", Config{}, true, here, []string{"Authorization", "Bearer " + viewToken}, true, true, false},
		{"viewer of a namespace", Config{Viewer: ViewerConfig{Namespaces: []string{"def*"}}}, true, here, []string{"Authorization", "Bearer " + viewToken}, true, false, false},
		{"nobody", Config{}, true, here, nil, false, false, false},
		{"anybody on this machine, without tokens", Config{}, false, here, nil, true, true, false},
		{"a header, where none is believed", Config{}, true, there, []string{"X-Forwarded-Email", "ada@plant.example"}, false, false, false},
		{"operator by proxy", Config{Proxy: proxy}, false, there, []string{"X-Forwarded-Email", "ada@plant.example"}, true, true, true},
		{"viewer by proxy", Config{Proxy: proxy}, false, there, []string{"X-Forwarded-Email", "bob@else.example"}, true, false, false},
		{"the header from elsewhere", Config{Proxy: proxy}, false, "192.168.1.1:5", []string{"X-Forwarded-Email", "ada@plant.example"}, false, false, false},
		{"the header from this machine", Config{Proxy: proxy}, false, here, []string{"X-Forwarded-Email", "ada@plant.example"}, false, false, false},
		{"the header twice", Config{Proxy: proxy}, false, there, []string{"X-Forwarded-Email", "ada@plant.example", "X-Forwarded-Email", "bob@else.example"}, false, false, false},
		{"past the proxy", Config{Proxy: proxy}, false, there, nil, false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAsker(t, tt.config, tt.tokens)
			for _, path := range []string{"/v1/verdicts", "/v1/incidents", "/v1/devices", "/v1/mutes", "/v1/audit", "/v1/status", "/v1/unusual"} {
				code, body := a.ask(t.Context(), http.MethodGet, path, "", tt.from, tt.header...)
				if (code == http.StatusOK) != tt.in {
					t.Errorf("%s: %d %s", path, code, body)
				}
				if strings.Contains(body, "secret") && !tt.all {
					t.Errorf("%s shows what is of a namespace that is not seen: %s", path, body)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // a stream then has what was kept only
			_, body := a.ask(ctx, http.MethodGet, "/v1/events", "", tt.from, append(tt.header, "Last-Event-ID", "1")...)
			if tt.in != strings.Contains(body, "light-1") || tt.all != strings.Contains(body, "secret") {
				t.Errorf("events: %s", body)
			}
			code, _ := a.ask(ctx, http.MethodGet, "/v1/live?namespace=secret&device=light-9&property=brightness", "", tt.from, tt.header...)
			if (code == http.StatusOK) != tt.all {
				t.Errorf("live: %d", code)
			}
			if code, _ = a.ask(t.Context(), http.MethodGet, "/v1/locks", "", tt.from, tt.header...); (code == http.StatusOK) != tt.all {
				t.Errorf("what others add: %d", code)
			}
			if code, _ = a.ask(t.Context(), http.MethodDelete, "/v1/locks", "", tt.from, tt.header...); (code == http.StatusOK) != (tt.change || tt.all && !tt.tokens) {
				t.Errorf("to change what others add: %d", code)
			}
			for path, body := range map[string]string{"/v1/feedback": feedbackBody, "/v1/mutes": `{"namespace":"default","device":"light-1","for":"1h"}`} {
				code, answer := a.ask(t.Context(), http.MethodPost, path, body, tt.from, tt.header...)
				if refused := code == http.StatusForbidden || code == http.StatusUnauthorized; refused == tt.change {
					t.Errorf("%s: %d %s", path, code, answer)
				}
			}
		})
	}
}

func TestTrustRefuses(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"a header without a proxy": {Proxy: ProxyConfig{Header: "X-User"}},
		"a proxy without a header": {Proxy: ProxyConfig{From: []string{"10.0.0.1"}}},
		"no network":               {Proxy: ProxyConfig{Header: "X-User", From: []string{"plant"}}},
		"no glob":                  {Viewer: ViewerConfig{Namespaces: []string{"[a"}}},
		"a short token":            {Viewer: ViewerConfig{TokenFile: short}},
		"no token":                 {Viewer: ViewerConfig{TokenFile: short + "er"}},
	} {
		c.Address = "127.0.0.1:0"
		if _, err := New(c, new(Routes)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if _, err := New(Config{Address: "0.0.0.0:0", Proxy: ProxyConfig{Header: "X-User", From: []string{"10.0.0.1"}}}, new(Routes)); err != nil {
		t.Errorf("a proxy is as good as a token: %v", err)
	}
}

// A page of another site makes the server do nothing, however it asks: some answers cost much.
func TestOtherSitesGetNothing(t *testing.T) {
	a := newAsker(t, Config{}, false)
	for site, want := range map[string]int{"cross-site": http.StatusForbidden, "same-origin": http.StatusOK, "none": http.StatusOK, "": http.StatusOK} {
		if code, body := a.ask(t.Context(), http.MethodGet, "/v1/verdicts", "", "127.0.0.1:5", "Sec-Fetch-Site", site); code != want {
			t.Errorf("%q: %d %s", site, code, body)
		}
	}
}

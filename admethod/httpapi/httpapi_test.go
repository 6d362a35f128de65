// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef0"

func tokenFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func verdict(device string, severity driver.Severity) driver.Result {
	return driver.Result{
		Key: driver.Key{Namespace: "default", Device: device, Property: "brightness"}, At: time.Unix(1_700_000_000, 0),
		Severity: severity, Score: math.NaN(), Value: 42, Lower: math.Inf(-1), Detector: "auto",
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]Config{
		"no token":    {Address: "0.0.0.0:0"},
		"every host":  {Address: ":0"},
		"a name":      {Address: "example.org:0"},
		"no port":     {Address: "127.0.0.1"},
		"bad port":    {Address: "127.0.0.1:99999"},
		"half TLS":    {Address: "127.0.0.1:0", TLS: tlsfiles.Files{Cert: "x"}},
		"CA alone":    {Address: "127.0.0.1:0", TLS: tlsfiles.Files{CA: os.DevNull}},
		"a client's":  {Address: "127.0.0.1:0", TLS: tlsfiles.Files{ServerName: "x"}},
		"no file":     {Address: "127.0.0.1:0", TokenFile: "/nonexistent"},
		"short token": {Address: "127.0.0.1:0", TokenFile: os.DevNull},
	} {
		if _, err := New(c, new(Routes)); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Log(err)
		}
	}
}

func TestChecks(t *testing.T) {
	for _, test := range []struct {
		name, address, token, host, auth, origin, method string
		want                                             int
	}{
		{name: "loopback", host: "127.0.0.1:6806", want: 200},
		{name: "localhost", host: "localhost", want: 200},
		{name: "v6", host: "[::1]:6806", want: 200},
		{name: "rebinding", host: "evil.example:6806", want: 421},
		{name: "prefix", host: "127.0.0.1.evil.example", want: 421},
		{name: "other origin", host: "localhost", origin: "http://evil.example", method: http.MethodDelete, want: 403},
		{name: "token missing", host: "localhost", token: "y", want: 401},
		{name: "token wrong", host: "localhost", token: "y", auth: "Bearer wrong", want: 401},
		{name: "token bare", host: "localhost", token: "y", auth: token, want: 401},
		{name: "token", host: "localhost", token: "y", auth: "Bearer " + token, want: 200},
		{name: "wide with token", address: "0.0.0.0:0", host: "edge.example", token: "y", auth: "Bearer " + token, want: 200},
		{name: "not a bearer", host: "localhost", token: "y", auth: "Basic " + token, want: 401},
		{name: "wide without", address: "0.0.0.0:0", host: "edge.example", token: "y", want: 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{Address: "127.0.0.1:0"}
			if test.address != "" {
				c.Address = test.address
			}
			if test.token != "" {
				c.TokenFile = tokenFile(t)
			}
			routes := new(Routes)
			remove, err := routes.Handle("DELETE /v1/verdicts", http.NotFoundHandler())
			if err != nil {
				t.Fatal(err)
			}
			defer remove()
			s, err := New(c, routes)
			if err != nil {
				t.Fatal(err)
			}
			method := http.MethodGet
			if test.method != "" {
				method = test.method
			}
			r := httptest.NewRequest(method, "/v1/verdicts", nil)
			r.Host = test.host
			if test.auth != "" {
				r.Header.Set("Authorization", test.auth)
			}
			if test.origin != "" {
				r.Header.Set("Origin", test.origin)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if w.Code != test.want || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("got %d %s, want %d", w.Code, w.Body, test.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	routes := new(Routes)
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	ask := func() string {
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/x", nil))
		return w.Body.String()
	}
	for _, pattern := range []string{"/v1/x", "GET /x", "GET /v1/{", ""} {
		if _, err := routes.Handle(pattern, say("")); err == nil {
			t.Errorf("%q: accepted", pattern)
		}
	}
	first, err := routes.Handle("GET /v1/x", say("first"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := routes.Handle("GET /v1/x", say("second"))
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "second" {
		t.Error(got)
	}
	second()
	if got := ask(); got != "first" {
		t.Error(got)
	}
	first()
	if got := ask(); !strings.HasPrefix(got, "404") {
		t.Error(got)
	}
}

func TestServer(t *testing.T) {
	s, err := New(Config{Address: "127.0.0.1:0"}, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	get := func(path string, last string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	events := get("/v1/events", "")
	defer events.Body.Close()
	if err := s.Write(ctx, []driver.Result{verdict("light-1", driver.Critical), verdict("light-2", driver.Normal)}); err != nil {
		t.Fatal(err)
	}
	read := func(resp *http.Response, n int) (ids, data []string) {
		for lines := bufio.NewScanner(resp.Body); len(data) < n && lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				ids = append(ids, id)
			} else if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				data = append(data, d)
			}
		}
		return ids, data
	}
	ids, data := read(events, 2)
	if len(data) != 2 || !strings.Contains(data[0], `"light-1"`) || !strings.Contains(data[1], `"light-2"`) {
		t.Fatalf("got %q", data)
	}
	again := get("/v1/events", ids[0])
	defer again.Body.Close()
	if _, data := read(again, 1); !strings.Contains(data[0], `"light-2"`) {
		t.Errorf("got %q", data)
	}
	for query, want := range map[string]int{"": 2, "?severity=warning": 1, "?device=light-2": 1, "?device=light-*&namespace=other": 0} {
		resp := get("/v1/verdicts"+query, "")
		var body strings.Builder
		for sc := bufio.NewScanner(resp.Body); sc.Scan(); {
			body.Write(sc.Bytes())
		}
		_ = resp.Body.Close()
		if n := strings.Count(body.String(), `"device"`); n != want {
			t.Errorf("%s: %d verdicts, want %d: %s", query, n, want, body.String())
		}
	}
	s.Forget(verdict("light-1", 0).Key)
	if len(s.latest) != 1 {
		t.Error("not forgotten")
	}
	if err := s.Shutdown(ctx); err != nil { // with listeners
		t.Fatal(err)
	}
}

func TestSlowListenerIsCutOff(t *testing.T) {
	var e events
	e.init()
	_, slow := e.listen(0, false)
	for range listenerQueue + 1 {
		e.publish("", nil, false)
	}
	n := 0
	for range slow {
		n++
	}
	if n != listenerQueue || len(e.listeners) != 0 {
		t.Errorf("%d events, %d listeners", n, len(e.listeners))
	}
	for range 10 * keptEvents {
		e.publish("", nil, false)
	}
	if len(e.kept) > keptEvents {
		t.Errorf("%d events kept", len(e.kept))
	}
	for range mostListeners {
		e.listen(0, false)
	}
	if _, l := e.listen(0, false); l != nil {
		t.Error("too many listeners")
	}
}

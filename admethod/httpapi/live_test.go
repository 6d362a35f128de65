// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Who looks at one property sees each verdict on it, not only what is news, and none on another; nobody who looks costs
// next to nothing.
func TestLive(t *testing.T) {
	s, err := New(Config{Address: "127.0.0.1:0"}, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	see := s.Hooks().Verdict
	quiet := verdict("light-1", driver.Normal)
	if n := testing.AllocsPerRun(1000, func() { see(&quiet) }); n != 0 {
		t.Errorf("%v allocations a reading that nobody looks at", n)
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v1/live?namespace=default&device=light-1&property=brightness", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	next := func() (v Verdict) {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &v); err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		t.Fatal(lines.Err())
		return v
	}
	for _, severity := range []driver.Severity{driver.Normal, driver.Warning, driver.Critical} {
		other, one := verdict("light-2", severity), verdict("light-1", severity)
		see(&other)
		see(&one)
		for range 100 { // faster than anybody looks
			see(&one)
		}
		if got := next(); got.Device != "light-1" || got.Severity != severity {
			t.Errorf("got %s %v, want light-1 %v", got.Device, got.Severity, severity)
		}
	}
	if bad := ask(s, "/v1/live?namespace=default"); bad.Code != http.StatusBadRequest {
		t.Errorf("no device: %d", bad.Code)
	}
	close(s.stop)
	for lines.Scan() { // until the server has let go
	}
	answer.Body.Close()
	server.Close()
	if n := s.live.watched.Load(); n != 0 || len(s.live.keys) != 0 {
		t.Errorf("%d listeners and %d properties are left", n, len(s.live.keys))
	}
}

func TestLiveHasBounds(t *testing.T) {
	s, err := New(Config{Address: "127.0.0.1:0"}, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	var leave []func()
	for range mostListeners {
		c, l := s.live.listen(driver.Key{Device: "light-1"})
		if c == nil {
			t.Fatal("refused too early")
		}
		leave = append(leave, l)
	}
	if w := ask(s, "/v1/live?device=light-2"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d", w.Code)
	}
	for _, l := range leave {
		l()
	}
	if n := s.live.watched.Load(); n != 0 || len(s.live.keys) != 0 {
		t.Errorf("%d listeners and %d properties are left", n, len(s.live.keys))
	}
}

// The page is for everybody who reaches the server, as it holds nothing; what it asks for wants the token.
func TestPage(t *testing.T) {
	s, err := New(Config{Address: "127.0.0.1:0", TokenFile: tokenFile(t)}, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/": 200, "/page.js": 200, "/v1/verdicts": 401, "/v1/live?device=a": 401, "/v1": 404} {
		if got := ask(s, path); got.Code != want {
			t.Errorf("%s: %d, want %d", path, got.Code, want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = "evil.example"
	w := httptest.NewRecorder()
	if s.Handler().ServeHTTP(w, r); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("by another name: %d", w.Code)
	}
}

func ask(s *Server, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a receiver over HTTP that fails as it is told to.
type server struct {
	*httptest.Server
	fail atomic.Pointer[http.HandlerFunc] // nil: all is well

	mu       sync.Mutex
	alerts   map[string]alert // by property, the last
	requests int
	headers  []http.Header
	bodies   []string
}

func newServer(t *testing.T, start func(http.Handler) *httptest.Server) *server {
	t.Helper()
	s := &server{alerts: make(map[string]alert)}
	s.Server = start(s)
	t.Cleanup(func() {
		s.CloseClientConnections() // of those that hang
		s.Close()
	})
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.requests++
	s.headers, s.bodies = append(s.headers, r.Header), append(s.bodies, string(body))
	s.mu.Unlock()
	if fail := s.fail.Load(); fail != nil {
		(*fail)(w, r)
		return
	}
	var alerts []alert
	if err := json.Unmarshal(body, &alerts); err != nil || r.URL.Path != "/api/v2/alerts" {
		http.Error(w, "want alerts", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range alerts {
		s.alerts[a.Labels["property"]] = a
	}
}

func (s *server) trouble(f http.HandlerFunc) {
	if f == nil {
		s.fail.Store(nil)
		return
	}
	s.fail.Store(&f)
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// firing reports whether the last alert on a property has not ended.
func (s *server) firing(property string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.alerts[property]
	return ok && a.EndsAt.After(time.Now())
}

func newSink(t *testing.T, url string, options map[string]any) *Sink {
	t.Helper()
	all := map[string]any{"url": url}
	if strings.HasPrefix(url, "http:") {
		all["insecure"] = true
	}
	maps.Copy(all, options)
	return sinktest.New(t, New, all)
}

func TestNewRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"nothing":           {nil, "url: must be set"},
		"plaintext":         {map[string]any{"url": "http://127.0.0.1:9093"}, "insecure: true"},
		"tls in plaintext":  {map[string]any{"url": "http://a", "insecure": true, "tls.ca": "x"}, "tls.*"},
		"token in it":       {map[string]any{"url": "http://a", "insecure": true, "tokenFile": "x"}, "plaintext"},
		"no URL":            {map[string]any{"url": "://"}, "url"},
		"other scheme":      {map[string]any{"url": "ftp://a"}, "url"},
		"password":          {map[string]any{"url": "https://a:b@c"}, "url"},
		"other format":      {map[string]any{"url": "https://a", "format": "xml"}, "format"},
		"no secret":         {map[string]any{"url": "https://a", "secretFile": empty}, "secretFile"},
		"no token":          {map[string]any{"url": "https://a", "tokenFile": empty + "x"}, "tokenFile"},
		"no authority":      {map[string]any{"url": "https://a", "tls.ca": empty}, "tls.ca"},
		"label of our own":  {map[string]any{"url": "https://a", "labels": "device=x"}, "labels"},
		"label without =":   {map[string]any{"url": "https://a", "labels": "site"}, "labels"},
		"bad name of label": {map[string]any{"url": "https://a", "labels": "1=x"}, "labels"},
		"no name of alerts": {map[string]any{"url": "https://a", "alertName": ""}, "alertName"},
		"resend too often":  {map[string]any{"url": "https://a", "resend": "1ms"}, "resend"},
		"unknown key":       {map[string]any{"url": "https://a", "uri": 1}, `did you mean "url"`},
	} {
		if _, err := New(admethod.SinkSettings{Options: c.options}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// An anomaly in readings becomes an alert, which is signed, and ends with it.
func TestThroughAHandler(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("correct-horse\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, httptest.NewServer)
	_, binding, _ := sinktest.Bind(t, Name, newSink(t, srv.URL+"/", map[string]any{"secretFile": secret, "labels": "site=hall-7"}))
	at := time.Unix(1e9, 0)
	observe := func(v float64) {
		for range 10 {
			at = at.Add(time.Second)
			binding.Observe(at, v)
		}
	}
	observe(50)
	observe(1e6)
	waittest.Eventually(t, "the alert fires", func() bool { return srv.firing(sinktest.Key.Property) })
	observe(50)
	waittest.Eventually(t, "the alert ends", func() bool { return !srv.firing(sinktest.Key.Property) })
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if got := srv.alerts[sinktest.Key.Property].Labels["site"]; got != "hall-7" {
		t.Errorf("label site is %q", got)
	}
	for i, h := range srv.headers {
		if err := Verify([]byte("correct-horse"), h.Get(SignatureHeader), []byte(srv.bodies[i]), time.Now(), time.Hour); err != nil {
			t.Error(err)
		}
	}
}

func TestSecretIsReadAgain(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	srv := newServer(t, httptest.NewServer)
	s := newSink(t, srv.URL, map[string]any{"secretFile": secret})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, []byte("second-one"), 0o600); err != nil {
		t.Fatal(err)
	}
	property := 0
	waittest.Eventually(t, "the new secret is used", func() bool {
		property++
		sinktest.Write(t, s, result(strings.Repeat("a", property), time.Now(), 0.97, driver.KindSpike))
		srv.mu.Lock()
		defer srv.mu.Unlock()
		n := len(srv.bodies)
		return n > 0 && Verify([]byte("second-one"), srv.headers[n-1].Get(SignatureHeader), []byte(srv.bodies[n-1]), time.Now(), time.Hour) == nil
	})
}

func TestTLS(t *testing.T) {
	srv := newServer(t, httptest.NewTLSServer)
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	for path, text := range map[string][]byte{
		ca:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}),
		token: []byte("sesame"),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusting := newSink(t, srv.URL, map[string]any{"tls.ca": ca, "tokenFile": token})
	other := newSink(t, srv.URL, nil) // trusts the system's authorities, of which this is none
	for _, s := range []*Sink{trusting, other} {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sinktest.Write(t, other, result("b", time.Now(), 0.97, driver.KindSpike))
	sinktest.Write(t, trusting, result("a", time.Now(), 0.97, driver.KindSpike))
	waittest.Eventually(t, "the alert arrives", func() bool { return srv.firing("a") })
	waittest.Eventually(t, "the other sink fails", func() bool { return other.Stats().Failed > 0 })
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if got := srv.headers[0].Get("Authorization"); got != "Bearer sesame" || len(srv.headers) != 1 {
		t.Errorf("%d requests, with token %q", len(srv.headers), got)
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func slow(w http.ResponseWriter, r *http.Request) {
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(code)
	}
}

func cut(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// While the receiver is in trouble, verdicts change many times; when it is back, it gets the final state of each.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fail    http.HandlerFunc
		refused bool // for good: what is sent meanwhile is counted, and not sent again
	}{
		"hangs":              {fail: hang},
		"503":                {fail: status(http.StatusServiceUnavailable)},
		"429 to come later":  {fail: status(http.StatusTooManyRequests, "Retry-After", "1")},
		"cuts":               {fail: cut},
		"400":                {fail: status(http.StatusBadRequest), refused: true},
		"points elsewhere":   {fail: status(http.StatusTemporaryRedirect, "Location", "http://127.0.0.1:1/"), refused: true},
		"403":                {fail: status(http.StatusForbidden), refused: true},
		"408":                {fail: status(http.StatusRequestTimeout)},
		"500 with long page": {fail: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, strings.Repeat("x", 1<<20), 500) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, httptest.NewServer)
			var hooks atomic.Int32
			s, err := New(admethod.SinkSettings{
				Options: map[string]any{"url": srv.URL, "insecure": true, "timeout": "200ms", "resend": "1s"},
				Hooks:   &admethod.Hooks{SinkFailed: func(string, error, bool) { hooks.Add(1) }},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.trouble(c.fail)
			for range 100 {
				for _, property := range []string{"a", "b"} {
					for _, score := range []float64{0.97, 0.999, 0.1} {
						sinktest.Write(t, s, result(property, time.Now(), score, driver.KindSpike))
					}
				}
			}
			sinktest.Write(t, s, result("a", time.Now(), 0.97, driver.KindSpike))
			waittest.Eventually(t, "a failure is told", func() bool { return hooks.Load() > 0 && srv.count() > 0 })
			if c.refused {
				waittest.Eventually(t, "refusals are counted", func() bool { return s.Stats().Refused > 0 && s.Stats().Waiting == 0 })
			}
			srv.trouble(nil)
			waittest.Eventually(t, "the final state is there", func() bool { return srv.firing("a") && !srv.firing("b") && s.Stats().Waiting == 0 })
			if err := s.Shutdown(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
}

// A receiver that is not there at the start is found when it comes.
func TestDownAtStart(t *testing.T) {
	address := proctest.FreeAddress(t)
	s := newSink(t, "http://"+address, nil)
	_, binding, memory := sinktest.Bind(t, Name, s)
	for i := range 10 {
		binding.Observe(time.Unix(int64(i), 0), 1e6)
	}
	waittest.Eventually(t, "a try failed", func() bool { return s.Stats().Failed > 0 })
	if len(memory.Severities(sinktest.Key)) == 0 {
		t.Error("the other sink got nothing")
	}
	srv := newServer(t, func(h http.Handler) *httptest.Server {
		ts := httptest.NewUnstartedServer(h)
		_ = ts.Listener.Close()
		var err error
		if ts.Listener, err = net.Listen("tcp", address); err != nil {
			t.Fatal(err)
		}
		ts.Start()
		return ts
	})
	waittest.Eventually(t, "the alert arrives", func() bool { return srv.firing(sinktest.Key.Property) })
}

func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	for name, c := range map[string]struct {
		format string
		fail   http.HandlerFunc
	}{
		"hanging":            {FormatAlertmanager, hang},
		"slow":               {FormatAlertmanager, slow},
		"refusing":           {FormatAlertmanager, status(http.StatusBadRequest)},
		"in trouble":         {FormatAlertmanager, status(http.StatusBadGateway)},
		"cloudevents, hangs": {FormatCloudEvents, hang},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newServer(t, httptest.NewServer), newServer(t, httptest.NewServer)
			bad.trouble(c.fail)
			good.trouble(status(http.StatusOK))
			options := map[string]any{"format": c.format}
			sinktest.Undisturbed(t, newSink(t, good.URL, options), newSink(t, bad.URL, options), func() bool { return bad.count() > 0 })
		})
	}
}

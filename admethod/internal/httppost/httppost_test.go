// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httppost

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(tb testing.TB, o Options) *Client {
	tb.Helper()
	c, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// serve starts a plaintext server; a client for it is to be Insecure.
func serve(tb testing.TB, handle http.HandlerFunc) *httptest.Server {
	tb.Helper()
	s := httptest.NewServer(handle)
	tb.Cleanup(s.Close)
	return s
}

func TestNewRefuses(t *testing.T) {
	for url, want := range map[string]string{
		"":                        "want https:// and a host",
		"ftp://detector":          "want https:// and a host",
		"https://":                "want https:// and a host",
		"https://me:secret@there": "want a token file",
		"http://detector/":        "insecure: true",
		"https://[::1":            "url:",
	} {
		_, err := New(Options{URL: url})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", url, err)
		}
	}
}

func TestRetryClasses(t *testing.T) {
	for _, tt := range []struct {
		status     int
		retryAfter string
		wait       time.Duration
		retry      bool
	}{
		{status: 302}, {status: 400}, {status: 401}, {status: 403}, {status: 404}, {status: 413},
		{status: 400, retryAfter: "3"},
		{status: 408, retry: true}, {status: 425, retry: true}, {status: 429, retry: true},
		{status: 500, retry: true}, {status: 502, retry: true}, {status: 503, retry: true},
		{status: 429, retryAfter: "7", wait: 7 * time.Second, retry: true},
		{status: 503, retryAfter: "7", wait: 7 * time.Second, retry: true},
		{status: 503, retryAfter: "soon", retry: true},
		{status: 503, retryAfter: "99999999999999999999999", wait: MaxWait, retry: true},
	} {
		t.Run(fmt.Sprint(tt.status, tt.retryAfter), func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, "because")
			})
			_, err := newClient(t, Options{URL: s.URL, Insecure: true}).Post(t.Context(), "application/json", []byte("[]"))
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(tt.status)) || !strings.Contains(err.Error(), "because") {
				t.Errorf("got %v, want an error with status and reason", err)
			}
			if wait, retry := admethod.RetryAfter(err); wait != tt.wait || retry != tt.retry {
				t.Errorf("got wait %v, retry %v; want %v, %v", wait, retry, tt.wait, tt.retry)
			}
		})
	}
}

func TestPost(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	if err := os.WriteFile(path, []byte("word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := tlsfiles.NewToken(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-Length"), got)
	}))
	socket := filepath.Join(dir, "s")
	_ = s.Listener.Close()
	if s.Listener, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Close)
	c := newClient(t, Options{URL: "http://localhost/", Socket: socket, Insecure: true, Token: token, Header: func(h http.Header, body []byte) {
		h.Set("X-Length", strconv.Itoa(len(body)))
	}})
	got, err := c.Post(t.Context(), "application/json", []byte(`[1]`))
	if err != nil {
		t.Fatal(err)
	}
	want := Reply{Status: http.StatusAccepted, ContentType: "text/plain", Body: []byte("Bearer word application/json 3 [1]")}
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Every way in which a server can fail without a status is worth another try; an answer that is too large is not.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		retry  bool
	}{
		{"killed", func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "") }, true},
		{"garbage", func(w http.ResponseWriter, _ *http.Request) { hijack(t, w, "\x00\xff no HTTP\r\n\r\n") }, true},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,")
		}, true},
		{"hung", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, true},
		{"large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 101)) }, false},
		{"bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, 1<<20))
			_ = z.Close()
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				tt.handle(w, r)
			})
			ctx, timeout := t.Context(), time.Minute
			if tt.name == "hung" {
				timeout = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			_, err := newClient(t, Options{URL: s.URL, Insecure: true, MaxReply: 100}).Post(ctx, "application/json", []byte("[]"))
			if _, retry := admethod.RetryAfter(err); err == nil || retry != tt.retry {
				t.Errorf("got %v, want an error with retry %v", err, tt.retry)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		s := serve(t, nil)
		s.Close()
		_, err := newClient(t, Options{URL: s.URL, Insecure: true}).Post(t.Context(), "application/json", nil)
		if _, retry := admethod.RetryAfter(err); err == nil || !retry {
			t.Errorf("got %v, want an error that is worth another try", err)
		}
	})
}

// hijack writes text to the connection and closes it.
func hijack(tb testing.TB, w http.ResponseWriter, text string) {
	tb.Helper()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		tb.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

// Over TLS one HTTP/2 connection is kept; a server of an unknown authority is refused before anything is sent.
func TestTLS(t *testing.T) {
	var conns, requests atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the handshake that fails
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	loader, err := tlsfiles.New(tlsfiles.Files{CA: ca}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Options{URL: s.URL, TLS: loader})
	for range 3 {
		got, err := c.Post(t.Context(), "application/json", []byte("[]"))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != "HTTP/2.0" {
			t.Errorf("got %q, want HTTP/2.0", got.Body)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("got %d connections for 3 requests, want 1", n)
	}

	_, err = newClient(t, Options{URL: s.URL}).Post(t.Context(), "application/json", []byte("[]"))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || requests.Load() != 3 {
		t.Errorf("got %v and %d requests, want an unknown authority and 3", err, requests.Load())
	}
	if _, retry := admethod.RetryAfter(err); !retry {
		t.Error("want another try: the certificate may be replaced")
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"0": 0, " 5 ": 5 * time.Second, "301": MaxWait, "Wed, 01 Jul 2026 12:00:09 GMT": 9 * time.Second,
		"Wed, 01 Jul 2026 11:00:00 GMT": 0, "Thu, 01 Jul 2027 12:00:00 GMT": MaxWait,
		"": -1, "-5": -1, "1.5": -1, "soon": -1,
	} {
		got, ok := parseRetryAfter(header, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %v, %v; want %v", header, got, ok, want)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"5", "Wed, 01 Jul 2026 12:00:09 GMT", "99999999999999999999", "-1"} {
		f.Add(s, int64(1782907200))
	}
	f.Fuzz(func(t *testing.T, header string, now int64) {
		if wait, ok := parseRetryAfter(header, time.Unix(now, 0)); wait < 0 || wait > MaxWait || !ok && wait != 0 {
			t.Errorf("%q: got %v, %v", header, wait, ok)
		}
	})
}

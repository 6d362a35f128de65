// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"errors"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// spawn starts a detector in a process of its own.
func spawn(tb testing.TB, path string) *proctest.Process {
	tb.Helper()
	_ = os.Remove(path)
	return proctest.Self(tb, serveAt+"="+path)
}

func TestAbsentKilledAndHung(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, "unix:"+path, nil)
	if got := r.await(t, 1, driver.Unknown); got.Kind != driver.KindFailed || got.Message == "" || got.Key != key {
		t.Fatalf("absent detector: %+v", got)
	}
	detector := spawn(t, path)
	r.await(t, 1, driver.Normal)
	r.await(t, 200, driver.Critical)
	detector.Kill()
	r.await(t, 1, driver.Unknown)
	detector = spawn(t, path)
	r.await(t, 1, driver.Normal)
	detector.Signal(t, syscall.SIGSTOP)
	r.await(t, 1, driver.Unknown)
	select { // what was sent is given up
	case <-r.dropped:
	case <-time.After(time.Minute):
		t.Error("nothing is counted as dropped")
	}
	detector.Signal(t, syscall.SIGCONT)
	r.await(t, 1, driver.Normal)
}

// Over a network that is slow, cut, truncating or gone, verdicts come, or come again.
func TestBadNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	d := new(detector)
	proxy := faultproxy.New(t, strings.TrimPrefix(d.serve(t), "http://"))
	r := newRig(t, proxy.Addr(), map[string]any{"timeout": "2s"})
	r.await(t, 1, driver.Normal)
	proxy.Set(faultproxy.Fault{Delay: 50 * time.Millisecond, Rate: 1 << 20})
	for range 3 {
		r.await(t, 200, driver.Critical)
		r.await(t, 1, driver.Normal)
	}
	for name, fault := range map[string]faultproxy.Fault{
		"refused": {Refuse: true}, "stalled": {Stall: true}, "truncated": {Truncate: 100},
	} {
		proxy.Set(fault)
		proxy.Cut()
		if got := r.await(t, 1, driver.Unknown); got.Kind != driver.KindFailed {
			t.Errorf("%s: %+v", name, got)
		}
		proxy.Set(faultproxy.Fault{})
		proxy.Cut()
		r.await(t, 1, driver.Normal)
	}
}

// What is between swallows all that is sent on the connections that were open, and acknowledges it. There are verdicts
// again over a new connection, within twice the timeout, by HTTP/1.1 and by HTTP/2.
func TestDeadPeerThatAcknowledges(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for timeouts")
	}
	const timeout = 3 * time.Second
	dir := t.TempDir()
	ca := certtest.New()
	server, client := ca.Issue(t, dir, "127.0.0.1"), ca.Issue(t, dir, "mapper")
	for name, test := range map[string]struct {
		serve   func(d *detector) string
		options map[string]any
	}{
		"plaintext": {func(d *detector) string { return strings.TrimPrefix(d.serve(t), "http://") }, map[string]any{}},
		"TLS": {func(d *detector) string { return serveMutual(t, d, server) }, map[string]any{
			"insecure": false, "tls.ca": client.CA, "tls.cert": client.Cert, "tls.key": client.Key,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := faultproxy.New(t, test.serve(new(detector)))
			test.options["timeout"] = timeout.String()
			r := newRig(t, proxy.Addr(), test.options)
			r.await(t, 1, driver.Normal)
			died := time.Now()
			proxy.Swallow()
			r.await(t, 200, driver.Critical)
			if took := time.Since(died); took > 2*timeout {
				t.Errorf("the first verdict after %v, with a timeout of %v; %d connections", took, timeout, proxy.Accepted())
			}
		})
	}
}

// With delivery atLeastOnce each reading is answered exactly once over a network that is cut again and again, and those
// that were sent before say so.
func TestAtLeastOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("writes to disk a lot")
	}
	d := new(detector)
	proxy := faultproxy.New(t, strings.TrimPrefix(d.serve(t), "http://"))
	var requests atomic.Int64
	d.before = func(http.ResponseWriter, *http.Request, *pb.DetectRequest) bool {
		if requests.Add(1)%5 == 0 { // judged, and the answer is lost
			proxy.Cut()
		}
		return false
	}
	r := newRigIn(t, t.TempDir(), proxy.Addr(), map[string]any{"delivery": "atLeastOnce", "staleAfter": "1m", "timeout": "20s", "backoff": "50ms"})
	const n = 5000
	for i := range n {
		r.stream.TrySubmit(driver.Row{{Key: key, At: time.Unix(int64(i), 0), Value: float64(i % 2 * 200)}})
		if i%500 == 499 {
			r.flush(t)
		}
	}
	if len(r.results) != n || len(r.dropped) != 0 {
		t.Fatalf("%d verdicts and %d drops, want %d and 0", len(r.results), len(r.dropped), n)
	}
	seen := make(map[int64]bool)
	for range n {
		got := <-r.results
		if seen[got.At.Unix()] || got.Severity.Anomalous() != (got.Value > 100) {
			t.Fatalf("%+v", got)
		}
		seen[got.At.Unix()] = true
	}
	first := make(map[uint64]uint32)
	again := 0
	for _, b := range d.received() {
		for _, m := range b.Readings {
			if before, ok := first[m.Sequence]; ok {
				again++
				if m.Attempt <= before {
					t.Fatalf("sequence %d was sent with the attempts %d and %d", m.Sequence, before, m.Attempt)
				}
			}
			first[m.Sequence] = m.Attempt
		}
	}
	if again == 0 || len(first) != n {
		t.Errorf("%d readings arrived, %d of them again", len(first), again)
	}
}

// A detector in the mapper judges while the other one is away.
func TestFallback(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, "unix:"+path, map[string]any{"fallback": "half"})
	for local := false; !local; {
		local = r.await(t, 1, driver.Normal).Detector == "half"
	}
	spawn(t, path)
	for local := true; local; {
		local = r.await(t, 1, driver.Normal).Detector == "half"
	}
}

// serveTLS serves with a certificate, to clients that show one where files name an authority. It returns host and port.
func serveTLS(tb testing.TB, h http.Handler, files tlsfiles.Files) string {
	tb.Helper()
	files.CA = ""
	return serveMutual(tb, h, files)
}

func serveMutual(tb testing.TB, h http.Handler, files tlsfiles.Files) string {
	tb.Helper()
	loader, err := tlsfiles.New(files, nil)
	if err != nil {
		tb.Fatal(err)
	}
	config, err := loader.Server("h2", "http/1.1")
	if err != nil {
		tb.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &http.Server{Handler: h, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		_ = s.Close()
		done.Wait()
	})
	return l.Addr().String()
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	ca := certtest.New()
	server, other, client := ca.Issue(t, dir, "127.0.0.1"), ca.Issue(t, dir, "other"), ca.Issue(t, dir, "mapper")
	expired := ca.Expired(t, t.TempDir(), "127.0.0.1")
	foreign := certtest.New().Issue(t, t.TempDir(), "mapper")
	good := map[string]any{"tls.ca": client.CA, "tls.cert": client.Cert, "tls.key": client.Key}
	for name, test := range map[string]struct {
		server  tlsfiles.Files
		options map[string]any
		want    string // "" is a verdict
	}{
		"good":              {server, good, ""},
		"another name":      {other, good, "127.0.0.1"},
		"expired":           {expired, good, "expired"},
		"unknown authority": {server, map[string]any{"tls.ca": foreign.CA}, "unknown authority"},
		// The refusal of a certificate comes after the handshake, and is told in words of several layers.
		"none":                      {server, map[string]any{"tls.ca": client.CA}, "the detector at"},
		"a stranger's":              {server, map[string]any{"tls.ca": client.CA, "tls.cert": foreign.Cert, "tls.key": foreign.Key}, "the detector at"},
		"plaintext to TLS":          {server, map[string]any{"insecure": true}, "HTTP request to an HTTPS server"},
		"the wanted name":           {other, map[string]any{"tls.ca": client.CA, "tls.cert": client.Cert, "tls.key": client.Key, "tls.serverName": "other"}, ""},
		"an unwanted name":          {server, map[string]any{"tls.ca": client.CA, "tls.cert": client.Cert, "tls.key": client.Key, "tls.serverName": "other"}, "other"},
		"authorities of the system": {server, map[string]any{"tls.cert": client.Cert, "tls.key": client.Key}, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := new(detector)
			address := serveMutual(t, d, test.server)
			options := map[string]any{"insecure": false}
			maps.Copy(options, test.options)
			r := newRig(t, address, options)
			if test.want == "" {
				r.await(t, 1, driver.Normal)
				return
			}
			r.await(t, 1, driver.Unknown, test.want)
			if n := len(d.received()); n > 0 {
				t.Errorf("%d batches were sent", n)
			}
		})
	}
}

// Certificates that are replaced, of both sides and by a new authority, count from the next connection on.
func TestCertificatesRotate(t *testing.T) {
	if testing.Short() {
		t.Skip("files are looked at once a second")
	}
	old, oldDir := certtest.New(), t.TempDir()
	server, client := old.Issue(t, oldDir, "127.0.0.1"), old.Issue(t, oldDir, "mapper")
	d := &detector{before: func(w http.ResponseWriter, _ *http.Request, _ *pb.DetectRequest) bool {
		w.Header().Set("Connection", "close") // so that each batch needs a handshake
		return false
	}}
	r := newRig(t, serveMutual(t, d, server), map[string]any{"insecure": false, "tls.ca": client.CA, "tls.cert": client.Cert, "tls.key": client.Key})
	r.await(t, 1, driver.Normal)

	next, nextDir := certtest.New(), t.TempDir()
	newServer, newClient := next.Issue(t, nextDir, "127.0.0.1"), next.Issue(t, nextDir, "mapper")
	replace := func(to, from string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	replace(server.Cert, newServer.Cert) // until its key follows, the old pair stays in use
	replace(server.Key, newServer.Key)
	r.await(t, 1, driver.Unknown, "unknown authority")
	replace(client.Cert, newClient.Cert)
	replace(client.Key, newClient.Key)
	replace(client.CA, newClient.CA) // trusted by both sides
	r.await(t, 1, driver.Normal)
}

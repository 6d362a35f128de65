// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// put replaces a file at once, as whoever renews certificates does.
func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, s *Server) *Server {
	t.Helper()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newServer(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := New(c, new(Routes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Certificate and token are followed while the server runs; a token that became too short lets nobody in.
func TestTLSAndTokenFollowTheirFiles(t *testing.T) {
	dir := t.TempDir()
	ca := certtest.New()
	files := ca.Issue(t, dir, "server")
	files.CA = ""
	secret := filepath.Join(dir, "token")
	put(t, secret, token)
	s := start(t, newServer(t, Config{Address: "127.0.0.1:0", TLS: files, TokenFile: secret}))

	ask := func(bearer string) (serial string, status int) {
		client := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test looks at the certificate itself
		}}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.Addr().String()+"/v1/verdicts", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.String(), resp.StatusCode
	}
	first, status := ask(token)
	if status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	ca.Issue(t, dir, "server")
	put(t, secret, "another-token-of-good-length")
	waittest.Eventually(t, "new certificate and token", func() bool {
		serial, status := ask("another-token-of-good-length")
		return serial != first && status == http.StatusOK
	})
	if _, status := ask(token); status != http.StatusUnauthorized {
		t.Errorf("the old token: status %d", status)
	}
	put(t, secret, "short")
	waittest.Eventually(t, "a short token is refused", func() bool { _, status := ask("short"); return status == http.StatusUnauthorized })
	waittest.Eventually(t, "the old one too", func() bool {
		_, status := ask("another-token-of-good-length")
		return status == http.StatusUnauthorized
	})

	// Plain text gets nothing.
	if resp, err := http.Get("http://" + s.Addr().String() + "/v1/verdicts"); err == nil { //nolint:noctx // a few lines
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("an answer in plain text")
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// With a CA, clients need a certificate that comes from it.
func TestClientCertificates(t *testing.T) {
	files, stranger := certtest.New().Issue(t, t.TempDir(), "known"), certtest.New().Issue(t, t.TempDir(), "stranger")
	s := start(t, newServer(t, Config{Address: "127.0.0.1:0", TLS: files}))
	for name, want := range map[string]bool{"none": false, "stranger": false, "known": true} {
		config := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the server's is not the question
		if from := map[string]tlsfiles.Files{"known": files, "stranger": stranger}[name]; from.Cert != "" {
			cert, err := tls.LoadX509KeyPair(from.Cert, from.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}}
		resp, err := client.Get("https://" + s.Addr().String() + "/v1/verdicts") //nolint:noctx // ends with the server
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v, want an answer: %v", name, err, want)
		}
	}
}

// A stream of events lasts, whatever requests and answers may take.
func TestEventsOutliveTheTimeOfARequest(t *testing.T) {
	files := certtest.New().Issue(t, t.TempDir(), "server")
	files.CA = ""
	for name, c := range map[string]Config{
		"http": {Address: "127.0.0.1:0"}, "https": {Address: "127.0.0.1:0", TLS: files},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, c)
			const limit = time.Second // in which a handshake is done on a machine that is busy, too
			s.requestTimeout, s.answerTimeout = limit, limit
			start(t, s)
			client := &http.Client{Transport: &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a test's
			}}
			defer client.CloseIdleConnections()
			resp, err := client.Get(name + "://" + s.Addr().String() + "/v1/events") //nolint:noctx // ends with the server
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			timer := time.NewTimer(2 * limit)
			<-timer.C
			if err := s.Write(t.Context(), []driver.Result{verdict("light-1", driver.Critical)}); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(resp.Body); ; {
				if !lines.Scan() {
					t.Fatalf("the stream has ended: %v", lines.Err())
				}
				if strings.Contains(lines.Text(), "light-1") {
					return
				}
			}
		})
	}
}

// listenRaw asks for events on a connection with next to no room, and reads no more than the first line.
func listenRaw(t *testing.T, s *Server) (conn net.Conn, status string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(1024)
	if _, err := fmt.Fprintf(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReaderSize(conn, 64).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return conn, strings.TrimSpace(line)
}

func (e *events) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.listeners)
}

// As many listeners as there may be hang. The sink takes verdicts as if they were not there, cuts them off, and ends in
// time.
func TestManyListenersHang(t *testing.T) {
	s := newServer(t, Config{Address: "127.0.0.1:0"})
	s.events.most = 8
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range s.events.most {
		if _, status := listenRaw(t, s); status != "HTTP/1.1 200 OK" {
			t.Fatal(status)
		}
	}
	if _, status := listenRaw(t, s); !strings.Contains(status, "503") {
		t.Errorf("one listener more: %s", status)
	}
	batch := make([]driver.Result, 256)
	for i := range batch {
		batch[i] = verdict(fmt.Sprint("light-", i), driver.Critical)
		batch[i].Message = strings.Repeat("m", 2000) // what a connection buffers is soon full
	}
	waittest.Eventually(t, "those who hang are cut off", func() bool {
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		return s.events.count() == 0
	})
	_, status := listenRaw(t, s)
	waittest.Eventually(t, "there is room again", func() bool { _, status = listenRaw(t, s); return status == "HTTP/1.1 200 OK" })

	// Some of the handlers are still held up in a write: the end does not wait for them.
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// Listeners that go leave nothing behind.
func TestListenersGo(t *testing.T) {
	s := start(t, newServer(t, Config{Address: "127.0.0.1:0"}))
	for range 50 {
		conn, status := listenRaw(t, s)
		if status != "HTTP/1.1 200 OK" {
			t.Fatal(status)
		}
		_ = conn.Close()
		waittest.Eventually(t, "the listener is forgotten", func() bool { return s.events.count() == 0 })
	}
}

// A port that is taken holds up nobody, and is used as soon as it is free.
func TestPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, newServer(t, Config{Address: taken.Addr().String()}))
	if err := s.Write(t.Context(), []driver.Result{verdict("light-1", driver.Critical)}); err != nil {
		t.Error(err)
	}
	if s.Addr() != nil {
		t.Error("listens although the port is taken")
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the port is used", func() bool { return s.Addr() != nil })
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get("http://" + s.Addr().String() + "/v1/verdicts") //nolint:noctx // ends with the server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(text, []byte("light-1")) {
		t.Errorf("%s, %v", text, err)
	}
}

func TestEndWhileThePortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	start(t, newServer(t, Config{Address: taken.Addr().String()}))
}

// Detection does not feel whether anybody listens, or hangs while listening.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	well := newServer(t, Config{Address: "127.0.0.1:0"})
	hung := newServer(t, Config{Address: "127.0.0.1:0"})
	asked := func() bool {
		if hung.Addr() == nil {
			return false
		}
		for range mostListeners {
			listenRaw(t, hung)
		}
		return true
	}
	sinktest.Undisturbed(t, well, hung, asked)
}

func TestMemoryIsBounded(t *testing.T) {
	s := newServer(t, Config{Address: "127.0.0.1:0"})
	s.most = 1000
	batch := make([]driver.Result, 100)
	for i := range s.most/len(batch) + 2 {
		for j := range batch {
			batch[j] = verdict(fmt.Sprint("light-", i, "-", j), driver.Normal)
		}
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.latest) != s.most {
		t.Errorf("%d verdicts are remembered, want %d", len(s.latest), s.most)
	}
	before := len(s.latest)
	s.Forget(batch[0].Key) // not remembered: nothing to forget
	s.Forget(verdict("light-0-0", driver.Normal).Key)
	if len(s.latest) != before-1 {
		t.Errorf("%d verdicts after one was forgotten", len(s.latest))
	}
}

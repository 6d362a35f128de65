// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package connlimit_test

import (
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server accepts connections and hands them over.
func server(t *testing.T, limit *connlimit.Limit) (address string, accepted chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan net.Conn, 100)
	ended := make(chan struct{})
	bounded := limit.Listen(l)
	go func() {
		defer close(ended)
		for {
			c, err := bounded.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		for len(accepted) > 0 {
			_ = (<-accepted).Close()
		}
	})
	return l.Addr().String(), accepted
}

// dial connects from an address.
func dial(t *testing.T, address, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// open tells whether the server has not closed a connection; it waits a moment for that.
func open(t *testing.T, c net.Conn, wait time.Duration) bool {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	_, err := c.Read(make([]byte, 1))
	timeout, ok := err.(net.Error) //nolint:errorlint // of the net package
	return ok && timeout.Timeout()
}

// Who waits longest makes room, of the same address first, and then of the one that has most.
func TestTheOldestMakesRoom(t *testing.T) {
	full := make(chan string, 10)
	limit := &connlimit.Limit{Host: 3, Total: 5, Full: func(host string, _ error) { full <- host }}
	address, accepted := server(t, limit)
	const stranger, other = "127.0.0.1", "127.0.0.2"
	var conns []net.Conn
	for range 4 {
		conns = append(conns, dial(t, address, stranger))
		<-accepted
	}
	if got := <-full; got != stranger || open(t, conns[0], time.Minute) || !open(t, conns[1], 20*time.Millisecond) {
		t.Errorf("%s made room, want the first connection of %s", got, stranger)
	}
	served := dial(t, address, other)
	connlimit.Of(<-accepted).Settle() // makes no room any more
	for range 3 {
		dial(t, address, other)
		<-accepted
	}
	if got := <-full; got != stranger && got != other { // they have as many
		t.Errorf("%s made room", got)
	}
	if !open(t, served, 20*time.Millisecond) || len(full) > 0 {
		t.Error("one that was settled made room")
	}
}

// Whoever holds sockets open, and sends headers as slowly as can be, keeps nobody from an HTTP server.
func TestSlowHeaders(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limit := &connlimit.Limit{Host: 16, Total: 32, Most: 64}
	s := &http.Server{ConnState: connlimit.ConnState, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(limit.Listen(l)) }()
	t.Cleanup(func() {
		_ = s.Close()
		<-ended
	})
	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	get := func() {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	get() // this connection is kept, and waits like the others from then on
	for range 500 {
		_, _ = dial(t, l.Addr().String(), "127.0.0.1").Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "))
	}
	for range 3 {
		get()
		client.CloseIdleConnections()
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqttclient_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/internal/mqttclient"
)

// wire keeps what is written, a piece each.
type wire struct {
	net.Conn
	pieces []string
	err    error
	closed bool
}

func (w *wire) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.pieces = append(w.pieces, string(p))
	return len(p), nil
}

func (w *wire) Close() error {
	w.closed = true
	return nil
}

// What is held back goes out as one, in order, when it is let go or is too much.
func TestCork(t *testing.T) {
	w := new(wire)
	s, c := mqttclient.SessionOver(w)
	write := func(text string) {
		t.Helper()
		if n, err := c.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	write("a")
	release := s.Cork()
	write("b")
	write("c")
	if got := strings.Join(w.pieces, "|"); got != "a" {
		t.Errorf("held back: %q", got)
	}
	release()
	write("d")
	if got := strings.Join(w.pieces, "|"); got != "a|bc|d" {
		t.Errorf("let go: %q", got)
	}
	defer s.Cork()()
	for range 5 {
		write(string(bytes.Repeat([]byte("e"), 4<<10)))
	}
	if n := len(w.pieces[len(w.pieces)-1]); n != 16<<10 {
		t.Errorf("%d bytes go out, want 16 KiB", n)
	}
}

// A write that fails later is told to whoever writes next, and ends the connection.
func TestCorkFails(t *testing.T) {
	w := &wire{err: errors.New("gone")}
	s, c := mqttclient.SessionOver(w)
	release := s.Cork()
	if _, err := c.Write([]byte("a")); err != nil {
		t.Error(err)
	}
	release()
	if _, err := c.Write([]byte("b")); err == nil || !w.closed {
		t.Errorf("%v, closed: %v", err, w.closed)
	}
	new(mqttclient.Session).Cork()() // without a connection there is nothing to do
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each connection with what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// say sends text and returns what comes back within the time.
func say(t *testing.T, c net.Conn, text string, within time.Duration) (string, error) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	got := make([]byte, len(text))
	n, err := io.ReadFull(c, got)
	return string(got[:n]), err
}

func TestFaults(t *testing.T) {
	p := New(t, echo(t))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	c := dial()
	if got, err := say(t, c, "hello", time.Minute); got != "hello" {
		t.Fatalf("without a fault: %q, %v", got, err)
	}
	p.Set(Fault{Delay: 20 * time.Millisecond})
	began := time.Now()
	if got, err := say(t, c, "hello", time.Minute); got != "hello" || time.Since(began) < 40*time.Millisecond {
		t.Errorf("delayed: %q, %v after %v", got, err, time.Since(began))
	}
	p.Set(Fault{Stall: true})
	var timeout net.Error
	if got, err := say(t, c, "hello", 50*time.Millisecond); got != "" || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("stalled: %q, %v", got, err)
	}
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	p.Set(Fault{})
	if _, err := io.ReadFull(c, make([]byte, len("hello"))); err != nil { // what was stalled
		t.Error(err)
	}
	p.Swallow()
	if got, err := say(t, c, "hello", 50*time.Millisecond); got != "" || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("swallowed: %q, %v", got, err)
	}
	if got, err := say(t, dial(), "hello", time.Minute); got != "hello" {
		t.Errorf("a connection after those that are swallowed: %q, %v", got, err)
	}
	p.Cut()
	if _, err := say(t, c, "hello again", time.Minute); err == nil {
		t.Error("the connection was cut and works")
	}
	p.Set(Fault{Refuse: true})
	if c, err := net.Dial("tcp", p.Addr()); err == nil { // else it is reset before it is there
		if _, err := say(t, c, "hello", time.Minute); err == nil {
			t.Error("refused, and works")
		}
		_ = c.Close()
	}
	p.Set(Fault{Truncate: 3})
	if got, err := say(t, dial(), "hello", time.Minute); err == nil || len(got) > 3 {
		t.Errorf("truncated: %q, %v", got, err)
	}
	p.Set(Fault{Rate: 100})
	began = time.Now()
	if got, err := say(t, dial(), "hello", time.Minute); got != "hello" || time.Since(began) < 100*time.Millisecond {
		t.Errorf("throttled: %q, %v after %v", got, err, time.Since(began))
	}
	if p.Accepted() != 5 {
		t.Errorf("%d connections, want 5", p.Accepted())
	}
}

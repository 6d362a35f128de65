// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package brokertest is an MQTT broker within a test.
package brokertest

import (
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Broker is a broker that listens on loopback.
type Broker struct {
	Server  *mochi.Server
	Address string

	door *door
	once sync.Once
}

// Start starts a broker that ends with the test. One of the hooks has to let clients in. A client in the same process is
// server.Publish and server.Subscribe.
func Start(tb testing.TB, address string, hooks ...mochi.Hook) *Broker {
	tb.Helper()
	b := &Broker{Server: mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})}
	l, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	b.door = &door{Listener: l}
	errs := []error{b.Server.AddListener(listeners.NewNet("tcp", b.door))}
	for _, hook := range hooks {
		errs = append(errs, b.Server.AddHook(hook, nil))
	}
	for _, err := range append(errs, b.Server.Serve()) {
		if err != nil {
			tb.Fatal(err)
		}
	}
	b.Address = l.Addr().String()
	tb.Cleanup(b.Stop)
	return b
}

// Publish publishes at QoS 1 while the broker works on no packet of a client: it reads a lock twice to find what is to be
// sent next, and waits forever if a message comes in between.
func (b *Broker) Publish(topic string, payload []byte, retain bool) error {
	b.door.working.Lock()
	defer b.door.working.Unlock()
	return b.Server.Publish(topic, payload, retain, 1)
}

// Stop ends the broker when all of its connections have begun: its own count of them may not grow while it is waited for.
func (b *Broker) Stop() {
	b.once.Do(func() {
		_ = b.door.Close()
		for b.door.accepted.Load() != b.door.begun.Load() {
			runtime.Gosched()
		}
		_ = b.Server.Close()
	})
}

// door counts connections that are accepted, and those of which the broker reads.
type door struct {
	net.Listener
	accepted, begun atomic.Int64
	working         sync.RWMutex // read by guests whose packets are worked on
}

func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.accepted.Add(1)
	return &guest{Conn: conn, begin: sync.OnceFunc(func() { d.begun.Add(1) }), working: &d.working}, nil
}

type guest struct {
	net.Conn
	begin   func()
	working *sync.RWMutex

	mu     sync.Mutex
	works  bool // it holds working
	closed bool
}

// Read ends the work on what was read before, and begins that on what is read now.
func (g *guest) Read(p []byte) (int, error) {
	g.begin()
	g.rest(false)
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.working.RLock()
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.works = !g.closed; g.closed {
			g.working.RUnlock()
		}
	}
	return n, err
}

func (g *guest) rest(closed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = g.closed || closed
	if g.works {
		g.works = false
		g.working.RUnlock()
	}
}

func (g *guest) Close() error {
	g.begin() // without a read
	g.rest(true)
	return g.Conn.Close()
}

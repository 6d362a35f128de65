// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package faultproxy is a bad network for tests: a TCP proxy on loopback that refuses, cuts, delays, throttles, stalls
// and truncates the connections through it.
package faultproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Fault is what the proxy does to connections. The zero value passes everything on as it is. It holds for new
// connections and for what goes through those that are open.
type Fault struct {
	Refuse   bool          // close new connections at once
	Stall    bool          // pass on nothing more, and close nothing
	Delay    time.Duration // pass on each piece that much later
	Rate     int           // bytes a second that each direction of a connection may pass; 0: no limit
	Truncate int64         // bytes that each direction of a connection passes before the connection is reset; 0: no limit
}

// Proxy passes connections on to a target. It is made by [New].
type Proxy struct {
	target   string
	listener net.Listener
	ctx      context.Context
	wg       sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed by Set
	swallow chan struct{} // closed by Swallow
	open    map[net.Conn]struct{}
	count   int
}

// New starts a proxy to a TCP address; it ends with the test.
func New(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(tb.Context())
	p := &Proxy{target: target, listener: listener, ctx: ctx, changed: make(chan struct{}), swallow: make(chan struct{}), open: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		cancel()
		_ = listener.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Accepted is the number of connections so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// Set makes the proxy behave so from now on.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut resets all open connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		reset(c)
	}
}

// Swallow makes a black hole of the connections that are open now: what comes is acknowledged and goes nowhere, and none of
// them ends. New ones work.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.swallow)
	p.swallow = make(chan struct{})
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (p *Proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.count++
		refuse := p.fault.Refuse
		p.mu.Unlock()
		if refuse {
			reset(in)
			continue
		}
		p.wg.Go(func() { p.pass(in) })
	}
}

// pass carries one connection until either end closes it.
func (p *Proxy) pass(in net.Conn) {
	var dialer net.Dialer
	out, err := dialer.DialContext(p.ctx, "tcp", p.target)
	if err != nil {
		reset(in)
		return
	}
	p.mu.Lock()
	p.open[in], p.open[out] = struct{}{}, struct{}{}
	swallow := p.swallow
	p.mu.Unlock()
	if p.ctx.Err() != nil { // Cut has been
		reset(in)
	}
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			if !p.copy(way[1], way[0], swallow) {
				reset(in)
				reset(out)
			}
		})
	}
	wg.Wait()
	_ = in.Close()
	_ = out.Close()
	p.mu.Lock()
	delete(p.open, in)
	delete(p.open, out)
	p.mu.Unlock()
}

// copy passes one direction on, up to its orderly end. It returns false where that did not come.
func (p *Proxy) copy(to, from net.Conn, swallow <-chan struct{}) bool {
	buf := make([]byte, 16<<10)
	passed := int64(0)
	for {
		n, err := from.Read(buf)
		f := p.wait(n)
		select {
		case <-swallow:
			if err == nil {
				continue
			}
			<-p.ctx.Done() // not even the end is passed on
			return false
		default:
		}
		if left := f.Truncate - passed; f.Truncate > 0 && int64(n) > left {
			_, _ = to.Write(buf[:max(left, 0)])
			return false
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return false
		}
		passed += int64(n)
		if errors.Is(err, io.EOF) {
			t, ok := to.(*net.TCPConn)
			return ok && t.CloseWrite() == nil
		}
		if err != nil {
			return false
		}
	}
}

// wait holds a piece of n bytes back as long as the fault of the moment wants, and returns that fault.
func (p *Proxy) wait(n int) Fault {
	for {
		p.mu.Lock()
		f, changed := p.fault, p.changed
		p.mu.Unlock()
		hold := f.Delay
		if f.Rate > 0 {
			hold += time.Duration(n) * time.Second / time.Duration(f.Rate)
		}
		if f.Stall {
			hold = time.Hour
		}
		if hold == 0 || p.ctx.Err() != nil {
			return f
		}
		timer := time.NewTimer(hold)
		select {
		case <-timer.C:
			return f
		case <-changed: // it may be better now
			timer.Stop()
		case <-p.ctx.Done():
			timer.Stop()
			return f
		}
	}
}

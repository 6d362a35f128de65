// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package connlimit bounds the connections of a server that have not shown what they are, or have nothing to say. Where
// there is no room for another one, the one that has waited longest makes room: a client that means it has done its
// handshake and asked within milliseconds, one that holds sockets open has not. So whoever holds many keeps nobody else
// out, also where all come from one address.
package connlimit

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// Limit is a bound that listeners may share. It is not to be changed once it is in use.
type Limit struct {
	Host  int // connections of one address that wait; the oldest of them is closed for one more
	Total int // connections that wait; the oldest of the address that has most is closed for one more
	Most  int // connections, whether they wait or not; 0 means no bound
	// Full is told that a connection of an address was closed for want of room. nil tells nobody.
	Full func(host string, err error)

	mu      sync.Mutex
	hosts   map[string]*list.List // of *Conn that wait, the longest first
	waiting int
	all     int
}

// Listen returns a listener whose connections are bounded. They are [*Conn].
func (l *Limit) Listen(inner net.Listener) net.Listener { return &listener{inner, l} }

type listener struct {
	net.Listener
	limit *Limit
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: inner, limit: l.limit, host: Host(inner.RemoteAddr())}
		victim := l.limit.add(c)
		if victim != nil {
			victim.evict()
		}
		if victim != c {
			return c, nil
		}
	}
}

// Host is the address without its port; of a unix socket it is "".
func Host(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return ""
	}
	return host
}

// Conn waits until it is settled or closed.
type Conn struct {
	net.Conn
	limit *Limit
	host  string

	// Guarded by limit.mu.
	place  *list.Element // nil while it does not wait
	closed bool
}

// add has a connection wait, and returns the one that has to be closed for it.
func (l *Limit) add(c *Conn) (victim *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all++
	l.wait(c)
	switch {
	case l.hosts[c.host].Len() > l.Host:
		return l.hosts[c.host].Front().Value.(*Conn)
	case l.waiting > l.Total, l.Most > 0 && l.all > l.Most:
		most := l.hosts[c.host]
		for _, of := range l.hosts {
			if of.Len() > most.Len() {
				most = of
			}
		}
		return most.Front().Value.(*Conn)
	}
	return nil
}

// wait puts a connection at the end of those of its address. The caller holds the lock.
func (l *Limit) wait(c *Conn) {
	of := l.hosts[c.host]
	if of == nil {
		of = list.New()
		if l.hosts == nil {
			l.hosts = make(map[string]*list.List)
		}
		l.hosts[c.host] = of
	}
	c.place = of.PushBack(c)
	l.waiting++
}

// settle takes a connection from those that wait. The caller holds the lock.
func (l *Limit) settle(c *Conn) {
	if c.place == nil {
		return
	}
	of := l.hosts[c.host]
	of.Remove(c.place)
	c.place = nil
	if l.waiting--; of.Len() == 0 {
		delete(l.hosts, c.host)
	}
}

// Settle says that the connection has shown what it is: it does not wait any more.
func (c *Conn) Settle() {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	c.limit.settle(c)
}

// Wait says that the connection has nothing to say at present.
func (c *Conn) Wait() {
	c.limit.mu.Lock()
	defer c.limit.mu.Unlock()
	if c.place == nil && !c.closed {
		c.limit.wait(c)
	}
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.limit.mu.Lock()
	c.limit.settle(c)
	if !c.closed {
		c.closed = true
		c.limit.all--
	}
	c.limit.mu.Unlock()
	return c.Conn.Close()
}

func (c *Conn) evict() {
	err := errors.Join(fmt.Errorf("%d connections of one address, %d of all, say nothing: the oldest is closed", c.limit.Host, c.limit.Total), c.Close())
	if c.limit.Full != nil {
		c.limit.Full(c.host, err)
	}
}

// Of finds the Conn below a connection that may be wrapped, by TLS for example; nil where there is none.
func Of(conn net.Conn) *Conn {
	for {
		switch c := conn.(type) {
		case *Conn:
			return c
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// ConnState is for [http.Server]: a connection waits while no request on it has begun.
func ConnState(conn net.Conn, state http.ConnState) {
	c := Of(conn)
	if c == nil {
		return
	}
	switch state {
	case http.StateActive, http.StateHijacked:
		c.Settle()
	case http.StateIdle:
		c.Wait()
	}
}

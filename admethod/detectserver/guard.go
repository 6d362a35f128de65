// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
)

// A connection is pending until its client has shown what it is: by the handshake, and by as many bytes after it as the
// first message of the protocol has. It must come that far within [Config.Handshake]. Of those of one address, and of all,
// the ones that have waited longest make room for others, see package connlimit. Of those that send something, no address
// gets more handshakes a second than [Config.MaxPending] on average; those beyond wait, so that connections that were let
// in are not disturbed by those that are not.

const (
	greeting     = 24 // bytes of the preface of HTTP/2
	mostHosts    = 4096
	mostPending  = 1024 // connections, of all addresses
	callsOf      = 100  // calls that an address may begin in a second; streams are long
	refusalsOf   = 10   // refusals that a client gets at once; after them one a second
	longestPause = 10 * time.Second
)

// hosts are the addresses that connections come from.
type hosts struct {
	mu sync.Mutex
	of map[string]*host
}

type host struct{ handshakes, calls *rate.Limiter }

// get returns what is known of an address. The caller holds the lock.
func (h *hosts) get(name string, perSecond int) *host {
	one := h.of[name]
	if one != nil {
		return one
	}
	if h.of == nil || len(h.of) >= mostHosts { // those that are quiet have nothing to be remembered for
		kept := make(map[string]*host)
		for name, other := range h.of {
			if other.handshakes.Tokens() < float64(other.handshakes.Burst()) || other.calls.Tokens() < callsOf {
				kept[name] = other
			}
		}
		h.of = kept
	}
	one = &host{
		handshakes: rate.NewLimiter(rate.Limit(perSecond), perSecond), calls: rate.NewLimiter(callsOf, callsOf),
	}
	h.of[name] = one
	return one
}

// guard wraps a listener so that connections that trickle are bounded, and logged.
func (s *Server) guard(l net.Listener) net.Listener { return &guardedListener{s.pending.Listen(l), s} }

// full logs that a pending connection had to make room.
func (s *Server) full(host string, err error) {
	s.log.ErrorS("pending", err, "Detector server refuses connections", "from", host)
}

type guardedListener struct {
	net.Listener
	server *Server
}

func (g *guardedListener) Accept() (net.Conn, error) {
	conn, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := g.server
	s.hosts.mu.Lock()
	defer s.hosts.mu.Unlock()
	return &guardedConn{Conn: conn, server: s, from: s.hosts.get(connlimit.Host(conn.RemoteAddr()), s.config.MaxPending)}, nil
}

// guardedConn counts as pending until it is settled or closed.
type guardedConn struct {
	net.Conn
	server *Server
	from   *host
	paid   bool // for the handshake
}

// NetConn is the connection below.
func (c *guardedConn) NetConn() net.Conn { return c.Conn }

// Read waits at first while its address makes too many connections that say something. It is called from one goroutine at
// that time.
func (c *guardedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.paid && n > 0 {
		c.paid = true
		pay(c.from.handshakes, c.server.config.Handshake, nil, c.server.intake.Ended())
	}
	return n, err
}

// settle says that a connection from a guarded listener, perhaps under TLS, has shown what it is.
func settle(conn net.Conn) {
	if c := connlimit.Of(conn); c != nil {
		c.Settle()
	}
}

// guardian does the handshakes of gRPC, and watches for the greeting.
type guardian struct{ server *Server }

func (g guardian) inner() (credentials.TransportCredentials, error) {
	if g.server.config.Insecure {
		return insecure.NewCredentials(), nil
	}
	config, err := g.server.tlsConfig("h2")
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(config), nil
}

// ServerHandshake does the handshake, with the newest certificates.
func (g guardian) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	inner, err := g.inner()
	if err != nil {
		return nil, nil, err
	}
	conn, info, err := inner.ServerHandshake(raw)
	if err != nil {
		g.server.refuseConn(raw.RemoteAddr(), "handshake", err)
		return nil, nil, err
	}
	return &greetedConn{Conn: conn, raw: raw, server: g.server}, info, nil
}

func (guardian) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are credentials of a server")
}

func (g guardian) Info() credentials.ProtocolInfo {
	if inner, err := g.inner(); err == nil {
		return inner.Info()
	}
	return credentials.ProtocolInfo{}
}

func (g guardian) Clone() credentials.TransportCredentials { return g }
func (guardian) OverrideServerName(string) error           { return nil }

// greetedConn settles its connection when the greeting has come. gRPC reads it from one goroutine.
type greetedConn struct {
	net.Conn
	raw    net.Conn
	server *Server
	read   int
}

func (c *greetedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.read >= greeting {
		return n, err
	}
	c.read += n
	switch {
	case c.read >= greeting:
		settle(c.raw)
	case err != nil && !errors.Is(err, io.EOF):
		c.server.refuseConn(c.RemoteAddr(), "greeting", fmt.Errorf("no greeting of HTTP/2: %w", err))
	}
	return n, err
}

// tap bounds the calls that an address begins.
func (s *Server) tap(ctx context.Context, _ *tap.Info) (context.Context, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ctx, nil
	}
	name := connlimit.Host(p.Addr)
	s.hosts.mu.Lock()
	from := s.hosts.get(name, s.config.MaxPending)
	s.hosts.mu.Unlock()
	if from.calls.Allow() {
		return ctx, nil
	}
	err := intake.Exhausted(time.Second, "%d calls a second from one address", callsOf)
	s.log.ErrorS("calls", err, "Detector server refuses calls", "from", name)
	return ctx, err
}

// pause keeps a client that is refused again and again from asking again at once. c is nil for one that is not known.
func (s *Server) pause(ctx context.Context, c *client) {
	refusals := s.strangers
	if c != nil {
		refusals = c.refusals
	}
	pay(refusals, longestPause, ctx.Done(), s.intake.Ended())
}

// pay takes one from a limiter, and waits for it, but not for longer than most.
func pay(limiter *rate.Limiter, most time.Duration, done, ended <-chan struct{}) {
	r := limiter.Reserve()
	wait := r.Delay()
	if wait <= 0 {
		return
	}
	if wait > most { // those who come in masses must not make the others wait for ever
		r.Cancel()
		wait = most
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-ended:
	case <-timer.C:
	}
}

// refuseConn logs why a connection was not set up, once a minute for each cause. at says how far it came.
func (s *Server) refuseConn(remote net.Addr, at string, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) { // a probe, gone meanwhile, or told
		return
	}
	cause, hint := at, err
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	switch text := err.Error(); {
	case errors.As(err, &record):
		cause, hint = "plaintext", fmt.Errorf("it does not speak TLS; want TLS: %w", err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause, hint = "slow "+at, fmt.Errorf("it is not set up within %v: %w", s.config.Handshake, err)
	case errors.As(err, &unknown):
		cause = "unknown authority"
	case errors.As(err, &invalid):
		cause = fmt.Sprint("invalid certificate ", invalid.Reason)
	case strings.Contains(text, "didn't provide a certificate"):
		cause = "no certificate"
	}
	s.log.ErrorS(cause, hint, "Detector server refuses a connection", "from", connlimit.Host(remote))
}

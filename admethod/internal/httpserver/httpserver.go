// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpserver is how this project serves HTTP: bounded in the time that a request may take, in the size of its
// headers, and in the connections that do not ask, see package connlimit.
package httpserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// Server is an [http.Server] whose TLSConfig says whether it speaks TLS.
type Server struct {
	http.Server

	Conns connlimit.Limit // where Most is 0, the listener has bounds of its own
}

// New makes a server that takes as long for reading a request, and for answering it, as is given, and has so many
// connections without a request at a time. in names what panics with h.
func New(in string, h http.Handler, read, write time.Duration, waiting int) *Server {
	return &Server{http.Server{
		Handler: guard.Handler(in, h), ConnState: connlimit.ConnState, ReadHeaderTimeout: min(10*time.Second, read),
		ReadTimeout: read, WriteTimeout: write, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}, connlimit.Limit{Host: waiting / 2, Total: waiting, Most: 2 * waiting}}
}

// Serve answers until the server is ended, which is no error.
func (s *Server) Serve(l net.Listener) error {
	if s.Conns.Most > 0 {
		l = s.Conns.Listen(l)
	}
	serve := s.Server.Serve
	if s.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// End gives requests that are under way a while, and then cuts off whoever hangs.
func (s *Server) End(ctx context.Context, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if s.Shutdown(ctx) != nil {
		return s.Close()
	}
	return nil
}

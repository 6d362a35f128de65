// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Client says how a client is known, and what it may do.
type Client struct {
	// Names are those of its certificate, one of which it must show: DNS names and URIs or, where it has neither, the
	// common name. Token is a file with its bearer token, which is read again when it changes. A client with both must
	// show both.
	Names []string
	Token string

	Namespaces []string // it may send for; "*" is every namespace
	Limits     Limits   // zero fields are as [Config.Limits] has them
}

// Limits bound what one client may use, see [intake.Limits]. Of those without identity, Streams and Series that are 0 mean
// [Config.MaxStreams] and [Config.MaxSeries].
type Limits = intake.Limits

// client is one who may send, over all of its connections.
type client struct {
	*intake.Client
	names    []string
	token    *tlsfiles.Token // nil where it needs none
	refusals *rate.Limiter
}

func (s *Server) newClient(name string, namespaces []string, l Limits) *client {
	return &client{Client: s.intake.Client(name, namespaces, l), refusals: newRefusals()}
}

func newRefusals() *rate.Limiter { return rate.NewLimiter(1, refusalsOf) }

// setClients reads who may send.
func (s *Server) setClients() error {
	base := s.config.Limits.Over(intake.DefaultLimits())
	everybody := intake.DefaultLimits()
	everybody.Streams, everybody.Series = s.config.MaxStreams, s.config.MaxSeries
	everybody = s.config.Limits.Over(everybody)
	var errs []error
	claimed := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(s.config.Clients)) {
		given := s.config.Clients[name]
		if len(given.Names) == 0 && given.Token == "" {
			errs = append(errs, fmt.Errorf("clients: %s: want names of a certificate, or a token", name))
		}
		if len(given.Namespaces) == 0 {
			errs = append(errs, fmt.Errorf(`clients: %s: want namespaces, "*" for all`, name))
		}
		c := s.newClient(name, given.Namespaces, given.Limits.Over(base))
		c.names = given.Names
		if given.Token == "" {
			for _, n := range given.Names {
				if other := claimed[n]; other != "" {
					errs = append(errs, fmt.Errorf("clients: %s and %s: want only one of them for the certificate of %q", other, name, n))
				}
				claimed[n] = name
			}
		} else {
			trouble := func(err error) { s.log.ErrorS("token of "+name, err, "Detector server keeps the token of a client") }
			var err error
			if c.token, err = tlsfiles.NewToken(given.Token, trouble); err != nil {
				errs = append(errs, fmt.Errorf("clients: %s: %w", name, err))
			}
		}
		s.clients = append(s.clients, c)
	}
	switch {
	case s.config.Insecure:
		if len(s.clients) > 0 {
			errs = append(errs, errors.New("clients: in plaintext nobody can tell who sends: want no clients, or TLS"))
		}
		if s.config.TLS != (tlsfiles.Files{}) {
			errs = append(errs, errors.New("insecure: want no tls.* beside it"))
		}
		s.anybody = s.newClient("anybody", []string{"*"}, everybody)
		if len(s.config.Anonymous) > 0 {
			s.anybody.Namespaces = s.config.Anonymous
		}
	case len(s.config.Anonymous) > 0:
		s.anybody = s.newClient("anonymous", s.config.Anonymous, everybody)
	case len(s.clients) == 0:
		errs = append(errs, errors.New("want clients, or namespaces of anonymous ones, or insecure: true for plaintext"))
	}
	return errors.Join(errs...)
}

// certificates says whether clients must show a certificate of the authority to be let in at all.
func (s *Server) certificates() tls.ClientAuthType {
	if s.config.TLS.CA == "" {
		return tls.NoClientCert
	}
	if s.anybody != nil || slices.ContainsFunc(s.clients, func(c *client) bool { return len(c.names) == 0 }) {
		return tls.VerifyClientCertIfGiven
	}
	return tls.RequireAndVerifyClientCert
}

// identify finds out who sends. state is that of the connection, nil in plaintext; authorization is the header of that
// name, "" where there is none. A token that is shown must be known, whatever the certificate says.
func (s *Server) identify(state *tls.ConnectionState, authorization string) (*client, error) {
	if s.config.Insecure {
		return s.anybody, nil
	}
	var names []string
	if state != nil && len(state.VerifiedChains) > 0 && len(state.PeerCertificates) > 0 {
		names = tlsfiles.Names(state.PeerCertificates[0])
	}
	bearer := authorization != ""
	if scheme, token, _ := strings.Cut(authorization, " "); bearer && (!strings.EqualFold(scheme, "Bearer") || token == "") {
		return nil, status.Error(codes.Unauthenticated, "want the authorization Bearer and a token")
	}
	var found *client
	for _, c := range s.clients { // all of them, so that time tells nothing
		match := (c.token != nil) == bearer
		if match && bearer {
			match = tlsfiles.Authorizes(authorization, c.token.Get())
		}
		if match && len(c.names) > 0 {
			match = slices.ContainsFunc(c.names, func(n string) bool { return slices.Contains(names, n) })
		}
		if match && (found == nil || len(c.names) > 0) {
			found = c
		}
	}
	switch {
	case found != nil:
		return found, nil
	case bearer:
		return nil, status.Error(codes.Unauthenticated, "the token is not known, or wants a certificate beside it")
	case len(names) > 0 && s.anybody == nil:
		return nil, status.Errorf(codes.PermissionDenied, "client %q may not send for any namespace", names)
	case s.anybody != nil:
		return s.anybody, nil
	}
	return nil, status.Error(codes.Unauthenticated, "want a client certificate, or a token")
}

// refuse logs an error that ended a session or kept one from opening. c and remote may be nil.
func (s *Server) refuse(c *client, remote net.Addr, err error) { s.refused("", c, remote, err) }

// refuseMessage logs a message that was not even read.
func (s *Server) refuseMessage(c *client, remote net.Addr, err error) {
	s.refused("message", c, remote, err)
}

func (s *Server) refused(what string, c *client, remote net.Addr, err error) {
	if c == nil {
		s.intake.Refuse(what, nil, remote, err)
		return
	}
	s.intake.Refuse(what, c.Client, remote, err)
}

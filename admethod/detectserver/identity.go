// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kubeedge/edge-anomaly/admethod"
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

// Limits bound what one client may use.
type Limits struct {
	Streams int     // at one time, requests of HTTP included; 0 means 16, and [Config.MaxStreams] for those without identity
	Series  int     // properties that are scored at one time; 0 means 4,000, and [Config.MaxSeries] for those without identity
	Rate    float64 // readings a second, over all streams; 0 means 200,000, a negative one no bound
	Burst   int     // readings beyond the rate at one time; 0 means those of a second
	Memory  int     // MiB that its detectors may take, by what they declare; 0 means 512, a negative one no bound
	// Patience is how long a client that is too fast is only slowed down; after that its streams end with
	// ResourceExhausted and RetryInfo. 0 means 30 s.
	Patience time.Duration
}

func (l Limits) over(base Limits) Limits {
	if l.Rate == 0 {
		l.Rate, l.Burst = base.Rate, cmp.Or(l.Burst, base.Burst)
	}
	l.Streams, l.Series = cmp.Or(l.Streams, base.Streams), cmp.Or(l.Series, base.Series)
	l.Memory, l.Patience = cmp.Or(l.Memory, base.Memory), cmp.Or(l.Patience, base.Patience)
	return l
}

var defaultLimits = Limits{Streams: 16, Series: 4000, Rate: 200_000, Memory: 512, Patience: 30 * time.Second}

// budget is the memory that the detectors of each client may take.
func (s *Server) budget() admethod.Budget {
	b := admethod.Budget{Of: make(map[string]int64)}
	clients := s.clients
	if s.anybody != nil {
		clients = append(slices.Clone(clients), s.anybody)
	}
	for _, c := range clients {
		b.Of[c.name] = max(int64(c.limits.Memory)<<20, -1)
	}
	return b
}

// client is one who may send, over all of its connections.
type client struct {
	name       string
	names      []string
	token      *tlsfiles.Token // nil where it needs none
	namespaces []string
	limits     Limits
	limiter    *rate.Limiter
	chunk      int // readings that are paid for at once
	refusals   *rate.Limiter

	opening sync.Mutex // around the opening and closing of its series; taken before the server's lock

	// Guarded by the server.
	sessions, series int
	streams          map[string]*memory
}

func newClient(name string, namespaces []string, l Limits) *client {
	c := &client{name: name, namespaces: namespaces, limits: l, streams: make(map[string]*memory), refusals: newRefusals()}
	limit, burst := rate.Limit(l.Rate), l.Burst
	if l.Rate < 0 {
		limit = rate.Inf
	}
	if burst <= 0 {
		burst = max(1, int(min(max(l.Rate, 0), 1e9)))
	}
	c.limiter = rate.NewLimiter(limit, burst)
	c.chunk = min(max(1, int(min(max(l.Rate, 0), 1e9)/1000)), 64, burst)
	if limit == rate.Inf {
		c.chunk = 1 << 30
	}
	return c
}

func newRefusals() *rate.Limiter { return rate.NewLimiter(1, refusalsOf) }

// setClients reads who may send.
func (s *Server) setClients() error {
	base := s.config.Limits.over(defaultLimits)
	everybody := defaultLimits
	everybody.Streams, everybody.Series = s.config.MaxStreams, s.config.MaxSeries
	everybody = s.config.Limits.over(everybody)
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
		c := newClient(name, given.Namespaces, given.Limits.over(base))
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
		s.anybody = newClient("anybody", []string{"*"}, everybody)
		if len(s.config.Anonymous) > 0 {
			s.anybody.namespaces = s.config.Anonymous
		}
	case len(s.config.Anonymous) > 0:
		s.anybody = newClient("anonymous", s.config.Anonymous, everybody)
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

func (c *client) permit(namespace string) error {
	if slices.Contains(c.namespaces, namespace) || slices.Contains(c.namespaces, "*") {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "client %q may not send for namespace %.253q", c.name, namespace)
}

// pace pays for the readings that are to come, and waits while the client is over its rate. A client that makes it wait
// for more than half of the time that its patience lasts is refused.
func (s *session) pace(ctx context.Context) error {
	c, now := s.client, time.Now()
	r := c.limiter.ReserveN(now, c.chunk)
	s.allowance = c.chunk - 1
	delay := r.DelayFrom(now)
	if delay <= 0 {
		s.throttled = time.Time{}
		return nil
	}
	if s.throttled.IsZero() {
		s.throttled = now
	}
	if now.Sub(s.since) > c.limits.Patience {
		if s.waited > c.limits.Patience/2 && now.Sub(s.since) < 2*c.limits.Patience {
			r.CancelAt(now)
			pause := time.Duration(float64(c.limiter.Burst()) / float64(c.limiter.Limit()) * float64(time.Second))
			return exhausted(min(max(delay, pause, time.Second), time.Minute),
				"client %q sends more than its %v readings a second", c.name, c.limits.Rate)
		}
		s.since, s.waited = now, 0
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	case <-s.ended:
		return s.cause()
	case <-timer.C:
	}
	s.waited += time.Since(now)
	return nil
}

// exhausted is a refusal that says when to come again.
func exhausted(wait time.Duration, format string, args ...any) error {
	st := status.Newf(codes.ResourceExhausted, format, args...)
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}); err == nil {
		st = detailed
	}
	return st.Err()
}

// retryAfter is when to come again after an error; 0 where it does not say.
func retryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// refuse logs an error that ended a session or kept one from opening. c and remote may be nil.
func (s *Server) refuse(c *client, remote net.Addr, err error) { s.refused("", c, remote, err) }

// refuseMessage logs a message that was not even read.
func (s *Server) refuseMessage(c *client, remote net.Addr, err error) {
	s.refused("message", c, remote, err)
}

func (s *Server) refused(cause string, c *client, remote net.Addr, err error) {
	code := status.Code(err)
	switch code {
	case codes.OK, codes.Canceled, codes.Unavailable, codes.DeadlineExceeded:
		return
	}
	if code == codes.Unauthenticated { // of which there are few, and the client has no name
		cause = err.Error()
	}
	name, from := "", ""
	if c != nil {
		name = c.name
	}
	if remote != nil {
		from = remote.String()
	}
	s.log.ErrorS(fmt.Sprint(cause, " ", code, " ", name), err, "Detector server refuses a client", "client", name, "from", from)
}

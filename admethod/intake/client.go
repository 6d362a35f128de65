// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Limits bound what one client may use.
type Limits struct {
	Streams int     // at one time, requests of HTTP included; 0 means 16
	Series  int     // properties that are scored at one time; 0 means 4,000
	Rate    float64 // readings a second, over all streams; 0 means 200,000, a negative one no bound
	Burst   int     // readings beyond the rate at one time; 0 means those of a second
	Memory  int     // MiB that its detectors may take, by what they declare; 0 means 512, a negative one no bound
	// Patience is how long a client that is too fast is only slowed down; after that its streams end with
	// ResourceExhausted and RetryInfo. 0 means 30 s.
	Patience time.Duration
}

// DefaultLimits are those of a client that has none of its own.
func DefaultLimits() Limits {
	return Limits{Streams: 16, Series: 4000, Rate: 200_000, Memory: 512, Patience: 30 * time.Second}
}

// Over takes the fields that are zero from base.
func (l Limits) Over(base Limits) Limits {
	if l.Rate == 0 {
		l.Rate, l.Burst = base.Rate, cmp.Or(l.Burst, base.Burst)
	}
	l.Streams, l.Series = cmp.Or(l.Streams, base.Streams), cmp.Or(l.Series, base.Series)
	l.Memory, l.Patience = cmp.Or(l.Memory, base.Memory), cmp.Or(l.Patience, base.Patience)
	return l
}

// Client is one who brings readings, over all of its connections: a client of an endpoint, or a source.
type Client struct {
	Name       string
	Namespaces []string // it may send for; "*" is every namespace
	Limits     Limits

	limiter *rate.Limiter
	chunk   int // readings that are paid for at once

	opening sync.Mutex // around the opening and closing of its series; taken before the intake's lock

	// Guarded by the intake.
	sessions, series int
	streams          map[string]*memory
}

// Client makes one known. Names are different from one another; all clients are known before [Intake.Run], unless the
// intake is driven.
func (in *Intake) Client(name string, namespaces []string, l Limits) *Client {
	l = l.Over(DefaultLimits())
	c := &Client{Name: name, Namespaces: namespaces, Limits: l, streams: make(map[string]*memory)}
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
	in.mu.Lock()
	defer in.mu.Unlock()
	in.clients = append(in.clients, c)
	in.budget[name] = max(int64(l.Memory)<<20, -1)
	return c
}

// Permit says why the client may not send for a namespace: PermissionDenied.
func (c *Client) Permit(namespace string) error {
	if slices.Contains(c.Namespaces, namespace) || slices.Contains(c.Namespaces, "*") {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "client %q may not send for namespace %.253q", c.Name, namespace)
}

// OverRate refuses a client that has sent more readings than its rate allows: ResourceExhausted.
func (c *Client) OverRate(now time.Time) error {
	limit := c.limiter.Limit()
	if limit == rate.Inf {
		return nil
	}
	missing := 1 - c.limiter.TokensAt(now)
	if missing <= 0 {
		return nil
	}
	wait := time.Duration(min(missing/float64(limit), 60) * float64(time.Second))
	return Exhausted(max(wait, time.Second), "client %q sends more than its %v readings a second", c.Name, c.Limits.Rate)
}

// Charge counts n readings against the rate that never came.
func (c *Client) Charge(now time.Time, n int) { c.limiter.ReserveN(now, min(n, c.limiter.Burst())) }

// pace pays for the readings that are to come, and waits while the client is over its rate. A client that makes it wait
// for more than half of the time that its patience lasts is refused, unless it waits for ever, as a source does.
func (s *Session) pace(ctx context.Context) error {
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
	if now.Sub(s.since) > c.Limits.Patience {
		if !s.tells && s.waited > c.Limits.Patience/2 && now.Sub(s.since) < 2*c.Limits.Patience {
			r.CancelAt(now)
			pause := time.Duration(float64(c.limiter.Burst()) / float64(c.limiter.Limit()) * float64(time.Second))
			return Exhausted(min(max(delay, pause, time.Second), time.Minute),
				"client %q sends more than its %v readings a second", c.Name, c.Limits.Rate)
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

// Exhausted is a refusal that says when to come again.
func Exhausted(wait time.Duration, format string, args ...any) error {
	st := status.Newf(codes.ResourceExhausted, format, args...)
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)}); err == nil {
		st = detailed
	}
	return st.Err()
}

// RetryAfter is when to come again after an error; 0 where it does not say.
func RetryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

// Refuse logs an error that ended a session or kept one from opening, once a minute for each cause. c and remote may be
// nil; what says of what kind it is, "" for a session.
func (in *Intake) Refuse(what string, c *Client, remote net.Addr, err error) {
	code := status.Code(err)
	switch code {
	case codes.OK, codes.Canceled, codes.Unavailable, codes.DeadlineExceeded:
		return
	}
	if code == codes.Unauthenticated { // of which there are few, and the client has no name
		what = err.Error()
	}
	name, from := "", ""
	if c != nil {
		name = c.Name
	}
	if remote != nil {
		from = remote.String()
	}
	in.log.ErrorS(fmt.Sprint(what, " ", code, " ", name), err, "Detector server refuses a client", "client", name, "from", from)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// The core beneath the endpoints, gRPC (stream.go) and HTTP. An endpoint only carries messages; permissions, limits and state are here:
//
//	c, err := server.identify(tls, authorization) // who is it? a gRPC status: Unauthenticated, PermissionDenied
//	s, err := server.open(c, limit)                // a status: ResourceExhausted, Unavailable
//	defer s.close()
//
// A stream: one goroutine calls ask for each message, and finish when no more come; another calls answers until it
// fails, sends what it got and gives it back with done. Each message that ask took without an error gets exactly one
// answer: at once where it cannot be judged (severity unknown, and the message says what was expected), else when its
// detector has judged, or when [Config.Deadline] has passed. Answers are in the order of the messages once one of them
// came without a sequence.
//
//	go func() { for { m := receive(); if err := s.ask(ctx, m); err != nil { s.finish(err); return } } }()
//	for { batch, err := s.answers(ctx); …send each &a.reply.Message…; s.done(batch) }
//
// A batch whose answers go back together is simpler, and needs one goroutine:
//
//	answers, err := s.exchange(ctx, messages) // exactly one answer for each message, in their order
//
// An error of ask, answers and exchange is a gRPC status that ends the session: PermissionDenied for a namespace that
// is not the client's where the message has no sequence, ResourceExhausted with errdetails.RetryInfo for too many readings (see retryAfter), Unavailable
// while the server shuts down. Errors that end a session go to server.refuse, which logs each cause once a minute.
//
// An endpoint is a function that serves until its context ends; run has any number of them and does all else:
//
//	server.run(ctx, func(ctx context.Context) error { … })
//
// It listens on server.guard(listener), which bounds connections that trickle: it calls settle on a connection when its
// first request has come. server.tlsConfig("h2", "http/1.1") has the newest certificates for each handshake, and
// server.refuseConn logs why a connection was not set up.
type session struct {
	server *Server
	client *client
	limit  int

	// Of the goroutine that asks.
	members   map[driver.Key]*member
	memory    *memory       // of the client's stream; nil where it gave no stream_id
	allowance int           // readings that are paid for
	throttled time.Time     // since when each reading has to wait; zero while none has to
	since     time.Time     // when waited began to count
	waited    time.Duration // for want of allowance
	key       driver.Key    // of the last reading, with its member, as readings come in bunches
	of        *member
	row       [1]driver.Sample // of a property that is scored alone

	some, room chan struct{} // signals to the goroutine that answers, and to the one that asks
	ended      chan struct{} // closed with the session's end

	mu            sync.Mutex
	ordered       bool
	first, newest *answer   // waiting, in the order of asking
	ready         []*answer // to be sent
	spare         []*answer // memory of ready
	idle          []*answer // to be used again
	open          int       // asked and not done
	wantsRoom     bool
	sleeping      bool  // the goroutine that answers
	end           error // why no more is asked
	closed        bool
}

var errAllAsked = errors.New("all is asked")

// open begins a session. At most limit messages are asked and not done; ask waits for room.
func (s *Server) open(c *client, limit int) (*session, error) {
	n := &session{
		server: s, client: c, limit: limit, members: make(map[driver.Key]*member),
		some: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining:
		return nil, errDrain
	case c.sessions >= c.limits.Streams:
		return nil, exhausted(time.Second, "client %q has %d streams already", c.name, c.sessions)
	case len(s.sessions) >= s.config.MaxStreams:
		return nil, exhausted(time.Second, "the server has %d streams already", len(s.sessions))
	}
	c.sessions++
	s.working.Add(1)
	s.sessions[n] = struct{}{}
	return n, nil
}

// close gives up what the session holds. What it still waits for is judged and forgotten.
func (s *session) close() {
	s.finish(errAllAsked)
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return
	}
	defer s.server.working.Done()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.server.sessions, s)
	s.client.sessions--
	for _, of := range s.members {
		if of.series != nil {
			delete(of.series.holders, s)
		}
	}
	if s.memory != nil {
		s.memory.sessions--
		s.memory.used = time.Now()
	}
}

// finish says that no more is asked; answers fails with err when all is answered. The first one counts.
func (s *session) finish(err error) {
	s.mu.Lock()
	if s.end == nil {
		s.end = err
		close(s.ended)
	}
	s.sleeping = false
	s.mu.Unlock()
	poke(s.some)
}

// cause is why no more is asked.
func (s *session) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ask takes a message; it reads m until it returns. It waits while the session is full or the client is too fast.
func (s *session) ask(ctx context.Context, m *pb.DevicePropertyData) error {
	if s.allowance--; s.allowance < 0 {
		if err := s.pace(ctx); err != nil {
			return err
		}
	}
	a, err := s.admit(ctx, m)
	if err != nil {
		return err
	}
	if err := s.take(m, a); err != nil { //nolint:contextcheck // a series outlives the request that opens it
		a.fail(status.Convert(err).Message())
		switch code := status.Code(err); {
		case code == codes.Unknown: // about the reading
		case code == codes.PermissionDenied && m.GetSequence() != 0:
			// A client that counts reads why in the answer; its other readings must not suffer for one device.
			s.server.refuse(s.client, nil, err)
		default: // a status ends the session
			return err
		}
	}
	return nil
}

// admit waits for room.
func (s *session) admit(ctx context.Context, m *pb.DevicePropertyData) (*answer, error) {
	s.mu.Lock()
	for s.open >= s.limit && s.end == nil {
		s.wantsRoom = true
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-s.ended:
		case <-s.room:
		}
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if s.end != nil {
		return nil, s.end
	}
	var a *answer
	if n := len(s.idle); n > 0 {
		a, s.idle = s.idle[n-1], s.idle[:n-1]
	} else {
		a = &answer{session: s}
	}
	a.set(m, s.server.clock.Load())
	if m.GetSequence() == 0 {
		s.ordered = true
	}
	s.open++
	if a.previous = s.newest; a.previous != nil {
		a.previous.next = a
	} else {
		s.first = a
	}
	s.newest = a
	return a, nil
}

// deliver makes an answer ready that nobody else writes to any more.
func (s *session) deliver(a *answer) {
	s.mu.Lock()
	a.ready = true
	if s.ordered {
		for s.first != nil && s.first.ready {
			s.toReady(s.first)
		}
	} else {
		s.toReady(a)
	}
	wake := s.sleeping && len(s.ready) > 0
	if wake {
		s.sleeping = false
	}
	s.mu.Unlock()
	if wake {
		poke(s.some)
	}
}

func (s *session) toReady(a *answer) {
	if a.previous != nil {
		a.previous.next = a.next
	} else {
		s.first = a.next
	}
	if a.next != nil {
		a.next.previous = a.previous
	} else {
		s.newest = a.previous
	}
	a.next, a.previous = nil, nil
	s.ready = append(s.ready, a)
}

// answers waits for at least one answer. The slice is valid until done.
func (s *session) answers(ctx context.Context) ([]*answer, error) {
	for {
		s.mu.Lock()
		if len(s.ready) > 0 {
			batch := s.ready
			s.ready, s.spare = s.spare[:0], nil
			s.mu.Unlock()
			return batch, nil
		}
		if s.end != nil && s.first == nil {
			s.mu.Unlock()
			if errors.Is(s.end, errAllAsked) {
				return nil, io.EOF
			}
			return nil, s.end
		}
		s.sleeping = true
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-s.some:
		}
	}
}

// done gives answers back that are sent.
func (s *session) done(batch []*answer) {
	s.mu.Lock()
	s.open -= len(batch)
	for _, a := range batch {
		if !a.keep {
			s.idle = append(s.idle, a)
		}
	}
	clear(batch)
	s.spare = batch[:0]
	wake := s.wantsRoom
	s.wantsRoom = false
	s.mu.Unlock()
	if wake {
		poke(s.room)
	}
}

// exchange asks all messages and returns their answers in the same order. The session's limit must not be less than
// their number. The answers belong to the caller.
func (s *session) exchange(ctx context.Context, messages []*pb.DevicePropertyData) ([]*pb.AnomalyResponse, error) {
	if len(messages) > s.limit {
		return nil, status.Errorf(codes.ResourceExhausted, "%d readings at once, want at most %d", len(messages), s.limit)
	}
	s.mu.Lock()
	s.ordered = true
	s.mu.Unlock()
	for _, m := range messages {
		if err := s.ask(ctx, m); err != nil {
			return nil, err
		}
	}
	out := make([]*pb.AnomalyResponse, 0, len(messages))
	for len(out) < len(messages) {
		batch, err := s.answers(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range batch {
			a.keep = true
			out = append(out, &a.reply.Message)
		}
		s.done(batch)
	}
	return out, nil
}

// expire answers what waits since before limit.
func (s *session) expire(limit int64, deadline time.Duration) {
	var late []*answer
	s.mu.Lock()
	for a := s.first; a != nil && a.asked < limit; a = a.next {
		if a.claim() {
			a.keep = true // its series may still know it
			late = append(late, a)
		}
	}
	s.mu.Unlock()
	for _, a := range late {
		a.write(fmt.Sprintf("not judged within %v", deadline))
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

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
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Session is the readings of one connection of a client, and the answers to them. Permissions, limits and state are here;
// an endpoint only carries messages. [Intake.Open] begins one, [Session.Close] ends it.
//
// A stream: one goroutine calls Ask for each message, and Finish when no more come; another calls Answers until it
// fails, sends what it got and gives it back with Done. Each message that Ask took without an error gets exactly one
// answer: at once where it cannot be judged (severity unknown, and the message says what was expected), else when its
// detector has judged, or when [Config.Deadline] has passed. Answers are in the order of the messages once one of them
// came without a sequence.
//
//	go func() { for { m := receive(); if err := s.Ask(ctx, m); err != nil { s.Finish(err); return } } }()
//	for { batch, err := s.Answers(ctx); …send each &a.Reply.Message…; s.Done(batch) }
//
// A batch whose answers go back together is simpler, and needs one goroutine:
//
//	answers, err := s.Exchange(ctx, messages) // exactly one answer for each message, in their order
//
// An error of Open, Ask, Answers and Exchange is a gRPC status that ends the session: PermissionDenied for a namespace that
// is not the client's where the message has no sequence, ResourceExhausted with errdetails.RetryInfo for too much (see
// [RetryAfter]), Unavailable while the intake drains. They are for [Intake.Refuse], which logs each cause once a minute.
type Session struct {
	intake *Intake
	client *Client
	limit  int
	tells  bool // verdicts are told one by one, to those who wait for them: there are no messages to send

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
	wide      driver.Row       // of a group

	some, room chan struct{} // signals to the goroutine that answers, and to the one that asks
	ended      chan struct{} // closed with the session's end

	mu            sync.Mutex
	ordered       bool
	first, newest *Answer   // waiting, in the order of asking
	ready         []*Answer // to be sent
	spare         []*Answer // memory of ready
	idle          []*Answer // to be used again
	open          int       // asked and not done
	wantsRoom     bool
	sleeping      bool  // the goroutine that answers
	end           error // why no more is asked
	closed        bool
}

// ErrAllAsked is for [Session.Finish] where nothing went wrong.
var ErrAllAsked = errors.New("all is asked")

// Open begins a session. At most limit messages are asked and not done; Ask waits for room.
func (in *Intake) Open(c *Client, limit int) (*Session, error) { return in.open(c, limit, false) }

func (in *Intake) open(c *Client, limit int, tells bool) (*Session, error) {
	n := &Session{
		intake: in, client: c, limit: limit, tells: tells, members: make(map[driver.Key]*member),
		some: make(chan struct{}, 1), room: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.draining:
		return nil, errDrain
	case c.sessions >= c.Limits.Streams:
		return nil, Exhausted(time.Second, "client %q has %d streams already", c.Name, c.sessions)
	case len(in.sessions) >= in.Config.MaxStreams:
		return nil, Exhausted(time.Second, "the server has %d streams already", len(in.sessions))
	}
	c.sessions++
	in.working.Add(1)
	in.sessions[n] = struct{}{}
	return n, nil
}

// Close gives up what the session holds. What it still waits for is judged and forgotten.
func (s *Session) Close() {
	s.Finish(ErrAllAsked)
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return
	}
	defer s.intake.working.Done()
	s.intake.mu.Lock()
	defer s.intake.mu.Unlock()
	delete(s.intake.sessions, s)
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

// Finish says that no more is asked; Answers fails with err when all is answered. The first one counts.
func (s *Session) Finish(err error) {
	s.mu.Lock()
	if s.end == nil {
		s.end = err
		close(s.ended)
	}
	s.sleeping = false
	s.mu.Unlock()
	wait.Wake(s.some)
}

// Throttled reports whether readings have to wait, as the client is over its rate. It is for the goroutine that asks.
func (s *Session) Throttled() bool { return !s.throttled.IsZero() }

// Client is whose session it is.
func (s *Session) Client() *Client { return s.client }

// cause is why no more is asked.
func (s *Session) cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Ask takes a message; it reads m until it returns. It waits while the session is full or the client is too fast.
func (s *Session) Ask(ctx context.Context, m *pb.DevicePropertyData) error {
	if s.allowance--; s.allowance < 0 {
		if err := s.pace(ctx); err != nil {
			return err
		}
	}
	a, err := s.admit(ctx, m.GetSequence() == 0)
	if err != nil {
		return err
	}
	a.set(m)
	if err := s.take(m, a); err != nil { //nolint:contextcheck // a series outlives the request that opens it
		a.fail(status.Convert(err).Message())
		switch code := status.Code(err); {
		case code == codes.Unknown: // about the reading
		case code == codes.PermissionDenied && m.GetSequence() != 0:
			// A client that counts reads why in the answer; its other readings must not suffer for one device.
			s.intake.Refuse("", s.client, nil, err)
		default: // a status ends the session
			return err
		}
	}
	return nil
}

// admit waits for room.
func (s *Session) admit(ctx context.Context, ordered bool) (*Answer, error) {
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
	var a *Answer
	if n := len(s.idle); n > 0 {
		a, s.idle = s.idle[n-1], s.idle[:n-1]
	} else {
		a = &Answer{session: s}
	}
	s.open++
	s.ordered = s.ordered || ordered
	a.asked, a.ready, a.keep = s.intake.clock.Load(), false, false
	if a.previous = s.newest; a.previous != nil {
		a.previous.next = a
	} else {
		s.first = a
	}
	s.newest = a
	return a, nil
}

// deliver makes an answer ready that nobody else writes to any more.
func (s *Session) deliver(a *Answer) {
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
		wait.Wake(s.some)
	}
}

// forget takes an answer that is told out of what waits.
func (s *Session) forget(a *Answer) {
	s.mu.Lock()
	s.unlink(a)
	s.open--
	if !a.keep {
		s.idle = append(s.idle, a)
	}
	wake := s.wantsRoom
	s.wantsRoom = false
	last := s.end != nil && s.first == nil
	s.mu.Unlock()
	if wake {
		wait.Wake(s.room)
	}
	if last {
		wait.Wake(s.some)
	}
}

// unlink takes an answer out of the list. The caller holds the lock.
func (s *Session) unlink(a *Answer) {
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
}

func (s *Session) toReady(a *Answer) {
	s.unlink(a)
	s.ready = append(s.ready, a)
}

// Answers waits for at least one answer. The slice is valid until Done.
func (s *Session) Answers(ctx context.Context) ([]*Answer, error) {
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
			if errors.Is(s.end, ErrAllAsked) {
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

// Done gives answers back that are sent.
func (s *Session) Done(batch []*Answer) {
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
		wait.Wake(s.room)
	}
}

// Exchange asks all messages and returns their answers in the same order. The session's limit must not be less than
// their number. The answers belong to the caller.
func (s *Session) Exchange(ctx context.Context, messages []*pb.DevicePropertyData) ([]*pb.AnomalyResponse, error) {
	if len(messages) > s.limit {
		return nil, status.Errorf(codes.ResourceExhausted, "%d readings at once, want at most %d", len(messages), s.limit)
	}
	s.mu.Lock()
	s.ordered = true
	s.mu.Unlock()
	for _, m := range messages {
		if err := s.Ask(ctx, m); err != nil {
			return nil, err
		}
	}
	out := make([]*pb.AnomalyResponse, 0, len(messages))
	for len(out) < len(messages) {
		batch, err := s.Answers(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range batch {
			a.keep = true
			out = append(out, &a.Reply.Message)
		}
		s.Done(batch)
	}
	return out, nil
}

// expire answers what waits since before limit.
func (s *Session) expire(limit int64, deadline time.Duration) {
	var late []*Answer
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

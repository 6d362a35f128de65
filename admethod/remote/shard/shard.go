// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package shard is a transport to several detectors that share the streams of a link. A stream goes to one of them, by
// a hash of its device, so that what a detector learns about a device stays in one place; all properties of a device, and
// all members of a group, go to the same detector. While a detector is away its streams are spread over the others, and
// nothing else moves (rendezvous hashing). They return when it does.
//
// The detectors need not know of each other, and neither do the mappers: the same addresses give the same places.
package shard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Target is a detector.
type Target struct {
	Address   string // it decides what goes there: keep it when the detector moves
	Transport remote.Transport
}

// Prober is a transport that can ask whether its detector works. Where it is not implemented, a detector that can be
// connected to counts as working, even when it hangs.
type Prober interface {
	// Probe fails when the detector is known not to work. One that cannot tell works.
	Probe(ctx context.Context) error
}

// Options bound waits. Zero values have defaults.
type Options struct {
	Timeout time.Duration // without an answer, after which a detector is away; 10 s
	Backoff time.Duration // longest wait between two tries to reach a detector that is away; 30 s
	Grace   time.Duration // for the other detectors once one is connected; 1 s
}

const (
	firstBackoff = 250 * time.Millisecond
	drainLimit   = 2 * time.Second // for answers of the others when a detector comes or goes
)

// transport is several targets, most of which should work.
type transport struct {
	options Options
	targets []*target

	sessions sync.WaitGroup // goroutines of the last session; they end with its context
}

// Open makes a transport to each address of a list, separated by commas, and joins them. A single address is as good.
// An error names no address, which may hold a password.
func Open(list string, o Options, open func(address string) (remote.Transport, error)) (remote.Transport, error) {
	var targets []Target
	for i, address := range strings.Split(list, ",") {
		address = strings.TrimSpace(address)
		err := errors.New("empty")
		var to remote.Transport
		if address != "" {
			to, err = open(address)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("address %d: %w", i+1, err), closeAll(targets))
		}
		targets = append(targets, Target{address, to})
	}
	t, err := New(targets, o)
	if err != nil {
		return nil, errors.Join(err, closeAll(targets))
	}
	return t, nil
}

func closeAll(targets []Target) error {
	var errs []error
	for _, t := range targets {
		errs = append(errs, t.Transport.Close())
	}
	return errors.Join(errs...)
}

// New joins targets, of which there must be at least one, all different. The transport owns those of the targets. A
// single target's transport is returned as it is.
func New(targets []Target, o Options) (remote.Transport, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Backoff <= 0 {
		o.Backoff = 30 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = time.Second
	}
	t := &transport{options: o}
	for i, to := range targets {
		if slices.ContainsFunc(targets[:i], func(other Target) bool { return other.Address == to.Address }) {
			return nil, fmt.Errorf("address %q: named twice", to.Address)
		}
		t.targets = append(t.targets, &target{address: to.Address, seed: hash(to.Address), transport: to.Transport,
			backoff: wait.Backoff{First: firstBackoff, Longest: o.Backoff}})
	}
	switch len(targets) {
	case 0:
		return nil, errors.New("address: want at least one")
	case 1:
		return targets[0].Transport, nil
	}
	return t, nil
}

// Open connects to all detectors that can be reached. It fails when there is none.
func (t *transport) Open(ctx context.Context) (remote.Session, error) {
	t.sessions.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{ctx: ctx, cancel: cancel, owner: t, answers: make(chan delivery), reasons: make(chan error, 1), idle: make(chan struct{})}
	opened := make(chan *attempt, len(t.targets))
	var attempts []*attempt
	for _, to := range t.due() {
		attempts = append(attempts, t.attempt(ctx, to, opened))
	}
	errs := t.collect(ctx, opened, attempts, s)
	if len(s.lanes) == 0 {
		cancel(nil)
		t.sessions.Wait()
		return nil, joined(errs)
	}
	for _, l := range s.lanes {
		t.sessions.Go(func() {
			if err := guard.Do("the receiver of a detector's answers", func() { s.receive(l) }); err != nil {
				s.lose(l, err)
			}
		})
	}
	t.sessions.Go(func() {
		if err := guard.Do("the watch over detectors elsewhere", s.supervise); err != nil {
			s.cancel(err)
		}
	})
	for _, to := range t.targets {
		if !slices.ContainsFunc(s.lanes, func(l *lane) bool { return l.target == to }) {
			t.sessions.Go(func() { guard.Loop(ctx, "the search for a detector", func(ctx context.Context) { s.seek(ctx, to) }) })
		}
	}
	return s, nil
}

// attempt begins to open a session with a target.
func (t *transport) attempt(ctx context.Context, to *target, opened chan<- *attempt) *attempt {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{target: to, cancel: cancel}
	t.sessions.Go(func() {
		a.err = guard.Call("a transport", func() (err error) {
			a.session, err = to.open(ctx, t.options.Timeout)
			return err
		})
		opened <- a
	})
	return a
}

// collect waits for the attempts, for the slower ones within the grace, and makes lanes of those that succeeded, in the
// order of the targets.
func (t *transport) collect(ctx context.Context, opened <-chan *attempt, attempts []*attempt, s *session) []error {
	var errs []error
	grace := time.NewTimer(t.options.Timeout) // until one is there, the link's own patience counts
	defer grace.Stop()
	open := false
wait:
	for range attempts {
		select {
		case a := <-opened:
			if a.done = true; a.err != nil {
				a.target.failed()
				errs = append(errs, fmt.Errorf("%s: %w", a.target.address, a.err))
			} else if !open {
				open = true
				grace.Reset(t.options.Grace)
			}
		case <-grace.C:
			break wait
		case <-ctx.Done():
			errs = append(errs, context.Cause(ctx))
			break wait
		}
	}
	for _, a := range attempts {
		if a.done && a.err == nil {
			a.target.began = time.Now()
			s.lanes = append(s.lanes, &lane{target: a.target, session: a.session, next: make(chan struct{}, 1), moved: time.Now()})
			continue
		}
		a.cancel(errors.New("the other detectors do not wait for it any longer"))
		if !a.done {
			a.target.failed()
			errs = append(errs, fmt.Errorf("%s: no connection yet", a.target.address))
		}
	}
	return errs
}

// due are the targets to try: those whose wait is over, or all where it is so for none.
func (t *transport) due() []*target {
	now := time.Now()
	var due []*target
	for _, to := range t.targets {
		if !to.until.After(now) {
			due = append(due, to)
		}
	}
	if len(due) == 0 {
		return t.targets
	}
	return due
}

// joined is the error of an Open without success. Permanent is only what cannot succeed anywhere.
func joined(errs []error) error {
	for _, err := range errs {
		if _, retry := admethod.RetryAfter(err); retry {
			return err
		}
	}
	return errors.Join(errs...)
}

func (t *transport) Close() error {
	t.sessions.Wait()
	var errs []error
	for _, to := range t.targets {
		errs = append(errs, to.transport.Close())
	}
	return errors.Join(errs...)
}

// attempt is a try to open a session with a target.
type attempt struct {
	target  *target
	cancel  context.CancelCauseFunc // of the session
	done    bool
	session remote.Session
	err     error
}

// target is one detector. The link's goroutine writes to it, or the one that supervises a session, never both at a time.
type target struct {
	address   string
	seed      uint64
	transport remote.Transport

	began   time.Time // of the last session
	until   time.Time // it is not tried before
	backoff wait.Backoff
}

// failed makes the next try wait, the longer the more often it fails in a row.
func (t *target) failed() {
	now := time.Now()
	if !t.began.IsZero() && now.Sub(t.began) > 2*t.backoff.Longest { // it worked well for a while
		t.backoff.Reset()
	}
	t.began = time.Time{}
	t.until = now.Add(t.backoff.Next())
}

// open opens a session with a detector that works.
func (t *target) open(ctx context.Context, timeout time.Duration) (remote.Session, error) {
	if p, ok := t.transport.(Prober); ok {
		ask, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		if err := p.Probe(ask); err != nil {
			if ask.Err() != nil {
				t.reconnect()
			}
			return nil, err
		}
	}
	s, err := t.transport.Open(ctx)
	if err != nil && ctx.Err() != nil {
		t.reconnect()
	}
	return s, err
}

// reconnect gives up a connection on which nothing was answered in time.
func (t *target) reconnect() {
	if r, ok := t.transport.(remote.Reconnecter); ok {
		r.Reconnect()
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	batchSize    = 256
	firstBackoff = 100 * time.Millisecond
)

// link carries the rows of all streams of one target. Its run goroutine connects and sends; each session has a
// goroutine that receives, and one that watches. A spool and a fallback have one each.
//
// A row goes from the inbox to the queue, is sent and is then pending until it is answered. What was pending when a
// session ends is lost or, with a spool, sent again.
//
// Locks are taken in the order delivering, mu, that of the inbox.
type link struct {
	inbox     inbox
	kind      string
	config    Config
	hooks     *admethod.Hooks
	connect   func(streamID string) (Transport, error)
	transport Transport // of the run goroutine
	cancel    context.CancelFunc
	wake      chan struct{} // to the sender: something waits, or there is room in flight
	keeper    *keeper       // nil with delivery latest
	local     atomic.Bool
	judge     chan struct{} // to the fallback: it is its turn; nil where there is none

	mu        sync.Mutex
	queue     ring // to be sent
	retry     ring // to be sent before: again, or from the disk
	pending   ring // sent and not answered
	streams   map[*Stream]struct{}
	closed    bool
	up        bool   // a session is open
	full      bool   // there was no more room in flight
	judging   int    // rows that the fallback has at hand
	probes    int    // rows that were judged and are sent all the same, to see whether the detector is back
	answers   uint64 // so far
	sequence  uint64 // of the last sample that has one
	position  uint64 // of the last sample sent in the session
	counted   uint64 // position of the last answer that carried no sequence
	cause     error  // why the last session ended
	interrupt context.CancelCauseFunc
	quiet     sync.Cond

	delivering sync.Mutex // verdicts come one at a time, and not while rows move between memory and disk
	result     driver.Result
	row        []driver.Sample
	toldStale  time.Time

	session uint64 // number of the session; of the sender
	batch   []Request
	logged  logs.Limiter
	failure error // of the run goroutine: what was lost at the end
}

func newLink(kind string, config Config, hooks *admethod.Hooks) *link {
	l := &link{
		kind: kind, config: config, hooks: hooks,
		wake: make(chan struct{}, 1), streams: make(map[*Stream]struct{}),
		queue:   ring{limit: max(config.Queue, chunkRows)},
		retry:   ring{limit: config.MaxInFlight + batchSize},
		pending: ring{limit: config.MaxInFlight + batchSize},
		batch:   make([]Request, batchSize),
		cause:   errors.New("not connected yet"),
	}
	if config.Fallback != "" {
		l.judge = make(chan struct{}, 1)
	}
	l.quiet.L = &l.mu
	l.inbox.open(config.Queue)
	return l
}

func (l *link) add(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[s] = struct{}{}
	if l.keeper != nil {
		l.keeper.add(s)
		l.signal()
	}
}

func (l *link) remove(s *Stream) {
	s.closed.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, s)
	if l.keeper != nil {
		l.keeper.remove(s)
	}
}

// submit queues a row; false means that a row was lost, this one or an older one.
func (l *link) submit(s *Stream, row driver.Row) bool {
	if len(row) == 0 {
		return true
	}
	lost, wake, closed := l.inbox.put(s, row)
	if wake {
		l.signal()
	}
	if closed {
		s.Settings.Dropped(1)
	}
	return !lost
}

// tend does what those who observe leave to others.
func (l *link) tend() {
	l.inbox.prepare()
	for _, d := range l.inbox.dropped() {
		d.s.Settings.Dropped(d.n)
	}
}

func (l *link) signal() { wait.Wake(l.wake) }

// outstanding is the number of rows that are not answered, as far as it is known: at least 1 where there are any. The
// caller holds l.mu.
func (l *link) outstanding() int {
	n := l.inbox.len() + l.queue.n + l.retry.n + l.pending.n + l.judging - l.probes
	if l.keeper != nil && l.keeper.behind() {
		n += max(1, l.keeper.waiting()-n)
	}
	return n
}

// settle tells those who wait that nothing is outstanding, if that is so. The caller holds l.mu.
func (l *link) settle() {
	if l.outstanding() == 0 {
		l.inbox.settled()
		l.quiet.Broadcast()
	}
}

// flush waits until nothing waits; with whileUp, or until no session is open.
func (l *link) flush(ctx context.Context, whileUp bool) error {
	defer l.tend() // what was dropped is told
	l.mu.Lock()
	defer l.mu.Unlock()
	wait.Cond(ctx, &l.quiet, func() bool {
		return l.outstanding() == 0 || l.closed || whileUp && !l.up && !l.local.Load()
	})
	if n := l.outstanding(); n > 0 {
		err := l.cause
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("%s: %s: %d readings are not answered: %w", l.kind, l.config.Address, n, err)
	}
	return nil
}

// run keeps a session until ctx ends.
func (l *link) run(ctx context.Context) {
	var helpers sync.WaitGroup
	helpers.Go(func() { guard.Loop(ctx, "the watch over a remote detector", l.watchStale) })
	if l.keeper != nil {
		helpers.Go(func() { guard.Loop(ctx, "the keeper of a spool", l.keep) })
	}
	if l.judge != nil {
		helpers.Go(func() { guard.Loop(ctx, "a fallback", l.judgeLocally) })
	}
	backoff := wait.Backoff{First: firstBackoff, Longest: l.config.Backoff}
	for ctx.Err() == nil {
		answered := l.answered()
		err := guard.Call("a remote link", func() error {
			if err := l.renew(); err != nil {
				return err
			}
			return l.hold(ctx)
		})
		if ctx.Err() != nil {
			break
		}
		if l.answered() != answered {
			backoff.Reset()
		}
		pause := backoff.Next()
		atLeast, retry := admethod.RetryAfter(err)
		if !retry { // the detector may be set right while the mapper runs
			atLeast = l.config.Backoff
		}
		l.logged.Warningf("", "%s: detector at %s is away: %v", l.kind, l.config.Address, err)
		_ = wait.Sleep(ctx, max(pause, min(atLeast, time.Hour))) // the loop sees the end
	}
	helpers.Wait()
	_ = guard.Do("the end of a remote link", l.end) // is logged
}

// end gives up what is left, but for what the spool keeps.
func (l *link) end() {
	l.inbox.close()
	l.tend()
	var errs []error
	if l.keeper != nil {
		errs = append(errs, l.keepAll())
	}
	var lost []*Stream
	l.mu.Lock()
	l.closed = true
	if l.keeper == nil || errs[0] != nil {
		for c := l.inbox.take(); c != nil; c = l.inbox.take() {
			for i := c.first; i < c.n; i++ {
				lost = append(lost, c.rows[i].s)
			}
		}
		for _, r := range []*ring{&l.pending, &l.retry, &l.queue} {
			lost = append(lost, r.drain()...)
		}
	}
	l.quiet.Broadcast()
	l.mu.Unlock()
	count(lost)
	if len(lost) > 0 {
		errs = append(errs, fmt.Errorf("%d readings were not answered", len(lost)))
	}
	errs = append(errs, l.transport.Close())
	if err := errors.Join(errs...); err != nil {
		l.failure = fmt.Errorf("%s: %s: %w", l.kind, l.config.Address, err)
		logs.Warningf("%v", l.failure)
	}
}

// renew makes the transport anew when the spool that was found belongs to another stream ID.
func (l *link) renew() error {
	if l.keeper == nil || !l.adoptLate() {
		return nil
	}
	next, err := l.connect(l.keeper.streamID)
	if err != nil {
		return err
	}
	err = l.transport.Close()
	l.transport = next
	return err
}

func (l *link) answered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// count tells the streams that each lost a row. The caller holds no lock, as a hook may submit.
func count(losers []*Stream) {
	for _, s := range losers {
		s.Settings.Dropped(1)
	}
}

// hold opens a session and keeps it while it works. It returns why the session ended.
func (l *link) hold(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	opening := time.AfterFunc(l.config.Timeout, func() { cancel(fmt.Errorf("no connection: %w within %v", errSilent, l.config.Timeout)) })
	var session Session
	err := guard.Call("a transport", func() (err error) {
		session, err = l.transport.Open(ctx)
		return err
	})
	opening.Stop()
	if err == nil {
		l.session++
		l.mu.Lock()
		l.up, l.full, l.counted, l.position, l.interrupt = true, false, 0, 0, cancel
		l.mu.Unlock()
		var wg sync.WaitGroup
		wg.Go(func() {
			cancel(guard.Call("the receiver of a remote link", func() error { return l.receive(session) }))
		})
		wg.Go(func() {
			guard.Loop(ctx, "the watch over a session", func(ctx context.Context) { l.watchProgress(ctx, cancel) })
		})
		cancel(guard.Call("the sender of a remote link", func() error { return l.send(ctx, session) }))
		wg.Wait()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if r, ok := l.transport.(Reconnecter); ok && errors.Is(err, errSilent) {
		r.Reconnect()
	}
	if l.judge != nil && l.keeper == nil {
		l.judgePending()
	}
	l.mu.Lock()
	l.up, l.cause, l.interrupt = false, err, nil
	var lost []*Stream
	if l.keeper != nil {
		l.requeue()
	} else {
		lost = append(l.pending.drain(), l.retry.drain()...)
		l.probes = 0
	}
	l.quiet.Broadcast()
	l.mu.Unlock()
	count(lost)
	return err
}

// requeue makes what was sent and not answered the next to be sent. The caller holds l.mu.
func (l *link) requeue() {
	for ; l.retry.n > 0; l.retry.pop() { // what the session did not come to send again is behind what it sent
		l.pending.move(l.retry.at(0))
	}
	for ; l.pending.n > 0; l.pending.pop() {
		it := l.pending.at(0)
		if it.s == nil {
			continue
		}
		if it.position != 0 {
			it.attempt++
			it.position = 0
		}
		l.retry.move(it)
	}
}

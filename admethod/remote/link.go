// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	batchSize    = 256
	firstBackoff = 100 * time.Millisecond
	logEvery     = time.Minute
)

// link carries the rows of all streams of one target. Its run goroutine connects and sends; each session has a
// goroutine that receives, and one that watches.
type link struct {
	kind      string
	config    Config
	transport Transport
	cancel    context.CancelFunc
	wake      chan struct{} // to the sender: something waits, or there is room in flight

	mu       sync.Mutex
	queue    ring // to be sent
	pending  ring // sent and not answered
	streams  map[*Stream]struct{}
	closed   bool
	up       bool   // a session is open
	owed     bool   // readings were submitted after the last moment at which all were answered
	answers  uint64 // so far
	sequence uint64 // of the last sample sent
	counted  uint64 // sequence of the last answer that carried none
	cause    error  // why the last session ended
	quiet    sync.Cond

	delivering sync.Mutex // verdicts come one at a time
	result     driver.Result
	row        []driver.Sample

	session uint64 // number of the session; of the sender
	batch   []Request
	logged  time.Time // of the run goroutine
}

func newLink(kind string, config Config, transport Transport) *link {
	l := &link{
		kind: kind, config: config, transport: transport,
		wake: make(chan struct{}, 1), streams: make(map[*Stream]struct{}),
		queue: ring{limit: config.Queue}, pending: ring{limit: config.MaxInFlight},
		batch: make([]Request, batchSize),
		cause: errors.New("not connected yet"),
	}
	l.quiet.L = &l.mu
	return l
}

func (l *link) add(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[s] = struct{}{}
}

func (l *link) remove(s *Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.closed = true
	delete(l.streams, s)
}

// submit queues a row; false means that a row was lost, this one or an older one.
func (l *link) submit(s *Stream, row driver.Row) bool {
	if len(row) == 0 {
		return true
	}
	var loser *Stream
	l.mu.Lock()
	if l.closed || s.closed {
		l.mu.Unlock()
		s.Settings.Dropped(1)
		return false
	}
	if l.queue.n == l.queue.limit {
		loser = l.queue.at(0).s
		l.queue.pop()
	}
	it := l.queue.push()
	it.s, it.row = s, append(it.row[:0], row...)
	s.last, l.owed = row[0].At, true
	wake := l.queue.n == 1
	l.mu.Unlock()
	if wake {
		l.signal()
	}
	if loser != nil {
		loser.Settings.Dropped(1)
		return false
	}
	return true
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flush waits until nothing waits; with whileUp, or until no session is open.
func (l *link) flush(ctx context.Context, whileUp bool) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		l.quiet.Broadcast()
		l.mu.Unlock()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.queue.n+l.pending.n > 0 && ctx.Err() == nil && !l.closed && (l.up || !whileUp) {
		l.quiet.Wait()
	}
	if n := l.queue.n + l.pending.n; n > 0 {
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
	var watching sync.WaitGroup
	watching.Go(func() { l.watchStale(ctx) })
	backoff := firstBackoff
	for ctx.Err() == nil {
		answered := l.answered()
		err := l.hold(ctx)
		if ctx.Err() != nil {
			break
		}
		if l.answered() != answered {
			backoff = firstBackoff
		}
		wait := backoff/2 + rand.N(backoff) // half to one and a half: mappers do not come back all at once
		backoff = min(2*backoff, l.config.Backoff)
		atLeast, retry := admethod.RetryAfter(err)
		if !retry { // the detector may be set right while the mapper runs
			atLeast = l.config.Backoff
		}
		if now := time.Now(); now.Sub(l.logged) >= logEvery {
			l.logged = now
			klog.Warningf("%s: detector at %s is away: %v", l.kind, l.config.Address, err)
		}
		timer := time.NewTimer(max(wait, min(atLeast, time.Hour)))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	watching.Wait()
	l.mu.Lock()
	l.closed = true
	lost := append(l.pending.drain(), l.queue.drain()...)
	l.quiet.Broadcast()
	l.mu.Unlock()
	count(lost)
	if err := l.transport.Close(); err != nil {
		klog.Warningf("%s: %s: close: %v", l.kind, l.config.Address, err)
	}
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
	opening := time.AfterFunc(l.config.Timeout, func() { cancel(fmt.Errorf("no connection within %v", l.config.Timeout)) })
	session, err := l.transport.Open(ctx)
	opening.Stop()
	if err == nil {
		l.session++
		l.mu.Lock()
		l.up, l.counted = true, l.sequence
		l.mu.Unlock()
		var wg sync.WaitGroup
		wg.Go(func() { cancel(l.receive(session)) })
		wg.Go(func() { l.watchProgress(ctx, cancel) })
		cancel(l.send(ctx, session))
		wg.Wait()
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	l.mu.Lock()
	l.up, l.cause = false, err
	lost := l.pending.drain()
	l.quiet.Broadcast()
	l.mu.Unlock()
	count(lost)
	return err
}

// send sends what waits until ctx ends.
func (l *link) send(ctx context.Context, session Session) error {
	for {
		batch := l.take()
		if len(batch) > 0 {
			if err := session.Send(batch); errors.Is(err, io.EOF) {
				<-ctx.Done() // the receiver knows why
				return context.Cause(ctx)
			} else if err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.wake:
		}
		if l.config.Window > 0 {
			timer := time.NewTimer(l.config.Window)
			select {
			case <-ctx.Done():
				timer.Stop()
				return context.Cause(ctx)
			case <-timer.C:
			}
		}
	}
}

// take moves rows that wait to those in flight. The requests have copies of the rows: answers may come while they are
// being sent.
func (l *link) take() []Request {
	var lost []*Stream // of streams that were closed meanwhile
	defer func() { count(lost) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < batchSize && l.queue.n > 0 && l.pending.n < l.pending.limit {
		from := l.queue.at(0)
		s := from.s
		if s.closed {
			lost = append(lost, s)
			l.queue.pop()
			l.owed = l.queue.n+l.pending.n > 0
			continue
		}
		to := l.pending.push()
		to.s, to.sequence = s, l.sequence+1
		to.row, from.row = from.row, to.row
		l.sequence += uint64(len(to.row))
		l.queue.pop()
		s.rows++
		r := &l.batch[n]
		r.Stream, r.Sequence, r.Number, r.First = s, to.sequence, s.rows, s.session != l.session
		r.Row = append(r.Row[:0], to.row...)
		s.session = l.session
		n++
	}
	if l.queue.n+l.pending.n == 0 {
		l.quiet.Broadcast()
	}
	return l.batch[:n]
}

// receive delivers answers until the session fails.
func (l *link) receive(session Session) error {
	for {
		sequence, fill, err := session.Receive()
		if err != nil {
			return err
		}
		if err := l.answer(sequence, fill); err != nil {
			return err
		}
	}
}

// answer delivers the verdict on the row that the sequence belongs to.
func (l *link) answer(sequence uint64, fill func(*Stream, *driver.Result)) error {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.mu.Lock()
	if sequence == 0 {
		l.counted++
		sequence = l.counted
	}
	if sequence > l.sequence {
		l.mu.Unlock()
		return fmt.Errorf("the detector answers request %d, which was never sent", sequence)
	}
	it := l.pending.find(sequence)
	if it == nil || it.s == nil || sequence != it.sequence+uint64(len(it.row))-1 {
		l.mu.Unlock()
		return nil // answered before, of a session before, or not the last member of its row
	}
	s := it.s
	l.row = append(l.row[:0], it.row...)
	it.s = nil
	l.answers++
	closed := s.closed
	l.mu.Unlock()
	if !closed {
		l.result.Reset(l.row)
		l.result.Threshold = s.Settings.Config.Threshold
		fill(s, &l.result)
		s.stale = false
		s.Settings.Deliver(&l.result, l.row)
	}
	// Only now: a flush that sees nothing in flight has its verdicts.
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.pending.n == l.pending.limit
	for l.pending.n > 0 && l.pending.at(0).s == nil {
		l.pending.pop()
	}
	if full && l.pending.n < l.pending.limit {
		l.signal()
	}
	if l.queue.n+l.pending.n == 0 {
		l.owed = false
		l.quiet.Broadcast()
	}
	return nil
}

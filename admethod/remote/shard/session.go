// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// session is one session with each detector that could be reached. Which ones they are does not change: when a detector
// goes or comes back, the session takes no more rows, waits for the answers of the others, and ends. The link opens the
// next one.
type session struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	owner   *transport
	lanes   []*lane
	answers chan delivery
	reasons chan error // why the session is to end; the first one counts
	last    *lane      // whose answer Receive returned last; of the receiver

	mu      sync.Mutex
	closing bool
	idle    chan struct{} // closed when closing and nothing is owed by the lanes that work
}

// lane is the way to one detector.
type lane struct {
	target  *target
	session remote.Session
	next    chan struct{} // the answer handed over has been used
	batch   []remote.Request
	gone    atomic.Bool

	// Guarded by session.mu.
	owed  []span // rows sent and not answered, in order
	head  int    // of owed
	moved time.Time
}

// span is the sequences of a row's samples.
type span struct {
	first uint64
	n     int
}

type delivery struct {
	lane     *lane
	sequence uint64
	fill     func(*remote.Stream, *driver.Result)
}

// laneOf is where a stream belongs among the detectors of the session that work; nil where none does. A detour is
// another place than at the beginning of the session.
func (s *session) laneOf(of *remote.Stream) (best *lane, detour bool) {
	where := place(&of.Settings)
	most, mostOfAll := uint64(0), uint64(0)
	for _, l := range s.lanes {
		w := weight(where, l.target.seed)
		mostOfAll = max(mostOfAll, w)
		if w >= most && !l.gone.Load() {
			best, most = l, w
		}
	}
	return best, most != mostOfAll
}

// Send implements [remote.Session]. When the session is about to end it sends what it was given, and takes no more.
func (s *session) Send(batch []remote.Request) error {
	for _, l := range s.lanes {
		l.batch = l.batch[:0]
	}
	for i := range batch {
		l, detour := s.laneOf(batch[i].Stream)
		if l == nil {
			<-s.ctx.Done()
			return context.Cause(s.ctx)
		}
		l.batch = append(l.batch, batch[i])
		if detour { // that detector has not heard of the stream
			l.batch[len(l.batch)-1].First = true
		}
	}
	s.mu.Lock()
	now := time.Now()
	for _, l := range s.lanes {
		l.owe(now)
	}
	s.mu.Unlock()
	for _, l := range s.lanes {
		if len(l.batch) == 0 {
			continue
		}
		// io.EOF: its Receive tells why.
		if err := l.session.Send(l.batch); err != nil && !errors.Is(err, io.EOF) {
			s.lose(l, err)
		}
	}
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		<-s.ctx.Done()
		return context.Cause(s.ctx)
	}
	return nil
}

// owe remembers what the lane is going to be sent. The caller holds session.mu.
func (l *lane) owe(now time.Time) {
	if l.head > 0 && l.head == len(l.owed) {
		l.owed, l.head = l.owed[:0], 0
	} else if l.head > 1024 && l.head > len(l.owed)/2 {
		l.owed, l.head = l.owed[:copy(l.owed, l.owed[l.head:])], 0
	}
	if l.head == len(l.owed) {
		l.moved = now
	}
	for i := range l.batch {
		l.owed = append(l.owed, span{l.batch[i].Sequence, len(l.batch[i].Row)})
	}
}

// sequenceOf is the sequence that an answer of the lane belongs to: its own, or that of the oldest sample that has none.
func (s *session) sequenceOf(l *lane, sequence uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sequence == 0 && l.head < len(l.owed) {
		return l.owed[l.head].first
	}
	return sequence
}

// answered takes what is answered from what is owed. Detectors answer in order: what was sent before it is not owed any
// more either.
func (s *session) answered(l *lane, sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.moved = time.Now()
	for i := l.head; i < len(l.owed); i++ {
		o := &l.owed[i]
		if sequence < o.first || sequence >= o.first+uint64(o.n) {
			continue
		}
		l.head = i
		if done := int(sequence - o.first + 1); done < o.n {
			o.first, o.n = o.first+uint64(done), o.n-done
		} else {
			l.head++
		}
		break
	}
	s.settle()
}

// settle tells that nothing is owed any more. The caller holds s.mu.
func (s *session) settle() {
	if !s.closing {
		return
	}
	for _, l := range s.lanes {
		if l.head < len(l.owed) && !l.gone.Load() {
			return
		}
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// Receive implements [remote.Session].
func (s *session) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	if l := s.last; l != nil {
		s.last = nil
		l.next <- struct{}{}
	}
	select {
	case d := <-s.answers:
		s.last = d.lane
		return d.sequence, d.fill, nil
	case <-s.ctx.Done():
		return 0, nil, context.Cause(s.ctx)
	}
}

// receive hands over the answers of a lane until it or the session ends.
func (s *session) receive(l *lane) {
	for {
		sequence, fill, err := l.session.Receive()
		if err != nil {
			s.lose(l, err)
			return
		}
		sequence = s.sequenceOf(l, sequence)
		select {
		case s.answers <- delivery{l, sequence, fill}:
		case <-s.ctx.Done():
			return
		}
		select {
		case <-l.next:
		case <-s.ctx.Done():
			return
		}
		s.answered(l, sequence)
	}
}

// lose gives up a lane.
func (s *session) lose(l *lane, err error) {
	if l.gone.Swap(true) || s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.settle()
	s.mu.Unlock()
	if len(s.lanes) == 1 {
		s.end(fmt.Errorf("%s: %w", l.target.address, err))
		return
	}
	// Whatever wait one detector asks for, the others do not.
	s.end(fmt.Errorf("%s: %v", l.target.address, err)) //nolint:errorlint // so that the link does not wait
}

func (s *session) end(why error) {
	select {
	case s.reasons <- why:
	default:
	}
}

// supervise looks for lanes that hang, and ends the session when there is a reason.
func (s *session) supervise() {
	// With what drain takes it is before the link gives up all of the session.
	longest := s.owner.options.Timeout * 5 / 8
	tick := time.NewTicker(longest / 8)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case why := <-s.reasons:
			s.drain(why)
			return
		case now := <-tick.C:
			for _, l := range s.lanes {
				s.mu.Lock()
				hangs := l.head < len(l.owed) && now.Sub(l.moved) >= longest
				s.mu.Unlock()
				if hangs {
					l.target.reconnect()
					s.lose(l, fmt.Errorf("no answer within %v", longest))
				}
			}
		}
	}
}

// drain waits for the answers of the lanes that work and ends the session.
func (s *session) drain(why error) {
	s.mu.Lock()
	s.closing = true
	s.settle()
	s.mu.Unlock()
	limit := time.NewTimer(drainLimit)
	defer limit.Stop()
	select {
	case <-s.idle:
	case <-limit.C:
	case <-s.ctx.Done():
	}
	for _, l := range s.lanes {
		if l.gone.Load() {
			l.target.failed()
			logs.Warningf("Streams of the detector at %s go to the others: %v", l.target.address, why)
		}
	}
	s.cancel(why)
}

// seek ends the session when a detector that was away can be reached.
func (s *session) seek(ctx context.Context, t *target) {
	first := max(time.Until(t.until), firstBackoff) // is drawn at random already
	again := wait.Backoff{First: 2 * first, Longest: s.owner.options.Backoff}
	for pause := first; wait.Sleep(ctx, pause) == nil; pause = again.Next() {
		asking, cancel := context.WithTimeout(ctx, s.owner.options.Timeout)
		_, err := t.open(asking, s.owner.options.Timeout)
		cancel() // it was a question only
		if err == nil {
			t.until = time.Time{}
			logs.Infof("The detector at %s is back: its streams return to it", t.address)
			s.end(fmt.Errorf("%s is back", t.address))
			return
		}
	}
}

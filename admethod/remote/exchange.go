// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/spool"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

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
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			continue
		}
		if err := l.idle(ctx); err != nil {
			return err
		}
	}
}

const (
	// While rows keep coming the sender looks for them itself: waking it would cost who observes several microseconds.
	// It looks often at first, then less so, and sleeps only when nothing has come for ten seconds.
	lookEvery  = time.Millisecond
	looks      = 20
	lookSlowly = 20 * time.Millisecond
	slowLooks  = 500
)

// idle waits until there may be something to send.
func (l *link) idle(ctx context.Context) error {
	timer := time.NewTimer(max(l.config.Window, lookEvery))
	defer timer.Stop()
	for n := 0; ; n++ {
		if n >= looks {
			timer.Reset(max(l.config.Window, lookSlowly))
		} else if n > 0 {
			timer.Reset(max(l.config.Window, lookEvery))
		}
		look := timer.C
		switch {
		case l.stuck():
			look = nil
		case n >= looks+slowLooks && l.inbox.sleep():
			look = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.wake:
			return l.gather(ctx, look == nil)
		case <-look:
			if l.inbox.len() > 0 {
				return nil
			}
		}
	}
}

// stuck tells that rows that wait cannot be sent before the sender is woken: there is no room in flight, or they are for
// the fallback.
func (l *link) stuck() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full || l.keeper == nil && l.local.Load()
}

// gather gives rows that come with the one that has woken the sender the time to do so.
func (l *link) gather(ctx context.Context, slept bool) error {
	if !slept || l.config.Window == 0 {
		return nil
	}
	return wait.Sleep(ctx, l.config.Window)
}

// fetch moves a chunk of rows from the inbox to the queue. The caller holds l.mu.
func (l *link) fetch() bool {
	if l.queue.n+chunkRows > l.queue.limit {
		return false
	}
	c := l.inbox.take()
	if c == nil {
		return false
	}
	l.enqueue(c)
	return true
}

// enqueue moves the rows of a chunk to the queue, which has room. The caller holds l.mu.
func (l *link) enqueue(c *chunk) {
	var now time.Time
	if l.keeper != nil {
		now = time.Now()
	}
	for i := c.first; i < c.n; i++ {
		it := l.queue.push()
		*it = item{s: c.rows[i].s, since: now, row: append(it.row[:0], c.row(i)...)}
		if l.keeper != nil { // numbered now, as the spool keeps the order of the numbers
			it.sequence = l.sequence + 1
			l.sequence += uint64(len(it.row))
		}
	}
	l.inbox.giveBack(c)
}

// take moves rows that wait to those in flight. The requests have copies of the rows: answers may come while they are
// being sent.
func (l *link) take() []Request {
	if l.keeper != nil {
		l.load()
	}
	var lost []*Stream // of streams that were closed meanwhile
	var changes []change
	n, full := 0, false
	l.mu.Lock()
	for n < batchSize {
		from := &l.retry
		if from.n == 0 {
			from = &l.queue
			if l.keeper != nil && l.keeper.behind() || l.keeper == nil && l.local.Load() {
				break // what is on disk comes first; what comes now is for the fallback
			}
			if from.n == 0 && !l.fetch() {
				break
			}
		}
		it := from.at(0)
		s := it.s
		if s.closed.Load() {
			if !it.judged {
				lost = append(lost, s)
			}
			if it.onDisk {
				changes = append(changes, change{it.place, spool.Done})
			}
			from.pop()
			continue
		}
		if full = !l.room(it); full {
			break
		}
		if it.sequence == 0 {
			it.sequence = l.sequence + 1
			l.sequence += uint64(len(it.row))
		}
		if it.onDisk && !it.sent { // before it is: a repeat that is taken for one is what a detector can handle
			it.sent = true
			changes = append(changes, change{it.place, it.state()})
		}
		it.sent = true
		to := l.pending.move(it)
		from.pop()
		to.position = l.position + 1
		l.position += uint64(len(to.row))
		s.rows++
		r := &l.batch[n]
		r.Stream, r.Sequence, r.Number, r.First, r.Attempt = s, to.sequence, s.rows, s.session != l.session, to.attempt
		r.Row = append(r.Row[:0], to.row...)
		s.session = l.session
		n++
	}
	l.full = full
	l.settle()
	l.mu.Unlock()
	l.mark(changes)
	count(lost)
	return l.batch[:n]
}

// inFlight counts the readings from the first on that is not answered: detectors remember so many to tell repeats. The
// caller holds l.mu.
func (l *link) inFlight() int {
	if l.pending.n == 0 {
		return 0
	}
	return int(l.position - l.pending.at(0).position + 1)
}

// room tells whether a row may be sent. Detectors remember by sequence: those between that are answered count as well.
// The caller holds l.mu.
func (l *link) room(it *item) bool {
	if l.pending.n == 0 {
		return true
	}
	n, most := uint64(len(it.row)), uint64(l.config.MaxInFlight)
	first := l.pending.at(0)
	return uint64(l.inFlight())+n <= most && (it.sequence < first.sequence || it.sequence+n-first.sequence <= most)
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

// sent finds the row that an answer belongs to, nil where it was answered before, is of a session before, or is the
// answer to a member of the row that is not its last. The caller holds l.mu.
func (l *link) sent(sequence uint64) (*item, error) {
	if sequence == 0 {
		l.counted++
		if l.counted > l.position {
			return nil, fmt.Errorf("the detector gives %d answers to %d requests", l.counted, l.position)
		}
		it := l.pending.findSent(l.counted)
		if it == nil || l.counted != it.position+uint64(len(it.row))-1 {
			return nil, nil
		}
		return it, nil
	}
	if sequence > l.sequence {
		return nil, fmt.Errorf("the detector answers request %d, which was never sent", sequence)
	}
	it := l.pending.find(sequence)
	if it == nil || sequence != it.sequence+uint64(len(it.row))-1 {
		return nil, nil
	}
	return it, nil
}

// answer delivers the verdict on the row that the sequence belongs to.
//
// A row on disk is marked as done right after its verdict was delivered: when the mapper is killed in between, this one
// verdict is delivered again by the next.
func (l *link) answer(sequence uint64, fill func(*Stream, *driver.Result)) error {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.mu.Lock()
	it, err := l.sent(sequence)
	if it == nil || it.s == nil {
		l.mu.Unlock()
		return err
	}
	s, judged, onDisk, place := it.s, it.judged, it.onDisk, it.place
	l.row = append(l.row[:0], it.row...)
	it.s = nil
	l.answers++
	l.mu.Unlock()
	if !judged && !s.closed.Load() {
		l.result.Reset(l.row)
		l.result.Threshold = s.Settings.Config.Threshold
		fill(s, &l.result)
		s.stale = ""
		s.Settings.Deliver(&l.result, l.row)
		if s.local != nil {
			s.local.learn(l.row)
		}
	}
	if onDisk {
		l.keeper.set(place, spool.Done)
	}
	// Only now: a flush that sees nothing in flight has its verdicts.
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.pending.n > 0 && l.pending.at(0).s == nil {
		l.pending.pop()
	}
	if l.full && l.inFlight() <= l.config.MaxInFlight*3/4 { // not for each answer: waking costs more than sending
		l.full = false
		l.signal()
	}
	if judged && l.keeper == nil {
		l.probes = 0
	}
	if l.judge != nil && l.local.Load() {
		l.handBack()
	}
	if l.pending.n == 0 {
		l.settle()
	}
	return nil
}

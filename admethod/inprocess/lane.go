// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// item is a row in the queue: the first sample without its key, which is the stream's, and the samples of the other
// members of a group.
type item struct {
	s      *stream
	at     time.Time
	value  float64
	text   string
	flags  driver.Flags
	place  uint32          // in the stream: one that is missing was lost for want of room
	number uint64          // of the row, where its submitter gave one
	rest   []driver.Sample // keeps its memory when the place in the ring is used again
}

// lane is a queue of rows and the goroutine that judges them: the runner. A runner whose detector hangs is replaced;
// the lane goes on.
type lane struct {
	limit  int
	failed func(*stream, error)

	mu       sync.Mutex
	ring     []item // grows up to limit
	head, n  int
	jobs     []func()
	urgent   atomic.Bool // there are jobs: asked between two rows
	streams  map[*stream]struct{}
	runner   *runner
	sleeping bool
	stopping bool
	quiet    sync.Cond // signalled when nothing waits and nothing is being judged

	wake    chan struct{}
	runners sync.WaitGroup
}

const (
	firstRing = 64
	batchSize = 128
	looks     = 4 // by watch in the time after which a detector hangs
)

func newLane(limit int, failed func(*stream, error)) *lane {
	l := &lane{limit: limit, failed: failed, streams: make(map[*stream]struct{}), wake: make(chan struct{}, 1)}
	l.quiet.L = &l.mu
	return l
}

func (l *lane) add(s *stream) {
	l.mu.Lock()
	l.streams[s] = struct{}{}
	l.mu.Unlock()
}

func (l *lane) remove(s *stream) {
	l.mu.Lock()
	delete(l.streams, s)
	l.mu.Unlock()
}

// submit queues a row; false means that a row was lost, this one or an older one.
func (l *lane) submit(s *stream, row driver.Row, number uint64) bool {
	if len(row) == 0 {
		return true
	}
	var loser *stream
	var lost uint64
	l.mu.Lock()
	switch {
	case l.stopping || s.cut.Load():
		l.mu.Unlock()
		s.lost(number)
		return false
	case l.n == len(l.ring) && l.n < l.limit:
		l.grow()
	case l.n == len(l.ring):
		loser, lost = l.ring[l.head].s, l.ring[l.head].number
		l.head = l.at(1)
		l.n--
	}
	it := &l.ring[l.at(l.n)]
	l.n++
	it.s, it.at, it.value, it.text, it.flags = s, row[0].At, row[0].Value, row[0].Text, row[0].Flags
	it.number, it.place = number, s.submitted
	s.submitted++
	it.rest = append(it.rest[:0], row[1:]...)
	wake := l.sleeping
	l.sleeping = false
	l.mu.Unlock()
	if wake {
		l.signal()
	}
	if loser != nil {
		loser.lost(lost)
		return false
	}
	return true
}

// at is the index of the i-th place from the head.
func (l *lane) at(i int) int {
	i += l.head
	if i >= len(l.ring) {
		i -= len(l.ring)
	}
	return i
}

func (l *lane) grow() {
	next := make([]item, min(max(2*len(l.ring), firstRing), l.limit))
	for i := range l.n {
		next[i] = l.ring[l.at(i)]
	}
	l.ring, l.head = next, 0
}

func (l *lane) signal() {
	wait.Wake(l.wake)
}

// errBusy tells that a job had no turn in time.
var errBusy = errors.New("the lane is busy")

// do runs f on the lane's goroutine, ahead of the queue, and waits for it.
func (l *lane) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	l.mu.Lock()
	if l.stopping {
		l.mu.Unlock()
		return fmt.Errorf("lane is stopped: %w", context.Canceled)
	}
	l.jobs = append(l.jobs, func() {
		defer close(done)
		if ctx.Err() == nil { // nobody waits for it otherwise
			f()
		}
	})
	l.urgent.Store(true)
	l.sleeping = false
	l.mu.Unlock()
	l.signal()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
	}
}

// flush waits until nothing waits and nothing is being judged.
func (l *lane) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait.Cond(ctx, &l.quiet, func() bool { return l.n == 0 && (l.runner == nil || !l.runner.busy) })
	if ctx.Err() != nil {
		return fmt.Errorf("%d readings wait to be judged: %w", l.n, context.Cause(ctx))
	}
	return nil
}

// stop ends the runner and joins it and all that it replaced.
func (l *lane) stop(ctx context.Context) error {
	l.mu.Lock()
	l.stopping = true
	l.mu.Unlock()
	l.signal()
	if err := guard.Join(ctx, &l.runners); err != nil {
		return fmt.Errorf("a detector does not return: %w", err)
	}
	return nil
}

// start begins a new runner, with rows that a runner before it left.
func (l *lane) start(left []item) {
	r := &runner{lane: l, batch: left, row: make([]driver.Sample, 1), busy: len(left) > 0}
	l.mu.Lock()
	l.runner = r
	l.mu.Unlock()
	l.runners.Go(r.run)
}

// watch replaces the runner if it has made no progress on a row in looks looks, each a part of hang after the other. It
// counts looks instead of time: a process that was suspended has lost time, not its detectors.
func (l *lane) watch(hang time.Duration) {
	l.mu.Lock()
	r := l.runner
	l.mu.Unlock()
	p := r.progress.Load()
	if p != r.seen || p&judging == 0 {
		r.seen, r.looked = p, 0
		return
	}
	if r.looked++; r.looked < looks || !r.progress.CompareAndSwap(p, abandoned) {
		return
	}
	// The runner owns its batch no more: it stops as soon as its detector returns.
	i := int(p & positionMask)
	hung, left := &r.batch[i], slices.Clone(r.batch[i+1:])
	err := fmt.Errorf("detector %q does not return since %v", hung.s.name, hang)
	_ = guard.Do("telling that a detector failed", func() { // is logged
		hung.s.fail(hung.at, hung.number, err)
		l.failed(hung.s, err)
	})
	l.start(left)
}

// runner judges the rows of a lane until the lane stops or it is replaced.
type runner struct {
	lane *lane
	busy bool // judging a batch; guarded by lane.mu

	batch []item
	row   []driver.Sample
	out   driver.Result

	// progress is the number of the batch and the position in it while a row is judged. It changes with each row, and
	// is taken over by watch when it does not.
	progress atomic.Uint64
	number   uint64

	seen   uint64 // of progress, by watch
	looked int    // times that it was seen to be the same
}

const (
	positionBits = 16
	positionMask = 1<<positionBits - 1
	judging      = 1 << 63
	abandoned    = 1 << 62
)

func (r *runner) run() {
	for more := true; more; {
		more = r.judgeBatch() && r.next()
	}
}

// next waits for work: jobs first, then a batch. It reports false when the lane stops.
func (r *runner) next() bool {
	l := r.lane
	for {
		l.mu.Lock()
		if len(l.jobs) > 0 {
			l.mu.Unlock()
			l.runJobs()
			continue
		}
		if l.n > 0 {
			r.take()
			l.mu.Unlock()
			return true
		}
		r.busy = false
		l.quiet.Broadcast()
		if l.stopping {
			l.mu.Unlock()
			return false
		}
		l.sleeping = true
		l.mu.Unlock()
		<-l.wake
	}
}

// runJobs runs what waits to run between two rows.
func (l *lane) runJobs() {
	l.mu.Lock()
	jobs := l.jobs
	l.jobs = nil
	l.urgent.Store(false)
	l.mu.Unlock()
	for _, job := range jobs {
		_ = guard.Do("a job of a lane", job) // is logged
	}
}

// take swaps rows out of the ring, memory included, so that neither side allocates. The caller holds the lane's lock.
func (r *runner) take() {
	l := r.lane
	n := min(l.n, batchSize)
	if cap(r.batch) < batchSize {
		r.batch = append(make([]item, 0, batchSize), r.batch[:cap(r.batch)]...)
	}
	r.batch = r.batch[:batchSize][:n]
	for i := range n {
		place := &l.ring[l.head]
		place.rest, r.batch[i].rest = r.batch[i].rest, place.rest
		rest := r.batch[i].rest
		r.batch[i] = *place
		r.batch[i].rest = rest
		place.s, place.text = nil, ""
		l.head = l.at(1)
	}
	l.n -= n
	r.busy = true
}

// judgeBatch judges the rows of the batch. It reports false if the runner was replaced.
func (r *runner) judgeBatch() bool {
	for i := 0; i < len(r.batch); {
		var ok bool
		if i, ok = r.judgeFrom(i); !ok {
			return false
		}
	}
	r.batch = r.batch[:0]
	return true
}

// judgeFrom judges rows from position i on until the end, or until a detector panics; it returns the next position.
func (r *runner) judgeFrom(i int) (next int, ok bool) {
	r.number++
	idle := r.progress.Load()
	defer func() {
		if p := recover(); p != nil {
			it := &r.batch[i]
			err := guard.Caught(fmt.Sprintf("detector %q", it.s.name), p)
			next, ok = i+1, r.progress.CompareAndSwap(idle, 0)
			if ok {
				_ = guard.Do("telling that a detector failed", func() { // is logged
					it.s.fail(it.at, it.number, err)
					r.lane.failed(it.s, err)
				})
			}
		}
	}()
	for ; i < len(r.batch); i++ {
		if r.lane.urgent.Load() { // a heavy detector may take minutes for a batch
			if !r.progress.CompareAndSwap(idle, 0) {
				return i, false
			}
			idle = 0
			r.lane.runJobs()
		}
		now := judging | (r.number<<positionBits|uint64(i))&^(judging|abandoned)
		if !r.progress.CompareAndSwap(idle, now) {
			return i, false
		}
		idle = now
		r.judge(&r.batch[i])
	}
	return i, r.progress.CompareAndSwap(idle, 0)
}

func (r *runner) judge(it *item) {
	s := it.s
	if s.cut.Load() {
		s.lost(it.number)
		return
	}
	r.row = r.row[:1]
	first := &r.row[0] // field by field: a literal would be built first and copied then
	first.Key, first.At, first.Value, first.Text, first.Flags = s.key, it.at, it.value, it.text, it.flags
	r.row = append(r.row, it.rest...)
	if it.place != s.next { // rows before it found no room: the detector has to know that it has not seen them
		for i := range r.row {
			r.row[i].Flags |= driver.Gap
		}
	}
	s.next = it.place + 1
	r.out.Reset(r.row)
	r.out.Threshold, r.out.Detector, r.out.Model = s.threshold, s.name, *s.model.Load()
	if hook := s.adapter.hooks.Judged; hook != nil && r.number&(admethod.JudgedEvery-1) == 0 {
		began := time.Now()
		s.detector.Detect(r.row, &r.out)
		hook(s.key, time.Since(began))
	} else {
		s.detector.Detect(r.row, &r.out)
	}
	if r.progress.Load() == abandoned { // given up meanwhile: the row is told as failed
		return
	}
	s.judged = true
	if out := &r.out; out.Severity != driver.Unknown || len(it.rest) == 0 {
		s.sanitize(out)
	}
	if r.out.Severity.Anomalous() && r.out.Message == "" {
		if e, ok := s.detector.(driver.Explainer); ok {
			r.out.Message = e.Explain(&r.out, s.language)
			r.out.Translated = e.Explain(&r.out, s.language.Other())
		}
	}
	if s.answer != nil {
		s.answer(it.number, &r.out, r.row)
		return
	}
	s.deliver(&r.out, r.row)
}

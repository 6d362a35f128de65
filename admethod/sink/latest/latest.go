// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package latest is what sinks share that tell a peer over the network. A [Queue] takes verdicts over at once and keeps
// the latest one of each property until the peer has it, so that neither a slow peer nor one that is away holds anybody
// up, memory stays bounded, and the final state of every property gets through.
package latest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Item is what is to be told of one property.
type Item struct {
	driver.Result
	Gone bool // the property is no longer watched, from At on; of the result, nothing but Key is set beside
}

// Options configure a [Queue].
type Options struct {
	Sink  string          // name of the sink, for hooks, log and errors
	Limit int             // properties that may wait; verdicts on more are refused
	Batch int             // most items of one delivery
	Hooks *admethod.Hooks // nil is allowed
	// Deliver tells the peer. It must end with ctx, and must not keep the slice. Its error is as for
	// [admethod.RetryAfter]: an item with a permanent one is counted as refused; after any other it is tried again
	// later, where no newer verdict on the property has come meanwhile. Items that failed together are tried again
	// each by itself: it may be one that the peer cannot bear.
	Deliver func(ctx context.Context, batch []Item) error
	// Upkeep is called before every delivery, once every Every, and after [Queue.Wake]. After an error, nothing is
	// delivered and it is called again later. nil does nothing.
	Upkeep func(ctx context.Context) error
	Every  time.Duration // 0 means never
}

var (
	_ admethod.Sink      = (*Queue)(nil)
	_ admethod.Forgetter = (*Queue)(nil)
	_ admethod.Measurer  = (*Queue)(nil)
)

// How long the queue waits after failures: the wait doubles from one to the next, and is jittered.
const (
	shortestWait = 500 * time.Millisecond
	longestWait  = 30 * time.Second
)

// Queue keeps what is to be told and tells it, from one goroutine. It is a sink, for sinks to embed: an
// [admethod.Forgetter] and [admethod.Measurer] too. It is safe for concurrent use.
type Queue struct {
	opts Options
	wake chan struct{} // capacity 1: something may be due
	end  chan struct{} // closed: Shutdown has begun
	done chan struct{} // closed: the goroutine has ended

	mu      sync.Mutex
	started bool
	closing bool
	cancel  context.CancelFunc
	waiting map[driver.Key]Item
	order   []driver.Key // of waiting, the longest first
	stats   Stats

	said     logs.Limiter
	troubled bool // it was said, and is not over; owned by the goroutine
}

// Stats counts what a queue did.
type Stats struct {
	Waiting   int    // properties with something to be told
	Delivered uint64 // items that the peer has
	Failed    uint64 // tries that failed and were, or are to be, made again, in other company perhaps
	Refused   uint64 // items that the peer refused for good, or for which there was no room
}

// New makes a queue.
func New(o Options) *Queue {
	if o.Hooks == nil {
		o.Hooks = new(admethod.Hooks)
	}
	return &Queue{
		opts: o, wake: make(chan struct{}, 1), end: make(chan struct{}), done: make(chan struct{}),
		waiting: make(map[driver.Key]Item),
	}
}

// Start begins to tell. The queue lives until Shutdown, not until ctx ends.
func (q *Queue) Start(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closing:
		return admethod.ErrClosed
	case q.started:
		return nil
	}
	q.started = true
	ctx, q.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(q.done)
		defer q.cancel()
		guard.Loop(ctx, "the queue of "+q.opts.Sink, q.run)
	}()
	return nil
}

// Write takes the verdicts over and returns; a newer one takes the place of an older one on the same property.
func (q *Queue) Write(_ context.Context, batch []driver.Result) error {
	full := 0
	q.mu.Lock()
	for i := range batch {
		if !q.put(Item{Result: batch[i]}) {
			full++
		}
	}
	q.stats.Refused += uint64(full)
	q.mu.Unlock()
	if full > 0 {
		err := fmt.Errorf("no room for verdicts on %d properties, %d wait", full, q.opts.Limit)
		q.tell(err, false)
		q.said.Warningf("full", "%s: %v", q.opts.Sink, err)
	}
	q.Wake()
	return nil
}

// Forget says that a property is no longer watched.
func (q *Queue) Forget(key driver.Key) {
	q.mu.Lock()
	q.put(Item{Result: driver.Result{Key: key, At: time.Now()}, Gone: true})
	q.mu.Unlock()
	q.Wake()
}

// put needs q.mu. What is gone has as much room again: it gives up room at the peer.
func (q *Queue) put(it Item) bool {
	if q.closing {
		return true
	}
	if _, waits := q.waiting[it.Key]; !waits {
		if n := len(q.waiting); n >= q.opts.Limit && (!it.Gone || n >= 2*q.opts.Limit) {
			return false
		}
		q.order = append(q.order, it.Key)
	}
	q.waiting[it.Key] = it
	return true
}

// Wake has Upkeep called soon.
func (q *Queue) Wake() {
	wait.Wake(q.wake)
}

// Stats returns the counts so far.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting = len(q.waiting)
	return s
}

// Measure implements [admethod.Measurer].
func (q *Queue) Measure() map[string]float64 {
	s := q.Stats()
	return map[string]float64{
		admethod.WaitingVerdicts: float64(s.Waiting), "delivered_verdicts": float64(s.Delivered),
		"failed_deliveries": float64(s.Failed), "refused_verdicts": float64(s.Refused),
	}
}

// Shutdown tells what waits, each but once, and ends the queue; all within ctx. It is idempotent.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.mu.Lock()
	if !q.closing {
		q.closing = true
		close(q.end)
	}
	started := q.started
	q.mu.Unlock()
	if !started {
		return nil
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		q.cancel()
		<-q.done
	}
	if n := q.Stats().Waiting; n > 0 {
		return errors.Join(fmt.Errorf("%s: the last verdicts on %d properties were not delivered", q.opts.Sink, n), context.Cause(ctx))
	}
	return nil
}

func (q *Queue) run(ctx context.Context) {
	var tick <-chan time.Time
	if q.opts.Every > 0 {
		t := time.NewTicker(q.opts.Every)
		defer t.Stop()
		tick = t.C
	}
	batch := make([]Item, 0, q.opts.Batch)
	backoff := wait.Backoff{First: shortestWait, Longest: longestWait}
	singly := 0 // deliveries to come that are of one item
	for ctx.Err() == nil {
		var err error
		if q.opts.Upkeep != nil {
			err = guard.Call("the upkeep of "+q.opts.Sink, func() error { return q.opts.Upkeep(ctx) })
		}
		if err == nil {
			most := q.opts.Batch
			if singly > 0 {
				most = 1
			}
			if batch = q.take(batch[:0], most); len(batch) == 0 {
				if !q.idle(ctx, tick) {
					return
				}
				continue
			}
			singly = max(singly-1, 0)
			err = guard.Call("a delivery of "+q.opts.Sink, func() error { return q.opts.Deliver(ctx, batch) })
		} else {
			batch = batch[:0]
		}
		switch {
		case ctx.Err() != nil:
			q.putBack(batch, true) // Shutdown counts it
			return
		case err == nil:
			q.delivered(len(batch))
			backoff.Reset()
			continue
		case len(batch) > 1:
			singly = len(batch)
		}
		q.failed(batch, err)
		asked, _ := admethod.RetryAfter(err)
		if !q.pause(ctx, max(asked, backoff.Next())) {
			return
		}
	}
}

// idle waits until something may be due; false means that there is nothing left to do.
func (q *Queue) idle(ctx context.Context, tick <-chan time.Time) bool {
	select {
	case <-q.wake:
	case <-tick:
	case <-q.end:
		return q.Stats().Waiting > 0
	case <-ctx.Done():
	}
	return true
}

// pause waits after a failure; false means that there is no other try.
func (q *Queue) pause(ctx context.Context, d time.Duration) bool {
	select { // what fails after Shutdown has begun is given up
	case <-q.end:
		return false
	default:
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.end:
	case <-ctx.Done():
	}
	return true
}

// take moves what waited longest into batch.
func (q *Queue) take(batch []Item, most int) []Item {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.order), most)
	for _, key := range q.order[:n] {
		batch = append(batch, q.waiting[key])
		delete(q.waiting, key)
	}
	q.order = q.order[n:]
	return batch
}

// putBack has items wait again, before or behind all others, where nothing newer is known.
func (q *Queue) putBack(batch []Item, first bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := make([]driver.Key, 0, len(batch))
	for _, it := range batch {
		if _, newer := q.waiting[it.Key]; !newer {
			q.waiting[it.Key] = it
			again = append(again, it.Key)
		}
	}
	if first {
		q.order = append(again, q.order...)
	} else {
		q.order = append(q.order, again...)
	}
}

func (q *Queue) delivered(n int) {
	q.mu.Lock()
	q.stats.Delivered += uint64(n)
	waiting := len(q.waiting)
	q.mu.Unlock()
	if q.troubled && waiting == 0 {
		q.troubled = false
		logs.Infof("%s: no verdict waits any more", q.opts.Sink)
	}
}

// failed decides what becomes of a batch, and says it where it is news. Without a batch, it was the upkeep that failed.
func (q *Queue) failed(batch []Item, err error) {
	_, retry := admethod.RetryAfter(err)
	refused := !retry && len(batch) == 1
	if !refused {
		q.putBack(batch, len(batch) > 1) // one that failed alone must not hold up the others
	}
	q.mu.Lock()
	if refused {
		q.stats.Refused++
	} else {
		q.stats.Failed++
	}
	waiting := len(q.waiting)
	q.mu.Unlock()
	q.tell(err, !refused)
	if _, ok := q.said.Allow("failing"); ok {
		q.troubled = true
		logs.Warningf("%s: %v; verdicts on %d properties wait", q.opts.Sink, err, waiting)
	}
}

func (q *Queue) tell(err error, retry bool) {
	if q.opts.Hooks.SinkFailed != nil {
		q.opts.Hooks.SinkFailed(q.opts.Sink, err, retry)
	}
}

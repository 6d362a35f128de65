// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// sinkQueue feeds one sink from a goroutine of its own, so that a slow sink delays nobody. Verdicts wait in order; when
// more than limit wait, only the latest one of each key is kept beyond, so memory is bounded and the final state of
// every stream still gets through.
type sinkQueue struct {
	name    string
	title   string // for people
	make    func() (admethod.Sink, error)
	hooks   *admethod.Hooks
	observe func(*admethod.Hooks) // takes the hooks of a sink that is an observer
	report  admethod.Report       // of what fails; may be nil
	alerts  bool                  // hears nothing of what is muted
	limit   int
	failing bool          // the last write failed; of run's goroutine
	tried   chan struct{} // closed after the first try to start
	wrong   error         // with the configuration; set before tried is closed

	mu       sync.Mutex
	sink     admethod.Sink // nil before it has started; set by run's goroutine
	settled  bool          // the first try has come to its end
	late     bool          // nobody waited for it
	fifo     []told
	overflow map[driver.Key]told
	order    []driver.Key // of overflow, oldest first
	replaced uint64       // verdicts lost to a later one of the same key
	refused  uint64       // verdicts that the sink refused for good
	closed   bool
	left     int // entries that waited when run ended

	wake chan struct{}
	idle sync.Cond // signalled when nothing waits and nothing is being written
	busy bool
	done chan struct{}

	cancel context.CancelFunc // ends run at once
}

// told is a verdict, or that the property of this key is no longer watched.
type told struct {
	driver.Result
	forget bool
}

const (
	sinkLimit      = 4096
	sinkBatch      = 256
	firstRetry     = 100 * time.Millisecond
	longestRetry   = 30 * time.Second
	slowestAttempt = 30 * time.Second
)

// newSinkQueue makes a queue; run makes its sink.
func newSinkQueue(name string, makeSink func() (admethod.Sink, error), hooks *admethod.Hooks) *sinkQueue {
	q := &sinkQueue{
		name: name, title: fmt.Sprintf("sink %q", name), make: makeSink, hooks: hooks, limit: sinkLimit, observe: func(*admethod.Hooks) {},
		overflow: make(map[driver.Key]told), tried: make(chan struct{}),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	q.idle.L = &q.mu
	return q
}

// push queues a verdict that shares no memory with its maker.
func (q *sinkQueue) push(r driver.Result) { q.queue(told{Result: r}) }

// forget queues that a property is no longer watched.
func (q *sinkQueue) forget(key driver.Key) {
	sink := q.started()
	if _, ok := sink.(admethod.Forgetter); ok || sink == nil {
		q.queue(told{Result: driver.Result{Key: key}, forget: true})
	}
}

func (q *sinkQueue) queue(r told) {
	q.mu.Lock()
	switch {
	case q.closed:
	case len(q.fifo) < q.limit && len(q.order) == 0:
		q.fifo = append(q.fifo, r)
	default:
		if old, waiting := q.overflow[r.Key]; waiting {
			if !old.forget {
				q.replaced++
			}
		} else {
			q.order = append(q.order, r.Key)
		}
		q.overflow[r.Key] = r
	}
	q.mu.Unlock()
	wait.Wake(q.wake)
}

// take moves up to sinkBatch entries into batch. It is over where none waits and none will come.
func (q *sinkQueue) take(batch []told) (_ []told, over bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.fifo), sinkBatch)
	batch = append(batch[:0], q.fifo[:n]...)
	q.fifo = slices.Delete(q.fifo, 0, n)
	if n == 0 {
		n = min(len(q.order), sinkBatch)
		for _, key := range q.order[:n] {
			batch = append(batch, q.overflow[key])
			delete(q.overflow, key)
		}
		q.order = slices.Delete(q.order, 0, n)
	}
	q.busy = len(batch) > 0
	if !q.busy {
		q.idle.Broadcast()
	}
	return batch, q.closed && !q.busy
}

// run starts the sink and writes until ctx ends or, after close, until nothing waits.
func (q *sinkQueue) run(ctx context.Context) {
	defer close(q.done)
	defer func() { // whoever waits for idle must not wait for a goroutine that is gone
		q.mu.Lock()
		q.left += len(q.fifo) + len(q.order)
		q.busy, q.closed, q.fifo, q.order = false, true, nil, nil
		q.idle.Broadcast()
		q.mu.Unlock()
	}()
	if !q.start(ctx) {
		return
	}
	batch, verdicts := make([]told, 0, sinkBatch), make([]driver.Result, 0, sinkBatch)
	for ctx.Err() == nil {
		var over bool
		if batch, over = q.take(batch); over {
			return
		}
		if len(batch) > 0 {
			_ = guard.Do("the queue of a sink", func() { verdicts = q.tell(ctx, batch, verdicts) }) // is logged
			continue
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		}
	}
}

// tell passes a batch on, in order; verdicts is memory for it.
func (q *sinkQueue) tell(ctx context.Context, batch []told, verdicts []driver.Result) []driver.Result {
	verdicts = verdicts[:0]
	for i := range batch {
		if !batch[i].forget {
			verdicts = append(verdicts, batch[i].Result)
			continue
		}
		if len(verdicts) > 0 {
			q.write(ctx, verdicts)
			verdicts = verdicts[:0]
		}
		err := q.shield(func() error {
			if f, ok := q.sink.(admethod.Forgetter); ok {
				f.Forget(batch[i].Key)
			}
			return nil
		})
		if err != nil {
			q.failed(err, false)
		}
	}
	if len(verdicts) > 0 {
		q.write(ctx, verdicts)
	}
	return verdicts
}

const writeRisk = "its verdicts wait in a queue of bounded length; beyond it a later verdict replaces an earlier one on the same property"

// write tries a batch until it is taken, refused for good, or ctx ends.
func (q *sinkQueue) write(ctx context.Context, batch []driver.Result) {
	backoff := wait.Backoff{First: firstRetry, Longest: longestRetry}
	for {
		err := q.attempt(ctx, batch)
		if err == nil {
			if q.failing {
				q.failing = false
				q.trouble("", nil)
			}
			return
		}
		q.failing = true
		atLeast, retry := admethod.RetryAfter(err)
		q.failed(err, retry)
		if !retry {
			q.trouble("the verdicts that it refuses for good", fmt.Errorf("sink %q: %w", q.name, err))
			q.mu.Lock()
			q.refused += uint64(len(batch))
			q.mu.Unlock()
			return
		}
		q.trouble(writeRisk, fmt.Errorf("sink %q: %w", q.name, err))
		if wait.Sleep(ctx, max(atLeast, backoff.Next())) != nil {
			return
		}
	}
}

func (q *sinkQueue) failed(err error, retry bool) {
	if q.hooks.SinkFailed != nil {
		q.hooks.SinkFailed(q.name, err, retry)
	}
}

// attempt bounds a write, for sinks that honour their context.
func (q *sinkQueue) attempt(ctx context.Context, batch []driver.Result) error {
	ctx, cancel := context.WithTimeout(ctx, slowestAttempt)
	defer cancel()
	return q.shield(func() error { return q.sink.Write(ctx, batch) })
}

// shield keeps a panic of the sink from the queue.
func (q *sinkQueue) shield(f func() error) error {
	err := guard.Call(q.title, f)
	if p := (*guard.Panic)(nil); errors.As(err, &p) {
		return admethod.Permanent(err)
	}
	return err
}

// flush waits until nothing waits, or ctx ends. It does not wait for a sink that cannot start.
func (q *sinkQueue) flush(ctx context.Context) error {
	select {
	case <-q.tried:
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sink == nil {
		return fmt.Errorf("sink %q: %d verdicts wait: it has not started", q.name, len(q.fifo)+len(q.order))
	}
	wait.Cond(ctx, &q.idle, func() bool { return !q.busy && len(q.fifo)+len(q.order) == 0 })
	if ctx.Err() != nil {
		return fmt.Errorf("sink %q: %d verdicts wait: %w", q.name, len(q.fifo)+len(q.order), context.Cause(ctx))
	}
	return nil
}

// close lets run end once nothing waits.
func (q *sinkQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	wait.Wake(q.wake)
}

// end writes what waits and shuts the sink down, all within ctx.
func (q *sinkQueue) end(ctx context.Context) error {
	q.close()
	var err error
	if q.started() != nil {
		err = q.flush(ctx)
	}
	q.cancel()
	sink := q.started()
	if sink == nil { // it may be starting at this moment
		select {
		case <-q.done:
		case <-ctx.Done():
			return fmt.Errorf("sink %q: does not end to start: %w", q.name, context.Cause(ctx))
		}
		if sink = q.started(); sink == nil {
			if q.left > 0 {
				return fmt.Errorf("sink %q: never started: %d verdicts are lost", q.name, q.left)
			}
			return nil
		}
	}
	if shut := q.shield(func() error { return sink.Shutdown(ctx) }); shut != nil {
		err = errors.Join(err, fmt.Errorf("sink %q: %w", q.name, shut))
	}
	return err
}

func (q *sinkQueue) stats() admethod.SinkStats {
	var own map[string]float64
	sink := q.started()
	if m, ok := sink.(admethod.Measurer); ok {
		own = m.Measure()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return admethod.SinkStats{Started: sink != nil, Waiting: len(q.fifo) + len(q.order), Replaced: q.replaced, Refused: q.refused, Own: own}
}

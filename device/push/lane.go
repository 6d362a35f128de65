// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// sender speaks to one destination. Only the goroutine of the lane calls it.
type sender interface {
	// send makes one attempt. An error is retried when it is a *retryable.
	send(ctx context.Context, it item) error
	close()
}

// route is what a target adds to the destination: an httpRoute or an mqttRoute.
type route any

type item struct {
	data  common.DataModel
	route route
}

// retryable is an error that may pass. One from a destination that answered is retried only so often: it may be the
// reading that it cannot bear.
type retryable struct {
	err      error
	answered bool
}

func (e *retryable) Error() string { return e.err.Error() }
func (e *retryable) Unwrap() error { return e.err }

// maxAnswered is how often a destination may answer with an error to the same reading.
const maxAnswered = 5

// lane is the queue and the goroutine of one destination.
type lane struct {
	pool        *Pool
	destination string
	sender      sender
	users       int // guarded by pool.mu
	ctx         context.Context
	cancel      context.CancelFunc
	filled      chan struct{} // capacity 1: there is something to do
	finishing   chan struct{} // closed: send what is queued, then end

	mu     sync.Mutex
	ring   []item // ring[first], ring[first+1], …
	first  int
	length int
}

func newLane(p *Pool, destination string, s sender) *lane {
	l := &lane{
		pool: p, destination: destination, sender: s,
		filled: make(chan struct{}, 1), finishing: make(chan struct{}), ring: make([]item, p.opts.QueueSize),
	}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	return l
}

// finish needs pool.mu.
func (l *lane) finish() {
	select {
	case <-l.finishing:
	default:
		close(l.finishing)
	}
}

func (l *lane) offer(it item) {
	l.mu.Lock()
	if l.length == len(l.ring) {
		l.first = (l.first + 1) % len(l.ring)
		l.length--
		l.pool.dropped.Add(1)
	}
	l.ring[(l.first+l.length)%len(l.ring)] = it
	l.length++
	l.mu.Unlock()
	wait.Wake(l.filled)
}

func (l *lane) take() (item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.length == 0 {
		return item{}, false
	}
	it := l.ring[l.first]
	l.ring[l.first] = item{}
	l.first = (l.first + 1) % len(l.ring)
	l.length--
	return it, true
}

func (l *lane) run() {
	defer l.cancel()
	defer l.sender.close()
	defer l.dropRest()
	for l.ctx.Err() == nil {
		it, ok := l.take()
		if ok {
			if !l.deliver(it) {
				return
			}
			continue
		}
		select {
		case <-l.filled:
			continue
		default:
		}
		select {
		case <-l.filled:
		case <-l.finishing:
			return
		case <-l.ctx.Done():
		}
	}
}

func (l *lane) dropRest() {
	for {
		if _, ok := l.take(); !ok {
			return
		}
		l.pool.dropped.Add(1)
	}
}

// deliver sends one reading, as often as it takes. It reports false when the lane is to end.
func (l *lane) deliver(it item) bool {
	pause, answered, failures := wait.Backoff{First: l.pool.opts.RetryMin, Longest: l.pool.opts.RetryMax}, 0, 0
	for {
		err := guard.Call("a push of readings", func() error { return l.sender.send(l.ctx, it) })
		if err == nil {
			l.pool.sent.Add(1)
			if failures > 0 {
				logs.InfoS("Push works again", "destination", l.destination, "failures", failures)
			}
			return true
		}
		if l.ctx.Err() != nil {
			l.pool.dropped.Add(1)
			return false
		}
		if failures++; failures == 1 {
			logs.ErrorS(err, "Push failed", "destination", l.destination)
		}
		var again *retryable
		if !errors.As(err, &again) {
			l.pool.failed.Add(1)
			return true
		}
		if again.answered {
			if answered++; answered == maxAnswered {
				l.pool.failed.Add(1)
				return true
			}
		}
		timer := time.NewTimer(pause.Next())
		select {
		case <-timer.C:
		case <-l.finishing: // no time for a second attempt
			timer.Stop()
			l.pool.dropped.Add(1)
			return false
		case <-l.ctx.Done():
			timer.Stop()
			l.pool.dropped.Add(1)
			return false
		}
	}
}

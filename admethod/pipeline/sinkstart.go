// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// A sink that cannot start must not end detection. What is wrong with its configuration is an error of whoever binds;
// what is wrong around it, a port that is taken, a directory that cannot be written to, a secret that is not there yet,
// is tried again until it is right, while verdicts wait in the queue.

// startPatience is how long Bind waits for the first try to start a sink.
const startPatience = 2 * time.Second

// startRisk is what is told of a sink that does not start.
const startRisk = "its verdicts wait in a queue of bounded length; it is tried again until it starts"

// misconfigured reports whether what keeps a sink from starting is its configuration: to try again would be in vain.
func misconfigured(err error, made bool) bool {
	switch {
	case errors.Is(err, admethod.ErrPermanent), errors.As(err, new(*params.Error)), errors.As(err, new(*net.AddrError)):
		return true
	case made: // Start looks at the world
		return false
	}
	around := errors.Is(err, admethod.ErrUnavailable) || errors.As(err, new(*fs.PathError)) || errors.As(err, new(*os.SyscallError)) ||
		errors.As(err, new(syscall.Errno))
	return !around
}

// start makes the sink and starts it, again and again until it works; it reports false where that is not to be, because
// ctx ended, the queue was closed, or the configuration is wrong.
func (q *sinkQueue) start(ctx context.Context) bool {
	for backoff := (wait.Backoff{First: firstRetry, Longest: longestRetry}); ; {
		sink, made, err := q.try(ctx)
		if q.settle(sink, made, err) {
			return err == nil
		}
		q.failed(err, true)
		timer := time.NewTimer(backoff.Next())
		for waiting := true; waiting; {
			select {
			case <-timer.C:
				waiting = false
			case <-q.wake: // by a verdict, which has to wait, or by the end
				if q.isClosed() {
					timer.Stop()
					return false
				}
			case <-ctx.Done():
				timer.Stop()
				return false
			}
		}
	}
}

// settle notes what came of a try, and reports whether there is to be no other.
func (q *sinkQueue) settle(sink admethod.Sink, made bool, err error) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := !q.settled
	if q.settled = true; first {
		defer close(q.tried)
	}
	q.sink = sink
	if err != nil && first && misconfigured(err, made) {
		q.wrong = err
		if q.late { // Bind has not waited for it
			q.trouble("nothing: it is left out until it is configured anew", err)
		}
		return true
	}
	q.trouble(startRisk, err)
	return err == nil
}

// try makes a sink and starts it. A sink whose Start failed is not used again.
func (q *sinkQueue) try(ctx context.Context) (sink admethod.Sink, made bool, err error) {
	err = q.shield(func() (err error) {
		if sink, err = q.make(); err != nil {
			return err
		}
		made = true
		return sink.Start(ctx)
	})
	if err != nil {
		if made {
			err = fmt.Errorf("start: %w", err)
		}
		return nil, made, fmt.Errorf("sink %q: %w", q.name, err)
	}
	if o, ok := sink.(admethod.Observer); ok {
		q.observe(o.Hooks())
	}
	return sink, true, nil
}

// trouble reports that the sink fails, or by nil that it works.
func (q *sinkQueue) trouble(risk string, err error) {
	if q.report != nil {
		q.report("sink "+q.name, risk, err)
	}
}

func (q *sinkQueue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// started returns the sink once it has started, nil before.
func (q *sinkQueue) started() admethod.Sink {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sink
}

// firstTry waits for the first try to start the sink, for a while: nil where the sink runs, or is tried again.
func (q *sinkQueue) firstTry(ctx context.Context) error {
	timer := time.NewTimer(startPatience)
	defer timer.Stop()
	select {
	case <-q.tried:
		return q.wrong
	case <-timer.C:
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.settled {
			q.late = true
			q.trouble(startRisk, fmt.Errorf("sink %q: has not started within %v", q.name, startPatience))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sink %q: %w", q.name, admethod.ErrClosed)
	}
}

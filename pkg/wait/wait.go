// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package wait is how goroutines let time pass.
package wait

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Sleep waits for d, or returns why ctx ended.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Done waits until done is closed. It returns late if that takes longer than d, or why ctx ended.
func Done(ctx context.Context, done <-chan struct{}, d time.Duration, late error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, late)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Wake has whoever waits for c look again: c has room for one value, which stands for any number of calls.
func Wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Cond waits until done, or until ctx ends. The caller holds the lock of c, under which done is asked, and broadcasts what
// it depends on.
func Cond(ctx context.Context, c *sync.Cond, done func() bool) {
	stop := context.AfterFunc(ctx, func() {
		c.L.Lock()
		defer c.L.Unlock()
		c.Broadcast()
	})
	defer stop()
	for !done() && ctx.Err() == nil {
		c.Wait()
	}
}

// Tick calls f every d until ctx ends. Ticks that come while f is at work are one.
func Tick(ctx context.Context, d time.Duration, f func(now time.Time)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			f(now)
		}
	}
}

// Backoff counts pauses between tries that fail. They double from First to Longest, and each is drawn from the upper half
// of its length, so that many who lost the same peer do not come back together.
type Backoff struct {
	First, Longest time.Duration

	next time.Duration
}

// Next is how long to wait before the next try.
func (b *Backoff) Next() time.Duration {
	d := min(max(b.next, b.First), b.Longest)
	b.next = 2 * d
	return d/2 + rand.N(d/2+1)
}

// Reset begins anew after a try that was no failure.
func (b *Backoff) Reset() { b.next = 0 }

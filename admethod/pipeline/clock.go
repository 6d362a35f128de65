// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"sync/atomic"
	"time"
)

const (
	coarseTick = 100 * time.Millisecond
	longTick   = 2 * time.Second // of the coarse clock, that a pause of the process explains
)

// clock is the coarse clock of the handler. It is steady: it begins with the wall clock, and goes on with the monotonic
// one, so that it takes no part in a step of the wall clock. Readings that the mapper itself has stamped (their times have
// a monotonic reading) are on it; those with a time of the device are on the wall clock, as devices are.
type clock struct {
	began   time.Time    // with a monotonic reading
	now     atomic.Int64 // steady, Unix ns; 0 in replays
	ahead   atomic.Int64 // the wall clock, of the steady one, ns
	resumed atomic.Int64 // when the process, or the wall clock, last went on after a pause, steady
}

// begin is called once, before readings come.
func (c *clock) begin(now time.Time) {
	c.began = now
	c.now.Store(now.UnixNano())
}

// steady is a time with a monotonic reading on the steady clock.
func (c *clock) steady(t time.Time) int64 { return c.began.UnixNano() + int64(t.Sub(c.began)) }

// wall is the time of the wall clock, coarsely.
func (c *clock) wall() time.Time {
	now := c.now.Load()
	return time.Unix(0, now+c.ahead.Load())
}

// advance moves the clock on, and returns for how long the process stood still, 0 where it did not. now has a monotonic
// reading. It may be called concurrently.
func (c *clock) advance(now time.Time) (pause time.Duration) {
	ns := c.steady(now)
	last := c.now.Load()
	if ns <= last || !c.now.CompareAndSwap(last, ns) {
		return 0
	}
	if step := ns - last; step > int64(longTick) {
		c.resumed.Store(ns)
		pause = time.Duration(step)
	}
	// The monotonic clock stands while a node sleeps, and the wall clock then makes a step.
	ahead := now.UnixNano() - ns
	if step := ahead - c.ahead.Swap(ahead); step > int64(longTick) {
		c.resumed.Store(ns)
	}
	return pause
}

// stamped reports whether a time has a monotonic reading.
func stamped(t time.Time) bool { return t != t.Round(0) }

// times returns a time of a reading and the present as the quality stage wants them: both steady where the mapper stamped
// the reading, else both of the wall clock. The present is 0 in replays.
func (c *clock) times(at time.Time) (ns, now int64, steady bool) {
	switch now = c.now.Load(); {
	case now == 0:
		return at.UnixNano(), 0, false
	case stamped(at):
		return c.steady(at), now, true
	}
	return at.UnixNano(), now + c.ahead.Load(), false
}

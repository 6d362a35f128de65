// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wait_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := wait.Sleep(t.Context(), time.Hour); err != nil || time.Since(began) != time.Hour {
			t.Errorf("%v after %v, want an hour", err, time.Since(began))
		}
		why := errors.New("the house burns")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(why) })
		if err := wait.Sleep(ctx, time.Hour); !errors.Is(err, why) || time.Since(began) != time.Hour+time.Minute {
			t.Errorf("%v after %v, want %v after a minute", err, time.Since(began), why)
		}
	})
}

func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late, why := errors.New("no answer"), errors.New("the house burns")
		done := make(chan struct{})
		began := time.Now()
		if err := wait.Done(t.Context(), done, time.Minute, late); !errors.Is(err, late) || time.Since(began) != time.Minute {
			t.Errorf("%v after %v, want %v after a minute", err, time.Since(began), late)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if err := wait.Done(ctx, done, time.Minute, late); !errors.Is(err, why) {
			t.Errorf("%v, want %v", err, why)
		}
		time.AfterFunc(time.Second, func() { close(done) })
		if err := wait.Done(t.Context(), done, time.Minute, late); err != nil || time.Since(began) != time.Minute+time.Second {
			t.Errorf("%v after %v, want a second more", err, time.Since(began))
		}
	})
}

func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Second/2)
		defer cancel()
		began, n := time.Now(), 0
		wait.Tick(ctx, time.Second, func(now time.Time) {
			if n++; now.Sub(began) != time.Duration(n)*time.Second {
				t.Errorf("tick %d after %v", n, now.Sub(began))
			}
		})
		if n != 60 {
			t.Errorf("%d ticks in a minute, want 60", n)
		}
	})
}

func TestBackoff(t *testing.T) {
	b := wait.Backoff{First: 100 * time.Millisecond, Longest: time.Second}
	want := func(longest time.Duration) {
		t.Helper()
		if d := b.Next(); d < longest/2 || d > longest {
			t.Errorf("waits for %v, want %v to %v", d, longest/2, longest)
		}
	}
	for range 100 {
		for _, ms := range []int{100, 200, 400, 800, 1000, 1000} {
			want(time.Duration(ms) * time.Millisecond)
		}
		b.Reset()
	}
}

func TestWake(t *testing.T) {
	c := make(chan struct{}, 1)
	for range 3 {
		wait.Wake(c)
	}
	if len(c) != 1 {
		t.Errorf("%d wait, want one for all", len(c))
	}
}

func TestCond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		c, n := sync.NewCond(&mu), 0
		go func() {
			for range 3 {
				_ = wait.Sleep(t.Context(), time.Second)
				mu.Lock()
				n++
				c.Broadcast()
				mu.Unlock()
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		mu.Lock()
		defer mu.Unlock()
		began := time.Now()
		if wait.Cond(ctx, c, func() bool { return n == 3 }); time.Since(began) != 3*time.Second {
			t.Errorf("waited for %v, want 3 s", time.Since(began))
		}
		if wait.Cond(ctx, c, func() bool { return n == 4 }); time.Since(began) != time.Hour {
			t.Errorf("waited for %v, want the end of the context", time.Since(began))
		}
	})
}

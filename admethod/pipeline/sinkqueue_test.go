// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// scriptedSink answers each write with the next error of its script, and nil after the last.
type scriptedSink struct {
	mu     sync.Mutex
	script []error
	block  chan struct{} // write waits for it, or for its context
	got    []driver.Result
	calls  int
}

func (s *scriptedSink) Start(context.Context) error    { return nil }
func (s *scriptedSink) Shutdown(context.Context) error { return nil }
func (s *scriptedSink) Write(ctx context.Context, batch []driver.Result) error {
	if s.block != nil {
		select {
		case <-s.block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if len(s.script) > 0 {
		err := s.script[0]
		s.script = s.script[1:]
		if err != nil {
			return err
		}
	}
	s.got = append(s.got, batch...)
	return nil
}

func runQueue(t *testing.T, s *scriptedSink) *sinkQueue {
	t.Helper()
	q := newSinkQueue("scripted", func() (admethod.Sink, error) { return s, nil }, new(admethod.Hooks))
	ctx, cancel := context.WithCancel(t.Context())
	go q.run(ctx)
	t.Cleanup(func() {
		cancel()
		<-q.done
	})
	return q
}

func verdict(device string, severity driver.Severity) driver.Result {
	return driver.Result{Key: driver.Key{Namespace: "default", Device: device, Property: "p"}, Severity: severity}
}

func TestSinkQueueRetriesByErrorClass(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		calls int
		after time.Duration // at least
		kept  bool
	}{
		{"plain errors are retried", errors.New("refused"), 2, firstRetry / 2, true},
		{"throttling waits as long as asked", &admethod.ThrottledError{Wait: time.Minute, Err: errors.New("429")}, 2, time.Minute, true},
		{"permanent errors are not", admethod.Permanent(errors.New("400")), 1, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scriptedSink{script: []error{tt.err}}
				q := runQueue(t, s)
				start := time.Now()
				q.push(verdict("a", driver.Warning))
				if err := q.flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); s.calls != tt.calls || took < tt.after || (len(s.got) == 1) != tt.kept {
					t.Errorf("%d calls, %v, %d written", s.calls, took, len(s.got))
				}
				if refused := q.stats().Refused; (refused == 1) == tt.kept {
					t.Errorf("%d refused", refused)
				}
			})
		})
	}
}

// A sink that hangs costs bounded memory, and in the end still hears the last word on each stream.
func TestSinkQueueKeepsTheLatestWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scriptedSink{block: make(chan struct{})}
		q := runQueue(t, s)
		const devices, rounds = 100, 1000
		for round := range rounds {
			severity := driver.Normal
			if round%2 == 0 {
				severity = driver.Critical
			}
			for d := range devices {
				q.push(verdict(fmt.Sprint(d), severity))
			}
		}
		synctest.Wait()
		if waiting := q.stats().Waiting; waiting > q.limit+devices {
			t.Errorf("%d verdicts wait, want at most %d", waiting, q.limit+devices)
		}
		close(s.block)
		if err := q.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := make(map[driver.Key]driver.Severity)
		for _, r := range s.got {
			last[r.Key] = r.Severity
		}
		for key, severity := range last {
			if severity != driver.Normal {
				t.Errorf("last word on %v is %v, want normal", key, severity)
			}
		}
		if got := uint64(len(s.got)) + q.stats().Replaced; len(last) != devices || got != devices*rounds {
			t.Errorf("%d streams, %d verdicts written or replaced; want %d, %d", len(last), got, devices, devices*rounds)
		}
	})
}

func TestSinkQueueSurvivesPanic(t *testing.T) {
	q := newSinkQueue("panics", nil, new(admethod.Hooks))
	q.sink = panicSink{}
	if err := q.attempt(t.Context(), nil); !errors.Is(err, admethod.ErrPermanent) {
		t.Errorf("got %v, want a permanent error", err)
	}
}

type panicSink struct{ *scriptedSink }

func (panicSink) Write(context.Context, []driver.Result) error { panic("no") }

type panicForgetter struct {
	*scriptedSink
	forgets int
}

func (s *panicForgetter) Forget(driver.Key) {
	if s.forgets++; s.forgets == 1 {
		panic("in Forget")
	}
}

// A sink that panics when it is to forget a property is told of as one that failed, and hears of what comes after.
func TestSinkThatPanicsInForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &panicForgetter{scriptedSink: new(scriptedSink)}
		var failures []error
		hooks := &admethod.Hooks{SinkFailed: func(_ string, err error, _ bool) { failures = append(failures, err) }}
		q := newSinkQueue("fragile", func() (admethod.Sink, error) { return s, nil }, hooks)
		ctx, cancel := context.WithCancel(t.Context())
		go q.run(ctx)
		for range 2 {
			q.forget(driver.Key{Device: "d"})
			q.push(verdict("d", driver.Warning))
		}
		if err := q.flush(t.Context()); err != nil {
			t.Error(err)
		}
		cancel()
		<-q.done
		if p := (*guard.Panic)(nil); len(failures) != 1 || !errors.As(failures[0], &p) || s.forgets != 2 || len(s.got) != 2 {
			t.Errorf("failures %v, %d forgotten, %d verdicts", failures, s.forgets, len(s.got))
		}
	})
}

// What is queued before the queue is closed is written, also where both happen while the queue finds nothing to do.
func TestSinkQueueEndsWithItsLast(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) // the more are at it, the sooner it shows
	for i := range 2000 {
		s := new(scriptedSink)
		q := runQueue(t, s)
		<-q.tried
		idle := make(chan struct{})
		go func() { // has it look again and again
			defer close(idle)
			for {
				select {
				case q.wake <- struct{}{}:
				case <-q.done:
					return
				}
			}
		}()
		for range i % 64 { // at any moment of that
			q.mu.Lock()
			q.mu.Unlock() //nolint:staticcheck // only to be in each other's way
		}
		q.push(verdict("last", driver.Warning))
		q.close()
		<-q.done
		<-idle
		if len(s.got) != 1 {
			t.Fatalf("queue %d: %d verdicts are written, want the one that was queued", i, len(s.got))
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// While EdgeCore is away only the latest values wait, and they go out when it is back.
func TestReporterEdgeCoreAway(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		edge.set(func(string) error { return errors.New("connection refused") }, false)
		for i := range 10000 {
			r.Report("ns", "a", twinOf("x", strconv.Itoa(i)))
			if i%100 == 0 {
				pass(time.Second)
			}
		}
		pass(time.Minute)
		s := r.Stats()
		if s.Pending != 1 || s.Coalesced != 9999 || s.Calls != 0 {
			t.Errorf("stats %+v, want one that waits", s)
		}
		if s.Retried < 15 || s.Retried > 40 {
			t.Errorf("%d tries in 160 s, want pauses that grow to 10 s", s.Retried)
		}
		edge.set(nil, false)
		pass(time.Minute)
		wantCalls(t, edge, "a x=9999", "a x=9999")
	})
}

// One device that EdgeCore keeps refusing holds up no other.
func TestReporterOneDeviceFails(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		edge.set(func(call string) error {
			if strings.HasPrefix(call, "bad") {
				return errors.New("database is locked")
			}
			return nil
		}, false)
		r.Report("ns", "bad", twinOf("x", "1"))
		r.Report("ns", "good", twinOf("x", "1"))
		pass(2 * time.Minute)
		wantCalls(t, edge, "good x=1", "good x=1")
		edge.set(func(call string) error { return &CallError{Class: CallPermanent, Err: errors.New("no")} }, false)
		pass(time.Minute)
		if s := r.Stats(); s.Pending != 0 || s.Dropped != 1 {
			t.Errorf("stats %+v, want the twin dropped that EdgeCore refuses for good", s)
		}
		edge.set(nil, false)
		r.Report("ns", "bad", twinOf("x", "2"))
		pass(time.Minute)
		wantCalls(t, edge, "bad x=2", "bad x=2")
	})
}

// A refusal by the node's limiter empties the own one: other mappers took the tokens.
func TestReporterThrottled(t *testing.T) {
	limiter := rate.NewLimiter(1, 100)
	reporting(t, ReporterOptions{Limiter: limiter}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		edge.set(func(string) error { return &CallError{Class: CallThrottled, Err: errors.New("too many request")} }, false)
		r.Report("ns", "a", twinOf("x", "1"))
		pass(110 * time.Millisecond)
		if n := limiter.Tokens(); n > 1 {
			t.Errorf("%v tokens left after a refusal", n)
		}
		edge.set(nil, false)
		pass(10 * time.Second)
		wantCalls(t, edge, "a x=1", "a x=1")
		if s := r.Stats(); s.Throttled != 1 || s.Retried != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestReporterShutdownFlushes(t *testing.T) {
	reporting(t, ReporterOptions{Linger: time.Hour}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "offline")
		began := time.Now()
		for range 2 {
			if err := r.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("lingered for %v", d)
		}
		wantCalls(t, edge, "a is offline", "a x=1", "a x=1")
		r.Report("ns", "a", twinOf("x", "2"))
		r.ReportState("ns", "a", "ok")
		if s := r.Stats(); s.Pending != 0 {
			t.Errorf("took %d reports after the end", s.Pending)
		}
		if err := r.Start(t.Context()); err == nil {
			t.Error("started again")
		}
	})
}

// Nothing that EdgeCore does keeps Shutdown beyond its ctx.
func TestReporterShutdownDeadline(t *testing.T) {
	for name, edgeOf := range map[string]func(*fakeEdge){
		"hangs":     func(f *fakeEdge) { f.set(nil, true) },
		"is away":   func(f *fakeEdge) { f.set(func(string) error { return errors.New("away") }, false) },
		"throttles": func(f *fakeEdge) {},
	} {
		limiter := rate.NewLimiter(rate.Inf, 1)
		if name == "throttles" {
			limiter = rate.NewLimiter(rate.Every(time.Hour), 1)
		}
		reporting(t, ReporterOptions{Limiter: limiter}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
			edgeOf(edge)
			for i := range 3 {
				r.Report("ns", strconv.Itoa(i), twinOf("x", "1"))
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 twins") {
				t.Errorf("%s: error %v, want one that tells what was lost", name, err)
			}
			if d := time.Since(began); d != 2*time.Second {
				t.Errorf("%s: shutdown took %v", name, d)
			}
		})
	}
}

func TestReporterNeverBlocks(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		edge.set(nil, true)
		r.Report("ns", "a", twinOf("x", "0"))
		pass(time.Second) // now a call hangs
		began := time.Now()
		for i := range 10000 {
			r.Report("ns", "a", twinOf("x", strconv.Itoa(i)))
			r.ReportState("ns", "a", "ok")
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("submitting waited for %v", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Shutdown(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// What EdgeCore had before it went away is sent again with the next report, unchanged or not; and a state that changes
// goes before the heartbeats of many devices.
func TestReporterAfterAnOutage(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		wantCalls(t, edge, "a is ok", "a x=1", "a x=1")
		edge.set(func(string) error { return &CallError{Class: CallRetryable, Err: context.DeadlineExceeded} }, false)
		r.Report("ns", "b", twinOf("x", "1"))
		pass(5 * time.Second)
		edge.set(nil, false)
		pass(20 * time.Second)
		wantCalls(t, edge, "b x=1", "b x=1")
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		wantCalls(t, edge, "a is ok", "a x=1")
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		wantCalls(t, edge)
	})
}

func TestReporterHurriesStates(t *testing.T) {
	reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, 1), Heartbeat: -1}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for i := range 100 {
			r.Report("ns", fmt.Sprint("d", i), twinOf("x", "1"))
		}
		pass(10 * time.Second)
		edge.take()
		r.ReportState("ns", "d99", "unhealthy")
		r.Report("ns", "d99", twinOf("x", "2"))
		pass(3 * time.Second)
		if calls := edge.take(); !slices.Contains(calls, "d99 is unhealthy") {
			t.Errorf("calls of three seconds %v, want the state among them", calls)
		}
		pass(300 * time.Second)
		if calls := edge.take(); !slices.Contains(calls, "d99 x=2") || !slices.Contains(calls, "d98 x=1") {
			t.Errorf("the others did not get their turn: %v", calls)
		}
		r.ReportState("ns", "d5", "unhealthy")
		r.Forget("ns", "d5")
		pass(10 * time.Second)
		if calls := edge.take(); len(calls) != 0 {
			t.Errorf("calls for a device that is gone: %v", calls)
		}
	})
}

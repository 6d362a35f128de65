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
		wantCalls(t, edge, "bad x=2", "bad x=2", "good x=1") // which EdgeCore may have lost while it refused the other
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

// What EdgeCore had before it went away is sent again when it is back, though nobody submits it again; and however
// often it goes away, that is once a minute.
func TestReporterAfterAnOutage(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		wantCalls(t, edge, "a is ok", "a x=1", "a x=1")
		away := func(_ string) error { return &CallError{Class: CallRetryable, Err: context.DeadlineExceeded} }
		edge.set(away, false)
		r.Report("ns", "b", twinOf("x", "1"))
		pass(5 * time.Second)
		edge.set(nil, false)
		pass(20 * time.Second)
		wantCalls(t, edge, "b x=1", "b x=1", "a is ok", "a x=1")
		for i := range 5 {
			edge.set(away, false)
			r.Report("ns", "b", twinOf("x", fmt.Sprint(2+i)))
			pass(time.Second)
			edge.set(nil, false)
			pass(2 * time.Second)
		}
		again := func() (n int) {
			for _, call := range edge.take() {
				if strings.HasPrefix(call, "a ") {
					n++
				}
			}
			return n
		}
		if n := again(); n != 0 {
			t.Errorf("%d calls for a within a minute of the last", n)
		}
		pass(time.Minute)
		if n := again(); n != 2 {
			t.Errorf("%d calls for a, want its state and its twins once", n)
		}
	})
}

// What EdgeCore accepted and lost is right again within two periods, device by device at a time of its own, and what
// was sent lately meanwhile is left out.
func TestReporterReportsAgain(t *testing.T) {
	const period = 5 * time.Minute
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for i := range 20 {
			r.ReportState("ns", fmt.Sprint("d", i), "unhealthy")
			r.Report("ns", fmt.Sprint("d", i), twinOf("x", "1"))
		}
		pass(time.Second)
		edge.take()
		seconds := make(map[int]bool) // of the first period
		for range 2 * int(period/time.Second) {
			pass(time.Second)
			r.Report("ns", "d7", twinOf("y", time.Now().Format("050000.000"))) // changes all the time
			edge.mu.Lock()
			for _, at := range edge.times {
				if at < period+time.Second {
					seconds[int(at.Seconds())] = true
				}
			}
			edge.mu.Unlock()
		}
		pass(time.Second)
		counts := make(map[string]int)
		for _, call := range edge.take() {
			if !strings.Contains(call, " y=") {
				counts[call]++
			}
		}
		for i := range 20 {
			for _, call := range []string{"unhealthy", "1"} {
				name := fmt.Sprintf("d%d is %s", i, call)
				if call == "1" {
					name = fmt.Sprintf("d%d x=1", i)
				}
				if n := counts[name]; (n < 1 || n > 2) && name != "d7 x=1" { // which goes with y
					t.Errorf("%q %d times in two periods, want it once or twice", name, n)
				}
			}
		}
	})
}

// Reporting again leaves half of the node's limiter to what changes, and to other mappers.
func TestReporterReportsAgainWithinTheLimiter(t *testing.T) {
	reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, 100)}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for i := range 300 {
			r.ReportState("ns", fmt.Sprint("d", i), "ok")
		}
		pass(5 * time.Minute)
		edge.take()
		pass(time.Hour)
		calls := edge.take()
		if n := len(calls); n < 800 || n > 1900 {
			t.Errorf("%d calls in an hour of 3600, want no more than half and no less than one device in four seconds", n)
		}
		seen := make(map[string]bool)
		for _, call := range calls {
			seen[call] = true
		}
		if len(seen) != 300 {
			t.Errorf("%d devices were reported again, want all 300", len(seen))
		}
	})
}

// Two hundred devices of which all verdicts get worse at once, with readings that change all the time: each is told with
// state and twins together, in two calls, and the readings are not forgotten meanwhile. The log says once that this is
// more than fits.
func TestReporterWorseGoesFirst(t *testing.T) {
	reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, 1)}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		const devices = 200
		name := func(i int) string { return fmt.Sprint("d", i) }
		for i := range devices {
			r.ReportState("ns", name(i), "ok")
			r.Report("ns", name(i), twinOf("t-anomaly", "normal"))
			r.Report("ns", name(i), twinOf("t", "20"))
		}
		pass(1500 * time.Second)
		edge.take()
		states, verdicts, readings, meanwhile := 0, 0, 0, 0
		var allBy time.Duration
		var last string
		for i := range devices {
			r.ReportState("ns", name(i), "unhealthy")
			r.Report("ns", name(i), twinOf("t-anomaly", "critical:jump:0.99"))
		}
		began := time.Now()
		for second := range 600 {
			for i := range devices {
				r.Report("ns", name(i), twinOf("t", fmt.Sprint(second)))
			}
			pass(time.Second)
			for _, call := range edge.take() {
				switch {
				case strings.HasSuffix(call, "unhealthy"):
					states++
				case strings.Contains(call, "critical"):
					if verdicts++; verdicts == devices {
						allBy, meanwhile = time.Since(began), readings
					}
					if name, _, _ := strings.Cut(call, " "); last != name+" is unhealthy" && last != "" { // the first may be half of a turn
						t.Errorf("%q came after %q, want it right after its state", call, last)
					}
				default:
					readings++
				}
				last = call
			}
		}
		t.Logf("all by %v, with %d calls for readings alone", allBy, meanwhile)
		if states < devices || allBy == 0 || allBy > 430*time.Second {
			t.Errorf("%d states and %d verdicts of %d, all after %v; want them within 430 s", states, verdicts, devices, allBy)
		}
		if meanwhile < 20 || readings < 70 {
			t.Errorf("%d calls with readings alone, %d of them before all was told; want one turn of eight, and the rest of 600", readings, meanwhile)
		}
		if s := r.Stats(); s.Longest < time.Minute {
			t.Errorf("the longest wait is %v", s.Longest)
		}
	})
}

// The arithmetic of docs/kubernetes.md.
func TestReporterTakesTwoSecondsADevice(t *testing.T) {
	for _, tt := range []struct {
		devices, burst int // of which nothing is used
		want           time.Duration
	}{
		{25, 1, 50 * time.Second}, {25, 100, 0},
		{100, 1, 200 * time.Second}, {100, 100, 100 * time.Second},
		{200, 1, 400 * time.Second}, {200, 100, 300 * time.Second},
	} {
		reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, tt.burst), Heartbeat: -1}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
			report := func(state, verdict string) {
				for i := range tt.devices {
					r.ReportState("ns", fmt.Sprint("d", i), state)
					r.Report("ns", fmt.Sprint("d", i), twinOf("t-anomaly", verdict))
					r.Report("ns", fmt.Sprint("d", i), twinOf("u-anomaly", verdict))
				}
			}
			report("ok", "normal")
			pass(time.Hour)
			edge.take()
			began, told := time.Now(), 0
			report("unhealthy", "critical:jump:0.99")
			for told < 2*tt.devices && time.Since(began) < time.Hour {
				pass(time.Second)
				told += len(edge.take())
			}
			if took := time.Since(began); took < tt.want-2*time.Second || took > tt.want+3*time.Second {
				t.Errorf("%d devices with two verdicts each, %d calls unused: all is told after %v in %d calls, want %v in %d", tt.devices, tt.burst, took, told, tt.want, 2*tt.devices)
			}
		})
	}
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

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"golang.org/x/time/rate"
)

func twinOf(property, value string) common.Twin {
	return common.Twin{PropertyName: property, Reported: common.TwinProperty{Value: value}}
}

// fakeEdge records calls, as "device property=value …" or "device is state", each with the time since the test began.
type fakeEdge struct {
	mu    sync.Mutex
	began time.Time
	calls []string
	times []time.Duration
	twins []*dmiapi.Twin // of the last call
	fail  func(call string) error
	hang  bool
}

func (f *fakeEdge) record(ctx context.Context, call string, twins []*dmiapi.Twin) error {
	f.mu.Lock()
	hang := f.hang
	var err error
	if f.fail != nil {
		err = f.fail(call)
	}
	if err == nil && !hang {
		f.calls = append(f.calls, call)
		f.times = append(f.times, time.Since(f.began))
		f.twins = twins
	}
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (f *fakeEdge) ReportTwins(ctx context.Context, _, device string, twins []*dmiapi.Twin) error {
	var b strings.Builder
	b.WriteString(device)
	for _, t := range twins {
		fmt.Fprintf(&b, " %s=%s", t.GetPropertyName(), t.GetReported().GetValue())
	}
	return f.record(ctx, b.String(), twins)
}

func (f *fakeEdge) ReportState(ctx context.Context, _, device, state string) error {
	return f.record(ctx, device+" is "+state, nil)
}

func (f *fakeEdge) set(fail func(string) error, hang bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.hang = fail, hang
}

func (f *fakeEdge) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls, f.times = nil, nil
	return calls
}

// reporting runs a test in a bubble, where the clock stands still while anybody works.
func reporting(t *testing.T, opts ReporterOptions, test func(t *testing.T, r *Reporter, edge *fakeEdge)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		edge := &fakeEdge{began: time.Now()}
		opts.Client = edge
		if opts.Limiter == nil && opts.Share == 0 {
			opts.Limiter = rate.NewLimiter(rate.Inf, 0)
		}
		r, err := NewReporter(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		test(t, r, edge)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		_ = r.Shutdown(ctx)
	})
}

// pass lets the time pass that a bubble has.
func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func wantCalls(t *testing.T, edge *fakeEdge, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, edge.take()); diff != "" {
		t.Errorf("calls to edgecore (-want +got):\n%s", diff)
	}
}

func TestReporterOneCallADevice(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("y", "1"))
		r.Report("ns", "a", twinOf("x", "1"))
		r.Report("ns", "a", twinOf("x", "2")) // the latest wins
		pass(100 * time.Millisecond)
		wantCalls(t, edge, "a x=2 y=1")
		pass(100 * time.Millisecond) // the first of each goes out twice
		wantCalls(t, edge, "a x=2 y=1")
		r.Report("ns", "a", twinOf("x", "3"))
		pass(time.Second)
		wantCalls(t, edge, "a x=3")
		if s := r.Stats(); s != (ReporterStats{Calls: 3, Twins: 5, Coalesced: 1}) {
			t.Errorf("stats %+v", s)
		}
	})
}

// A value that came meanwhile takes the place of the repeated first one.
func TestReporterFreshTwinChanges(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		pass(100 * time.Millisecond)
		r.Report("ns", "a", twinOf("x", "2"))
		pass(time.Second)
		wantCalls(t, edge, "a x=1", "a x=2")
	})
}

// A value that comes while a call is under way is not taken for sent.
func TestReporterValueDuringCall(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		pass(time.Second)
		edge.take()
		edge.set(func(call string) error {
			if call == "a x=2" {
				r.Report("ns", "a", twinOf("x", "3"))
			}
			return nil
		}, false)
		r.Report("ns", "a", twinOf("x", "2"))
		pass(time.Second)
		wantCalls(t, edge, "a x=2", "a x=3")
	})
}

func TestReporterHeartbeat(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for range 150 { // two and a half minutes
			r.Report("ns", "a", twinOf("x", "1"))
			pass(time.Second)
		}
		wantCalls(t, edge, "a x=1", "a x=1")
		if s := r.Stats(); s.Unchanged != 149 {
			t.Errorf("%d unchanged, want 149", s.Unchanged)
		}
		pass(10 * time.Minute) // nobody submits anything
		wantCalls(t, edge, "a x=1", "a x=1")
	})
	reporting(t, ReporterOptions{Heartbeat: -1}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for range 5 {
			r.Report("ns", "a", twinOf("x", "1"))
			pass(time.Second)
		}
		if n := len(edge.take()); n != 6 {
			t.Errorf("%d calls without heartbeat, want each and the repeated first", n)
		}
	})
}

// A desired value that changed is news, even while the reported one stays.
func TestReporterObservedDesired(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		twin := twinOf("x", "OFF")
		r.Report("ns", "a", twin)
		pass(time.Second)
		edge.take()
		twin.ObservedDesired.Value = "ON"
		r.Report("ns", "a", twin)
		pass(time.Second)
		wantCalls(t, edge, "a x=OFF")
		if got := edge.twins[0].GetObservedDesired().GetValue(); got != "ON" {
			t.Errorf("observed desired value %q, want ON", got)
		}
	})
}

func TestReporterFillsTwins(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		twin := twinOf("x", "1e+3")
		twin.Property = &common.DeviceProperty{PProperty: common.ModelProperty{DataType: "DOUBLE"}}
		now := strconv.FormatInt(time.Now().UnixMilli(), 10)
		r.Report("ns", "a", twin)
		r.Report("ns", "a", common.Twin{PropertyName: "y", Reported: common.TwinProperty{
			Value: "?", Metadata: common.Metadata{Type: "string", Timestamp: "7"}}})
		pass(time.Second)
		want := map[string]map[string]string{
			"x": {"value": "1000", "type": "double", "timestamp": now},
			"y": {"value": "", "type": "string", "timestamp": "7"},
		}
		for _, tw := range edge.twins {
			got := map[string]string{"value": tw.GetReported().GetValue()}
			maps.Copy(got, tw.GetReported().GetMetadata())
			if diff := cmp.Diff(want[tw.GetPropertyName()], got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tw.GetPropertyName(), diff)
			}
			if tw.GetObservedDesired() == nil || tw.GetObservedDesired().GetMetadata()["type"] == "" {
				t.Errorf("%s: observedDesired %v", tw.GetPropertyName(), tw.GetObservedDesired())
			}
		}
		r.Report("ns", "a", twinOf("not legal", "1"))
		r.Report("ns", "a", twinOf("", "1"))
		r.Report("ns", "a", twinOf("z", strings.Repeat("1", 600)+"x"))
		pass(time.Second)
		if s := r.Stats(); s.Rewritten != 1 || s.Illegal != 3 || s.Truncated != 1 {
			t.Errorf("%d rewritten, %d illegal, %d truncated; want 1, 3, 1", s.Rewritten, s.Illegal, s.Truncated)
		}
	})
}

func TestReporterStates(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for _, state := range []string{"online", "ok", "disconnected", ""} {
			r.ReportState("ns", "a", state)
		}
		r.Report("ns", "a", twinOf("x", "1"))
		pass(time.Second)
		wantCalls(t, edge, "a is ok", "a x=1", "a x=1")
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		wantCalls(t, edge) // it knows
		pass(5 * time.Minute)
		wantCalls(t, edge, "a is ok", "a x=1") // heartbeat
		if s := r.Stats(); s.States != 2 || s.Illegal != 2 || s.Coalesced != 1 || s.Unchanged != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

// A device that never stops talking does not keep its own twins or other devices from their turn. In a turn it is told
// twice, by state and by twins.
func TestReporterFairness(t *testing.T) {
	reporting(t, ReporterOptions{Limiter: rate.NewLimiter(1, 1), Heartbeat: -1}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		for i := range 600 { // one minute
			r.Report("ns", "noisy", twinOf("x", strconv.Itoa(i)))
			r.ReportState("ns", "noisy", []string{"ok", "unhealthy"}[i%2])
			if i%10 == 0 {
				r.Report("ns", "a", twinOf("x", strconv.Itoa(i)))
				r.Report("ns", "b", twinOf("x", strconv.Itoa(i)))
			}
			pass(100 * time.Millisecond)
		}
		turns := map[string]int{}
		for _, call := range edge.take() {
			if name := strings.Fields(call)[0]; strings.HasPrefix(call, "noisy is") {
				turns["state"]++
			} else {
				turns[name]++
			}
		}
		for _, name := range []string{"noisy", "state", "a", "b"} {
			if n := turns[name]; n < 14 || n > 17 { // twice it got worse, which goes first
				t.Errorf("%s had %d of about 60 calls, want a quarter: %v", name, n, turns)
			}
		}
	})
}

// Within a burst of 100 the reports go out at once, then at one a second; the share divides both.
func TestReporterRate(t *testing.T) {
	for share, want := range map[float64]int{1: 100 + 60, 0.5: 50 + 30} {
		reporting(t, ReporterOptions{Share: share, Heartbeat: -1}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
			for i := range 200 {
				r.Report("ns", strconv.Itoa(i), twinOf("x", "1"))
			}
			pass(60 * time.Second)
			if n := len(edge.take()); n < want-1 || n > want+1 {
				t.Errorf("share %v: %d calls in a minute, want about %d", share, n, want)
			}
			synctest.Wait()
			r.Forget("ns", "0")
		})
	}
}

func TestReporterForgetAndRenew(t *testing.T) {
	reporting(t, ReporterOptions{}, func(t *testing.T, r *Reporter, edge *fakeEdge) {
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		r.Forget("ns", "a")
		r.Forget("ns", "nobody")
		r.Renew("ns", "nobody")
		pass(time.Second)
		wantCalls(t, edge)
		for range 2 { // fresh again each time
			r.Report("ns", "a", twinOf("x", "1"))
			pass(time.Second)
			wantCalls(t, edge, "a x=1", "a x=1")
			r.Forget("ns", "a")
		}
		r.Report("ns", "a", twinOf("x", "1"))
		r.ReportState("ns", "a", "ok")
		pass(time.Second)
		edge.take()
		r.Renew("ns", "a")
		pass(time.Second)
		wantCalls(t, edge, "a is ok", "a x=1", "a x=1")
	})
}

func TestNewReporterRefuses(t *testing.T) {
	for name, opts := range map[string]ReporterOptions{
		"no client":      {},
		"negative share": {Client: &fakeEdge{}, Share: -1},
		"share over 1":   {Client: &fakeEdge{}, Share: 2},
		"no burst":       {Client: &fakeEdge{}, Limiter: rate.NewLimiter(1, 0)},
	} {
		if _, err := NewReporter(opts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r, err := NewReporter(ReporterOptions{Client: &fakeEdge{}})
	if err != nil {
		t.Fatal(err)
	}
	r.Report("ns", "a", twinOf("x", "1"))
	if err := r.Shutdown(t.Context()); err == nil {
		t.Error("no error although a report was lost that was never started")
	}
}

// Most values do not change, so that leaving them out must cost nothing.
func TestReporterUnchangedDoesNotAllocate(t *testing.T) {
	r, twin := unchanged(t)
	if n := testing.AllocsPerRun(1000, func() { r.Report("ns", "a", twin) }); n > 1 {
		t.Errorf("%v allocations, want at most the one of the device's ID", n)
	}
}

func BenchmarkReporterUnchanged(b *testing.B) {
	r, twin := unchanged(b)
	b.ReportAllocs()
	for b.Loop() {
		r.Report("ns", "a", twin)
	}
}

// unchanged is a reporter that has just sent the twin.
func unchanged(tb testing.TB) (*Reporter, common.Twin) {
	tb.Helper()

	r, err := NewReporter(ReporterOptions{Client: &fakeEdge{}, Heartbeat: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	d := r.device("ns", "a")
	d.twins["x"] = &twinReport{report: report{accepted: 2, known: value{reported: "21.5"}, knownAt: time.Now()}}
	return r, twinOf("x", "21.5")
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

// These tests run against the simulated EdgeCore over a real socket, with pauses made short.

func startReporter(t *testing.T, e *edgecoretest.EdgeCore) *Reporter {
	t.Helper()
	r, err := NewReporter(ReporterOptions{
		Client: newClient(t, e), Limiter: rate.NewLimiter(rate.Inf, 1),
		Linger: time.Millisecond, RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// The cloud sees the very first value, which EdgeCore alone would lose, and values that it alone would drop.
func TestReporterReachesTheCloud(t *testing.T) {
	e := startEdgeCore(t, "a")
	r := startReporter(t, e)
	r.Report("default", "a", twinOf("temperature", "1e+20"))
	r.Report("default", "a", twinOf("power", "is ON"))
	r.ReportState("default", "a", "ok")
	for property, want := range map[string]string{"temperature": "100000000000000000000", "power": "is_ON"} {
		if err := e.WaitTwin(within(t), "default", "a", property, want); err != nil {
			t.Error(err)
		}
	}
	if err := e.WaitState(within(t), "default", "a", "ok"); err != nil {
		t.Error(err)
	}
	if c := e.Counts(); c.TwinsDropped != 0 || c.StatesDropped != 0 || c.ReportDeviceStatus > 4 {
		t.Errorf("counts %+v, want nothing dropped and both twins in one call", c)
	}
}

func TestReporterSurvivesRestart(t *testing.T) {
	e := startEdgeCore(t, "a")
	r := startReporter(t, e)
	r.Report("default", "a", twinOf("temperature", "1"))
	if err := e.WaitTwin(within(t), "default", "a", "temperature", "1"); err != nil {
		t.Fatal(err)
	}
	e.Kill()
	for i := range 100 {
		r.Report("default", "a", twinOf("temperature", strconv.Itoa(i)))
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	if err := e.WaitTwin(within(t), "default", "a", "temperature", "99"); err != nil {
		t.Error(err)
	}
	if got, _ := e.EdgeTwin("default", "a", "temperature"); got.Reports > 4 {
		t.Errorf("%d reports, want the latest only", got.Reports)
	}
}

// What EdgeCore accepts while the cloud is away is lost; it is right again within two periods after the link is back,
// though nothing changes and nobody reports again, and nothing else is sent.
func TestReporterRepairsTheCloud(t *testing.T) {
	const period = 400 * time.Millisecond
	e := startEdgeCore(t, "a", "b")
	r, err := NewReporter(ReporterOptions{
		Client: newClient(t, e), Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond, Heartbeat: period,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	want := func(state, temperature string) {
		t.Helper()
		for _, name := range []string{"a", "b"} {
			if err := e.WaitState(within(t), "default", name, state); err != nil {
				t.Error(err)
			}
			if err := e.WaitTwin(within(t), "default", name, "temperature", temperature); err != nil {
				t.Error(err)
			}
		}
	}
	report := func(state, temperature string) {
		for _, name := range []string{"a", "b"} {
			r.ReportState("default", name, state)
			r.Report("default", name, twinOf("temperature", temperature))
		}
	}
	report("ok", "21")
	want("ok", "21")
	e.CutCloud()
	report("unhealthy", "99")
	if err := e.Wait(within(t), func() bool { return e.Counts().Lost >= 4 }); err != nil {
		t.Fatal(err)
	}
	if state := e.State("default", "a"); state != "ok" {
		t.Errorf("the cloud says %q although it is away", state)
	}
	e.RestoreCloud()
	back, calls := time.Now(), r.Stats().Calls
	want("unhealthy", "99")
	if took := time.Since(back); took > 2*period+period/2 { // and some time to do it
		t.Errorf("right again after %v, want two periods of %v at most", took, period)
	}
	// Each device has two calls a period, so that no more than four of them are over.
	if more := r.Stats().Calls - calls; more > 16 {
		t.Errorf("%d calls to mend two devices", more)
	}
}

func TestReporterWaitsForTheNodesLimiter(t *testing.T) {
	e := startEdgeCore(t, "a")
	r := startReporter(t, e)
	e.SetLimiter(1e-9, 1)
	e.ExhaustLimiter()
	r.Report("default", "a", twinOf("temperature", "5"))
	if err := e.Wait(within(t), func() bool { return e.Counts().Throttled >= 2 }); err != nil {
		t.Fatal(err)
	}
	e.SetLimiter(1e9, 100)
	if err := e.WaitTwin(within(t), "default", "a", "temperature", "5"); err != nil {
		t.Error(err)
	}
	if s := r.Stats(); s.Throttled < 2 {
		t.Errorf("stats %+v", s)
	}
}

// An EdgeCore that hangs holds up nobody who submits, and gets the latest when it answers again.
func TestReporterEdgeCoreHangs(t *testing.T) {
	e := startEdgeCore(t, "a")
	r := startReporter(t, e)
	e.Pause()
	r.Report("default", "a", twinOf("temperature", "1"))
	if err := e.Wait(within(t), func() bool { return e.Counts().ReportDeviceStatus > 0 }); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		r.Report("default", "a", twinOf("temperature", strconv.Itoa(i)))
	}
	e.Resume()
	if err := e.WaitTwin(within(t), "default", "a", "temperature", "999"); err != nil {
		t.Error(err)
	}
}

// Whatever is submitted, EdgeCore does not crash and drops nothing.
func TestReporterNeverCrashesEdgeCore(t *testing.T) {
	values := []string{"", " ", "\x00", "\xff", `{"a":[1]}`, "NaN", "+Inf", "1e400", "温度", "a b=c"}
	var devices []string
	for i := range values {
		devices = append(devices, fmt.Sprint("d", i))
	}
	e := startEdgeCore(t, devices...)
	r := startReporter(t, e)
	for i, v := range values {
		twin := twinOf("power", v)
		twin.ObservedDesired.Value = v
		r.Report("default", devices[i], twin)
	}
	for i, v := range values {
		arrived := func() bool { tw, _ := e.EdgeTwin("default", devices[i], "power"); return tw.Reports == 2 }
		if err := e.Wait(within(t), arrived); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
	if err := e.Crashed(); err != nil {
		t.Error(err)
	}
	if c := e.Counts(); c.TwinsDropped != 0 {
		t.Errorf("edgecore dropped %d twins", c.TwinsDropped)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestLimiterIsSharedByAllCalls(t *testing.T) {
	e := seeded(t, Options{Rate: 1e-9, Burst: 3}, testDevice("a"))
	c, m := dial(t, e), startMapper(t)
	register(t, e, m, true)
	if err := report(t, c, "a", twin("1"), twin("2")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReportDeviceStates(within(t), &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: "a", State: "ok"}); err != nil {
		t.Fatal(err)
	}
	for method, call := range map[string]func() error{
		"fail to report device status because of too many request: a": func() error { return report(t, c, "a", twin("3")) },
		"fail to report device states because of too many request: a": func() error {
			_, err := c.ReportDeviceStates(within(t), &dmiapi.ReportDeviceStatesRequest{DeviceName: "a", State: "ok"})
			return err
		},
		"fail to register mapper because of too many request: m": func() error {
			_, err := c.MapperRegister(within(t), &dmiapi.MapperRegisterRequest{Mapper: &dmiapi.MapperInfo{Name: "m", Protocol: "http"}})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.Unknown || status.Convert(err).Message() != method {
			t.Errorf("error %v, want Unknown: %s", err, method)
		}
	}
	if got := e.Counts().Throttled; got != 3 {
		t.Errorf("counted %d refusals, want 3", got)
	}
	e.SetLimiter(1e9, 100)
	if err := report(t, c, "a", twin("3")); err != nil {
		t.Errorf("with a wider limiter: %v", err)
	}
	e.SetLimiter(1e-9, 100)
	e.ExhaustLimiter()
	if err := report(t, c, "a", twin("3")); err == nil {
		t.Error("no error although the limiter is exhausted")
	}
}

func TestTwins(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	c := dial(t, e)
	send := func(tw *dmiapi.Twin) {
		t.Helper()
		if err := report(t, c, "a", tw); err != nil {
			t.Fatal(err)
		}
	}
	want := func(edge, cloud string, reports int) {
		t.Helper()
		et, _ := e.EdgeTwin("default", "a", "temperature")
		ct, _ := e.Twin("default", "a", "temperature")
		if et.Reported != edge || ct.Reported != cloud || et.Reports != reports {
			t.Errorf("edge %q, cloud %q after %d reports; want %q, %q after %d", et.Reported, ct.Reported, et.Reports, edge, cloud, reports)
		}
	}
	if _, ok := e.Twin("default", "a", "temperature"); ok {
		t.Error("a twin before the first report")
	}
	send(twin("21.5"))
	want("21.5", "", 1) // the first one is lost on its way to the cloud
	send(twin("21.5"))
	want("21.5", "21.5", 2)
	for _, illegal := range []string{`{"v":1}`, "a b", "1e+20", "a=b", "é", "-", strings.Repeat("x", 513)} {
		send(twin(illegal))
		if illegal == "-" { // legal, as are all of a-zA-Z0-9-_.,:/@#
			want("-", "-", 3)
		}
	}
	want("-", "-", 3)
	send(twin(""))
	want("", "", 4)
	desired := twin("1")
	desired.ObservedDesired.Value = "not legal"
	send(desired)
	unknown := twin("1")
	unknown.PropertyName = "pressure"
	send(unknown)
	want("", "", 4)
	if err := report(t, c, "nobody", twin("1")); err != nil {
		t.Fatal(err)
	}
	if n := e.Counts(); n.Twins != 13 || n.TwinsDropped != 9 {
		t.Errorf("counted %d twins, %d dropped; want 13, 9", n.Twins, n.TwinsDropped)
	}
	et, _ := e.EdgeTwin("default", "a", "temperature")
	if et.Metadata["type"] != "double" {
		t.Errorf("metadata at the edge: %v", et.Metadata)
	}
	if err := report(t, c, "a"); err == nil {
		t.Error("no error for a report without twins")
	}
	// A device that is created anew has fresh twins.
	if err := e.RemoveDevice(within(t), "default", "a"); !errors.Is(err, ErrNoMapper) {
		t.Fatal(err)
	}
	if err := e.AddDevice(within(t), testDevice("a")); err != nil {
		t.Fatal(err)
	}
	send(twin("7"))
	want("7", "", 1)
}

func TestStates(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	c := dial(t, e)
	send := func(device, state string) error {
		_, err := c.ReportDeviceStates(within(t), &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: device, State: state})
		return err
	}
	for _, state := range []string{"online", "offline", "ok", "unhealthy", "unknown"} {
		if err := send("a", state); err != nil || e.State("default", "a") != state {
			t.Errorf("state %q after reporting %q, error %v", e.State("default", "a"), state, err)
		}
	}
	for device, state := range map[string]string{"a": "disconnected", "nobody": "ok"} {
		if err := send(device, state); err != nil {
			t.Errorf("%s %s: %v, want silence", device, state, err)
		}
	}
	if got := e.State("default", "a"); got != "unknown" {
		t.Errorf("state %q, want unknown still", got)
	}
	if n := e.Counts().StatesDropped; n != 2 {
		t.Errorf("counted %d dropped states, want 2", n)
	}
	if err := send("a", ""); err == nil {
		t.Error("no error for an empty state")
	}
}

func TestCrash(t *testing.T) {
	for name, broken := range map[string]*dmiapi.Twin{
		"no observedDesired": {PropertyName: "temperature", Reported: &dmiapi.TwinProperty{Value: "1"}},
		"no reported":        {PropertyName: "temperature", ObservedDesired: &dmiapi.TwinProperty{}},
	} {
		t.Run(name, func(t *testing.T) {
			e := seeded(t, unlimited, testDevice("a"))
			c := dial(t, e)
			if err := report(t, c, "a", broken); status.Code(err) != codes.Unavailable {
				t.Errorf("error %v, want a cut connection", err)
			}
			if err := e.Crashed(); !errors.Is(err, ErrCrashed) || !strings.Contains(err.Error(), "default/a") {
				t.Errorf("crash reason %v, want one that names the device", err)
			}
			if err := report(t, c, "a", twin("1")); status.Code(err) != codes.Unavailable {
				t.Errorf("after the crash: error %v, want Unavailable", err)
			}
			if err := e.Start(); err != nil {
				t.Fatal(err)
			}
			if e.Crashed() != nil || e.Counts().Crashes != 1 {
				t.Errorf("after a start: crashed %v, %d crashes", e.Crashed(), e.Counts().Crashes)
			}
			if err := report(t, dial(t, e), "a", twin("1")); err != nil {
				t.Errorf("after a start: %v", err)
			}
		})
	}
	e := StartTest(t, unlimited)
	if _, err := dial(t, e).MapperRegister(within(t), &dmiapi.MapperRegisterRequest{}); err == nil || e.Crashed() == nil {
		t.Errorf("registration without a mapper: error %v, crashed %v", err, e.Crashed())
	}
}

// tb records what StartTest does to a test.
type tb struct {
	cleanups []func()
	errors   []string
}

func (*tb) Helper()                     {}
func (b *tb) Cleanup(f func())          { b.cleanups = append(b.cleanups, f) }
func (b *tb) Errorf(f string, a ...any) { b.errors = append(b.errors, fmt.Sprintf(f, a...)) }
func (b *tb) Fatalf(f string, a ...any) { b.Errorf(f, a...) }

func TestUnnoticedCrashFailsTheTest(t *testing.T) {
	b := &tb{}
	e := StartTest(b, unlimited)
	_ = report(t, dial(t, e), "a", &dmiapi.Twin{})
	for _, f := range b.cleanups {
		f()
	}
	if len(b.errors) != 1 || !strings.Contains(b.errors[0], ErrCrashed.Error()) {
		t.Errorf("errors %q, want the crash", b.errors)
	}
}

// While the cloud is away EdgeCore says yes and loses what it is told; nothing is sent again by itself.
func TestCloudAway(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	c := dial(t, e)
	state := func(state string) {
		t.Helper()
		if _, err := c.ReportDeviceStates(within(t), &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: "a", State: state}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(value, wantState string) {
		t.Helper()
		if tw, _ := e.Twin("default", "a", "temperature"); tw.Reported != value || e.State("default", "a") != wantState {
			t.Errorf("the cloud has %q, %q; want %q, %q", tw.Reported, e.State("default", "a"), value, wantState)
		}
	}
	send := func(value string) {
		t.Helper()
		if err := report(t, c, "a", twin(value)); err != nil {
			t.Fatal(err)
		}
	}
	send("1")
	send("1")
	state("ok")
	want("1", "ok")
	e.CutCloud()
	send("2")
	state("unhealthy")
	want("1", "ok")
	if n := e.Counts().Lost; n != 2 {
		t.Errorf("%d were lost, want 2", n)
	}
	e.RestoreCloud()
	want("1", "ok")
	send("2")
	state("unhealthy")
	want("2", "unhealthy")
}

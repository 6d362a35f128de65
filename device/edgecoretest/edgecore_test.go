// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func wantCalls(t *testing.T, m *fakeMapper, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, m.take()); diff != "" {
		t.Errorf("calls to the mapper (-want +got):\n%s", diff)
	}
}

func Example() {
	e := New(Options{OnEvent: func(ev Event) { fmt.Println(ev) }})
	if err := e.Start(); err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Apply(ctx, strings.NewReader(manifests)); err != nil {
		fmt.Println(err)
	}
	// A mapper that connects to e.Socket() is now given the device "lamp". Here there is none.
	_, connected := e.MapperSocket("http")
	fmt.Println("mapper connected:", connected)
	if err := e.Close(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// mapper connected: false
	// stopped
}

func TestRegister(t *testing.T) {
	other := testDevice("other")
	other.Spec.Protocol.ProtocolName = "modbus"
	orphan := testDevice("orphan")
	orphan.Spec.DeviceModelRef.Name = "unheard-of"
	e := seeded(t, unlimited, testDevice("a"), testDevice("b"), other, orphan)
	if err := e.AddDevice(within(t), withAnomalyDetection(testDevice("bad"), map[string]any{"x": map[string]any{}})); !errors.Is(err, ErrDropped) {
		t.Fatalf("add a device with a nested value: error %v, want ErrDropped", err)
	}

	resp := register(t, e, startMapper(t), true)
	var devices, models []string
	for _, d := range resp.GetDeviceList() {
		devices = append(devices, d.GetName())
	}
	for _, m := range resp.GetModelList() {
		models = append(models, m.GetName())
	}
	if diff := cmp.Diff([]string{"a", "b"}, devices); diff != "" {
		t.Errorf("devices: only those of the protocol, with a model, that can travel (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"thermometer", "thermometer"}, models); diff != "" {
		t.Errorf("models: one a device (-want +got):\n%s", diff)
	}
}

func TestRegisterWithoutProtocol(t *testing.T) {
	e := StartTest(t, unlimited)
	_, err := dial(t, e).MapperRegister(within(t), &dmiapi.MapperRegisterRequest{Mapper: &dmiapi.MapperInfo{Name: "m"}})
	if status.Code(err) != codes.Unknown || !strings.Contains(status.Convert(err).Message(), "the protocol is nil") {
		t.Errorf("error %v, want Unknown and the reason", err)
	}
}

func TestPushes(t *testing.T) {
	e, m := seeded(t, unlimited), startMapper(t)
	register(t, e, m, true)
	ctx := within(t)
	do := func(what string, err error, calls ...string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		wantCalls(t, m, calls...)
	}
	do("add", e.AddDevice(ctx, testDevice("a")), "RegisterDevice default/a")
	do("update to the same", e.UpdateDevice(ctx, testDevice("a")))
	do("desire", e.SetDesired(ctx, "default", "a", "temperature", "21"), "UpdateDevice default/a")
	if got := m.lastDevice().GetSpec().GetProperties()[0].GetDesired().GetValue(); got != "21" {
		t.Errorf("desired value %q arrived, want 21", got)
	}
	do("model", e.AddModel(ctx, testModel()), "UpdateDeviceModel default/thermometer")
	if d, err := e.GetDevice(ctx, "default", "a"); err != nil || d.GetName() != "a" {
		t.Errorf("get: %v, %v", d, err)
	}
	wantCalls(t, m, "GetDevice default/a")
	do("remove", e.RemoveDevice(ctx, "default", "a"), "RemoveDevice default/a")
	do("remove model", e.RemoveModel(ctx, "default", "thermometer"), "RemoveDeviceModel default/thermometer")

	for what, err := range map[string]error{
		"update":  e.UpdateDevice(ctx, testDevice("a")),
		"desire":  e.SetDesired(ctx, "default", "a", "temperature", "1"),
		"remove":  e.RemoveDevice(ctx, "default", "a"),
		"model":   e.RemoveModel(ctx, "default", "thermometer"),
		"unnamed": e.AddDevice(ctx, testDevice("")),
	} {
		if err == nil {
			t.Errorf("%s of what is not there: no error", what)
		}
	}
	if c := e.Counts(); c.Pushes != 6 || c.PushErrors != 0 {
		t.Errorf("counted %d pushes and %d errors, want 6 and 0", c.Pushes, c.PushErrors)
	}
}

// An update that cannot travel is kept from the mapper without a word.
func TestUpdateDropped(t *testing.T) {
	e, m := seeded(t, unlimited, testDevice("a")), startMapper(t)
	register(t, e, m, true)
	if err := e.UpdateDevice(within(t), withAnomalyDetection(testDevice("a"), map[string]any{"x": []any{1}})); !errors.Is(err, ErrDropped) {
		t.Errorf("error %v, want ErrDropped", err)
	}
	wantCalls(t, m)
}

func TestLastMapperOfAProtocolTakesThePushes(t *testing.T) {
	e, first, second := seeded(t, unlimited), startMapper(t), startMapper(t)
	register(t, e, first, true)
	register(t, e, second, true)
	if err := e.AddDevice(within(t), testDevice("a")); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, first)
	wantCalls(t, second, "RegisterDevice default/a")
}

// Without data a mapper is only saved: it takes pushes after the next restart.
func TestRegisterWithoutData(t *testing.T) {
	e, m := seeded(t, unlimited, testDevice("a")), startMapper(t)
	if resp := register(t, e, m, false); len(resp.GetDeviceList())+len(resp.GetModelList()) != 0 {
		t.Errorf("got data: %v", resp)
	}
	if err := e.AddDevice(within(t), testDevice("b")); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m)
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := e.AddDevice(within(t), testDevice("c")); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m, "RegisterDevice default/c")
}

// A slow mapper holds up the pushes to all others, up to the timeout.
func TestPushesAreSerial(t *testing.T) {
	e, slow := seeded(t, unlimited), startMapper(t)
	register(t, e, slow, true)
	entered, release := make(chan struct{}), make(chan struct{})
	slow.setHook(func(ctx context.Context, _ string) error {
		entered <- struct{}{}
		<-release
		return nil
	})
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		wg.Go(func() {
			if err := e.AddDevice(t.Context(), testDevice(name)); err != nil {
				t.Error(err)
			}
		})
	}
	<-entered
	if got := slow.take(); len(got) != 1 {
		t.Errorf("%d calls at once, want 1: %v", len(got), got)
	}
	close(release)
	<-entered
	wg.Wait()
}

func TestPushTimeout(t *testing.T) {
	opts := unlimited
	opts.PushTimeout = 10 * time.Millisecond
	e, m := seeded(t, opts), startMapper(t)
	register(t, e, m, true)
	m.setHook(func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() })
	if err := e.AddDevice(within(t), testDevice("a")); status.Code(errors.Unwrap(err)) != codes.DeadlineExceeded {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	if c := e.Counts(); c.PushErrors != 1 {
		t.Errorf("counted %d push errors, want 1", c.PushErrors)
	}
}

// A push under way ends with the process, on both sides.
func TestKillCutsPush(t *testing.T) {
	e, m := seeded(t, unlimited), startMapper(t)
	register(t, e, m, true)
	entered, ended := make(chan struct{}), make(chan struct{})
	m.setHook(func(ctx context.Context, _ string) error {
		close(entered)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	pushed := make(chan error, 1)
	go func() { pushed <- e.AddDevice(within(t), testDevice("a")) }()
	<-entered
	e.Kill()
	if err := <-pushed; err == nil {
		t.Error("the push succeeded")
	}
	<-ended
}

// What edgecore has in its database survives kill -9: devices, mappers, twins.
func TestRestart(t *testing.T) {
	e, m := seeded(t, unlimited, testDevice("a")), startMapper(t)
	c := dial(t, e)
	register(t, e, m, true)
	if err := report(t, c, "a", twin("1")); err != nil {
		t.Fatal(err)
	}
	socket := e.Socket()
	e.Kill()
	if _, err := os.Stat(socket); err != nil {
		t.Errorf("a killed process leaves its socket file: %v", err)
	}
	if err := report(t, c, "a", twin("2")); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want Unavailable", err)
	}
	if err := e.SetDesired(within(t), "default", "a", "temperature", "5"); err != nil {
		t.Errorf("a change while edgecore is down: %v", err)
	}
	wantCalls(t, m)
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err == nil {
		t.Error("a second start succeeded")
	}
	if err := report(t, dial(t, e), "a", twin("2")); err != nil {
		t.Fatal(err)
	}
	if tw, _ := e.Twin("default", "a", "temperature"); tw.Reported != "2" {
		t.Errorf("the twin was fresh again: %+v", tw)
	}
	if err := e.SetDesired(within(t), "default", "a", "temperature", "6"); err != nil {
		t.Fatal(err)
	}
	wantCalls(t, m, "UpdateDevice default/a")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}

// A device deleted while its mapper is down stays on the edge and comes back with the mapper.
func TestGhost(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	if err := e.RemoveDevice(within(t), "default", "a"); !errors.Is(err, ErrNoMapper) {
		t.Errorf("error %v, want ErrNoMapper", err)
	}
	m := startMapper(t)
	if resp := register(t, e, m, true); len(resp.GetDeviceList()) != 1 {
		t.Errorf("%d devices, want the ghost", len(resp.GetDeviceList()))
	}
	if err := e.AddDevice(within(t), testDevice("a")); err != nil {
		t.Errorf("create anew: %v", err)
	}
	wantCalls(t, m, "RegisterDevice default/a")
	m.setHook(func(context.Context, string) error { return errors.New("no") })
	if err := e.RemoveDevice(within(t), "default", "a"); err == nil {
		t.Error("no error from the mapper")
	}
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	if resp := register(t, e, m, true); len(resp.GetDeviceList()) != 0 {
		t.Errorf("the ghost survived a restart: %v", resp.GetDeviceList())
	}
}

func TestPause(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	c := dial(t, e)
	e.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := c.ReportDeviceStatus(ctx, &dmiapi.ReportDeviceStatusRequest{DeviceName: "a"})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("error %v, want DeadlineExceeded", err)
	}
	done := make(chan error)
	go func() { done <- report(t, c, "a", twin("1")) }()
	if err := e.Wait(within(t), func() bool { return e.Counts().ReportDeviceStatus == 2 }); err != nil {
		t.Fatal(err)
	}
	e.Resume()
	if err := <-done; err != nil {
		t.Errorf("after Resume: %v", err)
	}
	e.Pause()
	if err := e.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := report(t, dial(t, e), "a", twin("1")); err != nil {
		t.Errorf("a restarted process hangs: %v", err)
	}
}

func TestWaits(t *testing.T) {
	e := seeded(t, unlimited, testDevice("a"))
	c := dial(t, e)
	var wg sync.WaitGroup
	for _, wait := range []func() error{
		func() error { return e.WaitTwin(within(t), "default", "a", "temperature", "3") },
		func() error { return e.WaitState(within(t), "default", "a", "ok") },
		func() error { return e.WaitMapper(within(t), "http") },
	} {
		wg.Go(func() {
			if err := wait(); err != nil {
				t.Error(err)
			}
		})
	}
	for range 2 {
		if err := report(t, c, "a", twin("3")); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.ReportDeviceStates(within(t), &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: "a", State: "ok"}); err != nil {
		t.Error(err)
	}
	register(t, e, startMapper(t), true)
	wg.Wait()

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for want, err := range map[string]error{
		`want "4", the cloud has "3" after 2 reports`: e.WaitTwin(ended, "default", "a", "temperature", "4"),
		`want "offline", have "ok"`:                   e.WaitState(ended, "default", "a", "offline"),
		`no mapper for protocol "modbus"`:             e.WaitMapper(ended, "modbus"),
	} {
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want Canceled and %q", err, want)
		}
	}
}

func TestEvents(t *testing.T) {
	var mu sync.Mutex
	var got []string
	opts := unlimited
	opts.OnEvent = func(ev Event) {
		mu.Lock()
		defer mu.Unlock()
		if ev.At.IsZero() {
			t.Errorf("event without time: %v", ev)
		}
		got = append(got, string(ev.Kind))
	}
	e := seeded(t, opts, testDevice("a"))
	m := startMapper(t)
	register(t, e, m, true)
	c := dial(t, e)
	ctx := within(t)
	_ = report(t, c, "a", twin("1"), twin("{"))
	_, _ = c.ReportDeviceStates(ctx, &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: "a", State: "ok"})
	_, _ = c.ReportDeviceStates(ctx, &dmiapi.ReportDeviceStatesRequest{DeviceNamespace: "default", DeviceName: "a", State: "bad"})
	_ = e.SetDesired(ctx, "default", "a", "temperature", "1")
	m.setHook(func(context.Context, string) error { return errors.New("no") })
	_ = e.SetDesired(ctx, "default", "a", "temperature", "2")
	_ = e.AddDevice(ctx, withAnomalyDetection(testDevice("b"), map[string]any{"x": []any{}}))
	e.SetLimiter(1e-9, 0)
	_ = report(t, c, "a", twin("1"))
	e.Kill()
	mu.Lock()
	defer mu.Unlock()
	want := []EventKind{EventRegistered, EventTwin, EventTwinDropped, EventState, EventStateDropped, EventPushed,
		EventPushFailed, EventDropped, EventThrottled, EventStopped}
	var wantStrings []string
	for _, k := range want {
		wantStrings = append(wantStrings, string(k))
	}
	if diff := cmp.Diff(wantStrings, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestSocket(t *testing.T) {
	path := t.TempDir() + "/edge.sock"
	e := StartTest(t, Options{Socket: path})
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want the owner only", info.Mode())
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := New(Options{Socket: t.TempDir() + "/no/such/dir.sock"}).Start(); err == nil {
		t.Error("started in a directory that does not exist")
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

func startServer(t *testing.T, panel global.DevPanel) (server *DMIServer, socket string) {
	t.Helper()
	return startServerWith(t, ServerOptions{Panel: panel})
}

func startServerWith(t *testing.T, opts ServerOptions) (server *DMIServer, socket string) {
	t.Helper()
	opts.Socket = socketPath(t)
	s, err := NewDMIServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s, opts.Socket
}

// connected is an EdgeCore whose pushes reach the panel.
func connected(t *testing.T, panel global.DevPanel, devices ...string) *edgecoretest.EdgeCore {
	t.Helper()
	e := startEdgeCore(t, devices...)
	_, socket := startServer(t, panel)
	if _, _, err := newClient(t, e).Register(within(t), mapperInfo(socket), true); err != nil {
		t.Fatal(err)
	}
	return e
}

func dialServer(t *testing.T, socket string) dmiapi.DeviceMapperServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return dmiapi.NewDeviceMapperServiceClient(conn)
}

func wantLog(t *testing.T, p *fakePanel, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.take()); diff != "" {
		t.Errorf("calls to the panel (-want +got):\n%s", diff)
	}
}

func TestServerFollowsEdgeCore(t *testing.T) {
	p := newFakePanel()
	e := connected(t, p)
	ctx := within(t)
	step := func(what string, err error, want ...string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		wantLog(t, p, want...)
	}
	step("new model", e.AddModel(ctx, crdModel("meter")), "UpdateModel default/meter")
	step("new device", e.AddDevice(ctx, crdDevice("a", "meter")), "UpdateDev default/a with 2 properties")
	step("desired value", e.SetDesired(ctx, "default", "a", "power", "ON"), "UpdateDev default/a with 2 properties")
	if got := p.devices["default/a"].Twins[1].ObservedDesired.Value; got != "ON" {
		t.Errorf("desired value %q arrived, want ON", got)
	}
	step("changed model", e.AddModel(ctx, crdModel("meter")), "UpdateModel default/meter")
	step("remove", e.RemoveDevice(ctx, "default", "a"), "RemoveDevice default/a")
	step("remove model", e.RemoveModel(ctx, "default", "meter"), "RemoveModel default/meter")
}

// EdgeCore deleted the device while the mapper was down and creates it anew: the mapper has it already.
func TestServerRegistersWhatIsThere(t *testing.T) {
	p := newFakePanel()
	p.devices["default/a"] = &common.DeviceInstance{ID: "default/a"}
	p.models["default/sensor"] = common.DeviceModel{ID: "default/sensor", Name: "sensor", Properties: []common.ModelProperty{{Name: "power"}}}
	e := connected(t, p)
	if err := e.AddDevice(within(t), crdDevice("a", "sensor")); err != nil {
		t.Error(err)
	}
	// The property that the model lacks is left out, the other one used.
	wantLog(t, p, "UpdateDev default/a with 1 properties")
}

func TestServerRemoveIsIdempotent(t *testing.T) {
	p := newFakePanel() // whose RemoveDevice fails for what is not there
	_, socket := startServer(t, p)
	if _, err := dialServer(t, socket).RemoveDevice(within(t), &dmiapi.RemoveDeviceRequest{DeviceName: "a", DeviceNamespace: "default"}); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

// A device that comes before its model is refused at once, and taken over when the model comes.
func TestServerModelAfterDevice(t *testing.T) {
	p := newFakePanel()
	var registered []string
	_, socket := startServerWith(t, ServerOptions{Panel: p, OnRegister: func(ns, name string) { registered = append(registered, ns+"/"+name) }})
	c := dialServer(t, socket)
	register := func(name string) error {
		dev, err := edgecoretest.ConvertDevice(crdDevice(name, "sensor"), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RegisterDevice(within(t), &dmiapi.RegisterDeviceRequest{Device: dev})
		return err
	}
	for _, name := range []string{"a", "b", "gone"} {
		if err := register(name); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "default/"+name) || !strings.Contains(err.Error(), "default/sensor") {
			t.Errorf("error %v, want NotFound that names device and model", err)
		}
	}
	if _, err := c.RemoveDevice(within(t), &dmiapi.RemoveDeviceRequest{DeviceName: "gone", DeviceNamespace: "default"}); err != nil {
		t.Error(err)
	}
	model, err := edgecoretest.ConvertModel(crdModel("sensor"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nobody waits
		if _, err := c.CreateDeviceModel(within(t), &dmiapi.CreateDeviceModelRequest{Model: model}); err != nil {
			t.Fatal(err)
		}
	}
	wantLog(t, p, "RemoveDevice default/gone", "UpdateModel default/sensor",
		"UpdateDev default/a with 2 properties", "UpdateDev default/b with 2 properties", "UpdateModel default/sensor")
	if err := register("c"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"default/a", "default/b", "default/c"}, registered); diff != "" {
		t.Errorf("OnRegister (-want +got):\n%s", diff)
	}
}

func TestServerRefusesNonsense(t *testing.T) {
	p := newFakePanel()
	_, socket := startServer(t, p)
	c, ctx := dialServer(t, socket), within(t)
	calls := map[string]func() error{
		"register nil": func() error { _, err := c.RegisterDevice(ctx, &dmiapi.RegisterDeviceRequest{}); return err },
		"update nil":   func() error { _, err := c.UpdateDevice(ctx, &dmiapi.UpdateDeviceRequest{}); return err },
		"remove":       func() error { _, err := c.RemoveDevice(ctx, &dmiapi.RemoveDeviceRequest{}); return err },
		"get":          func() error { _, err := c.GetDevice(ctx, &dmiapi.GetDeviceRequest{}); return err },
		"create model": func() error { _, err := c.CreateDeviceModel(ctx, &dmiapi.CreateDeviceModelRequest{}); return err },
		"update model": func() error { _, err := c.UpdateDeviceModel(ctx, &dmiapi.UpdateDeviceModelRequest{}); return err },
		"remove model": func() error { _, err := c.RemoveDeviceModel(ctx, &dmiapi.RemoveDeviceModelRequest{}); return err },
		"unnamed": func() error {
			_, err := c.RegisterDevice(ctx, &dmiapi.RegisterDeviceRequest{Device: &dmiapi.Device{}})
			return err
		},
		"unnamed model": func() error {
			_, err := c.CreateDeviceModel(ctx, &dmiapi.CreateDeviceModelRequest{Model: &dmiapi.DeviceModel{}})
			return err
		},
	}
	for name, call := range calls {
		if err := call(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: error %v, want InvalidArgument", name, err)
		}
	}
	wantLog(t, p)
}

func TestServerSurvivesPanics(t *testing.T) {
	p := newFakePanel()
	e := connected(t, p)
	p.hook = func(string) { panic("boom") }
	err := e.AddModel(within(t), crdModel("meter"))
	if st := status.Convert(errors.Unwrap(err)); st.Code() != codes.Internal || !strings.Contains(st.Message(), "default/meter") || !strings.Contains(st.Message(), "boom") {
		t.Errorf("error %v, want Internal that names the model", err)
	}
	p.hook = nil
	if err := e.AddModel(within(t), crdModel("meter")); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

// twinsPanel is a panel that has the values read last.
type twinsPanel struct{ *fakePanel }

func (p twinsPanel) DeviceTwins(string) ([]common.Twin, error) {
	return []common.Twin{{
		PropertyName: "power",
		Reported:     common.TwinProperty{Value: "ON", Metadata: common.Metadata{Type: "string", Timestamp: "1700000000000"}},
	}}, nil
}

func TestServerGetDevice(t *testing.T) {
	p := newFakePanel()
	e := connected(t, twinsPanel{p})
	_ = e.AddModel(within(t), crdModel("sensor"))
	if err := e.AddDevice(within(t), crdDevice("a", "sensor")); err != nil {
		t.Fatal(err)
	}
	dev, err := e.GetDevice(within(t), "default", "a")
	if err != nil {
		t.Fatal(err)
	}
	twin := dev.GetStatus().GetTwins()[0]
	if dev.GetName() != "a" || dev.GetSpec().GetDeviceModelReference() != "sensor" ||
		twin.GetReported().GetValue() != "ON" || twin.GetReported().GetMetadata()["timestamp"] != "1700000000000" || twin.GetObservedDesired() == nil {
		t.Errorf("got %v", dev)
	}

	plain := newFakePanel() // without DeviceTwins, as upstream's
	plain.devices["default/b"] = &common.DeviceInstance{ID: "default/b", Twins: []common.Twin{{PropertyName: "power"}}}
	_, socket := startServer(t, plain)
	c := dialServer(t, socket)
	resp, err := c.GetDevice(within(t), &dmiapi.GetDeviceRequest{DeviceName: "b", DeviceNamespace: "default"})
	if err != nil || len(resp.GetDevice().GetStatus().GetTwins()) != 1 {
		t.Errorf("from a panel without DeviceTwins: %v, %v", resp, err)
	}
	if _, err := c.GetDevice(within(t), &dmiapi.GetDeviceRequest{DeviceName: "x", DeviceNamespace: "default"}); status.Code(err) != codes.NotFound {
		t.Errorf("error %v, want NotFound", err)
	}
}

func TestServerSocket(t *testing.T) {
	path := socketPath(t)
	newServer := func() *DMIServer {
		s, err := NewDMIServer(ServerOptions{Socket: path, Panel: newFakePanel()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// A killed process leaves its socket behind.
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	lis.SetUnlinkOnClose(false)
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	s := newServer()
	if err := s.Start(within(t)); err != nil {
		t.Fatalf("with a stale socket: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v; want mode 0600", info, err)
	}
	if err := s.Start(within(t)); err == nil {
		t.Error("started twice")
	}
	if err := newServer().Start(within(t)); err == nil {
		t.Error("took the socket from one who listens")
	}
	for range 2 {
		if err := s.Shutdown(within(t)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newServer().Start(within(t)); err == nil {
		t.Error("replaced a file that is no socket")
	}
	if err := newServer().Shutdown(within(t)); err != nil {
		t.Errorf("shutdown without start: %v", err)
	}
}

// A panel that hangs does not keep the mapper from ending.
func TestServerShutdownDeadline(t *testing.T) {
	p := newFakePanel()
	entered, release := make(chan struct{}), make(chan struct{})
	p.hook = func(string) { close(entered); <-release }
	s, err := NewDMIServer(ServerOptions{Socket: socketPath(t), Panel: p})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	c := dialServer(t, s.opts.Socket)
	answered := make(chan error, 1)
	go func() {
		_, err := c.RemoveDeviceModel(within(t), &dmiapi.RemoveDeviceModelRequest{ModelName: "m"})
		answered <- err
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want one that tells of the call", err)
	}
	if err := <-answered; status.Code(err) != codes.Unavailable {
		t.Errorf("the caller got %v, want Unavailable", err)
	}
	close(release)
	if err := s.Shutdown(within(t)); err != nil {
		t.Errorf("after the call has returned: %v", err)
	}
}

func TestNewServerNeedsSocketAndPanel(t *testing.T) {
	if _, err := NewDMIServer(ServerOptions{Panel: newFakePanel()}); err == nil {
		t.Error("no error without a socket")
	}
	if _, err := NewDMIServer(ServerOptions{Socket: "/m.sock"}); err == nil {
		t.Error("no error without a panel")
	}
}

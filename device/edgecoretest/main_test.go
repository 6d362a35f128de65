// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"go.uber.org/goleak"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeMapper records what edgecore pushes, as "Method namespace/name", and answers after hook.
type fakeMapper struct {
	dmiapi.UnimplementedDeviceMapperServiceServer
	socket string

	mu     sync.Mutex
	calls  []string
	device *dmiapi.Device // of the last register or update
	hook   func(ctx context.Context, method string) error
}

func startMapper(t *testing.T) *fakeMapper {
	t.Helper()
	m := &fakeMapper{socket: filepath.Join(t.TempDir(), "m.sock")}
	lis, err := net.Listen("unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	dmiapi.RegisterDeviceMapperServiceServer(srv, m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve mapper: %v", err)
		}
	}()
	t.Cleanup(func() { srv.Stop(); <-done })
	return m
}

func (m *fakeMapper) record(ctx context.Context, method, namespace, name string, d *dmiapi.Device) error {
	m.mu.Lock()
	m.calls = append(m.calls, method+" "+namespace+"/"+name)
	if d != nil {
		m.device = d
	}
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		return hook(ctx, method)
	}
	return nil
}

func (m *fakeMapper) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

func (m *fakeMapper) lastDevice() *dmiapi.Device {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.device
}

func (m *fakeMapper) setHook(hook func(ctx context.Context, method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = hook
}

func (m *fakeMapper) RegisterDevice(ctx context.Context, in *dmiapi.RegisterDeviceRequest) (*dmiapi.RegisterDeviceResponse, error) {
	d := in.GetDevice()
	return &dmiapi.RegisterDeviceResponse{}, m.record(ctx, "RegisterDevice", d.GetNamespace(), d.GetName(), d)
}

func (m *fakeMapper) UpdateDevice(ctx context.Context, in *dmiapi.UpdateDeviceRequest) (*dmiapi.UpdateDeviceResponse, error) {
	d := in.GetDevice()
	return &dmiapi.UpdateDeviceResponse{}, m.record(ctx, "UpdateDevice", d.GetNamespace(), d.GetName(), d)
}

func (m *fakeMapper) RemoveDevice(ctx context.Context, in *dmiapi.RemoveDeviceRequest) (*dmiapi.RemoveDeviceResponse, error) {
	return &dmiapi.RemoveDeviceResponse{}, m.record(ctx, "RemoveDevice", in.GetDeviceNamespace(), in.GetDeviceName(), nil)
}

func (m *fakeMapper) CreateDeviceModel(ctx context.Context, in *dmiapi.CreateDeviceModelRequest) (*dmiapi.CreateDeviceModelResponse, error) {
	return &dmiapi.CreateDeviceModelResponse{}, m.record(ctx, "CreateDeviceModel", in.GetModel().GetNamespace(), in.GetModel().GetName(), nil)
}

func (m *fakeMapper) UpdateDeviceModel(ctx context.Context, in *dmiapi.UpdateDeviceModelRequest) (*dmiapi.UpdateDeviceModelResponse, error) {
	return &dmiapi.UpdateDeviceModelResponse{}, m.record(ctx, "UpdateDeviceModel", in.GetModel().GetNamespace(), in.GetModel().GetName(), nil)
}

func (m *fakeMapper) RemoveDeviceModel(ctx context.Context, in *dmiapi.RemoveDeviceModelRequest) (*dmiapi.RemoveDeviceModelResponse, error) {
	return &dmiapi.RemoveDeviceModelResponse{}, m.record(ctx, "RemoveDeviceModel", in.GetModelNamespace(), in.GetModelName(), nil)
}

func (m *fakeMapper) GetDevice(ctx context.Context, in *dmiapi.GetDeviceRequest) (*dmiapi.GetDeviceResponse, error) {
	return &dmiapi.GetDeviceResponse{Device: &dmiapi.Device{Name: in.GetDeviceName()}},
		m.record(ctx, "GetDevice", in.GetDeviceNamespace(), in.GetDeviceName(), nil)
}

// unlimited is for tests that are not about the limiter.
var unlimited = Options{Rate: rate.Inf}

func dial(t *testing.T, e *EdgeCore) dmiapi.DeviceManagerServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+e.Socket(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return dmiapi.NewDeviceManagerServiceClient(conn)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func register(t *testing.T, e *EdgeCore, m *fakeMapper, withData bool) *dmiapi.MapperRegisterResponse {
	t.Helper()
	resp, err := dial(t, e).MapperRegister(within(t), &dmiapi.MapperRegisterRequest{
		WithData: withData,
		Mapper:   &dmiapi.MapperInfo{Name: "mapper-" + m.socket, Protocol: "http", Address: []byte(m.socket)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func testModel() *v1beta1.DeviceModel {
	return &v1beta1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "thermometer"},
		Spec: v1beta1.DeviceModelSpec{
			Protocol:   "http",
			Properties: []v1beta1.ModelProperty{{Name: "temperature", Type: v1beta1.DOUBLE, AccessMode: v1beta1.ReadOnly, Minimum: "-40", Maximum: "85"}},
		},
	}
}

func testDevice(name string) *v1beta1.Device {
	return &v1beta1.Device{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1beta1.DeviceSpec{
			DeviceModelRef: &corev1.LocalObjectReference{Name: "thermometer"},
			Protocol:       v1beta1.ProtocolConfig{ProtocolName: "http", ConfigData: &v1beta1.CustomizedValue{Data: map[string]any{"url": "http://room"}}},
			Properties: []v1beta1.DeviceProperty{{
				Name:     "temperature",
				Visitors: v1beta1.VisitorConfig{ProtocolName: "http", ConfigData: &v1beta1.CustomizedValue{Data: map[string]any{"path": "/t"}}},
			}},
		},
	}
}

func withAnomalyDetection(d *v1beta1.Device, data map[string]any) *v1beta1.Device {
	d.Spec.Properties[0].PushMethod = &v1beta1.PushMethod{AnomalyDetection: &v1beta1.AnomalyDetectionConfig{Data: data}}
	return d
}

func seeded(t *testing.T, opts Options, devices ...*v1beta1.Device) *EdgeCore {
	t.Helper()
	e := StartTest(t, opts)
	if err := e.AddModel(within(t), testModel()); err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		if err := e.AddDevice(within(t), d); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func twin(value string) *dmiapi.Twin {
	return &dmiapi.Twin{
		PropertyName:    "temperature",
		ObservedDesired: &dmiapi.TwinProperty{},
		Reported:        &dmiapi.TwinProperty{Value: value, Metadata: map[string]string{"type": "double"}},
	}
}

func report(t *testing.T, c dmiapi.DeviceManagerServiceClient, device string, twins ...*dmiapi.Twin) error {
	t.Helper()
	_, err := c.ReportDeviceStatus(within(t), &dmiapi.ReportDeviceStatusRequest{
		DeviceNamespace: "default", DeviceName: device, ReportedDevice: &dmiapi.DeviceStatus{Twins: twins},
	})
	return err
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/driver"
)

const roomManifests = `
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: room, namespace: default}
spec:
  protocol: room
  properties:
  - {name: temperature, type: FLOAT, accessMode: ReadOnly, minimum: "0", maximum: "40"}
  - {name: humidity, type: INT, accessMode: ReadOnly}
  - {name: power, type: STRING, accessMode: ReadWrite}
---
apiVersion: devices.kubeedge.io/v1beta1
kind: Device
metadata: {name: room-1, namespace: default}
spec:
  deviceModelRef: {name: room}
  nodeName: edge
  protocol: {protocolName: room, configData: {port: 8000}}
  properties:
  - name: temperature
    collectCycle: 20
    reportToCloud: true
    visitors: {protocolName: room, configData: {register: 3}}
    pushMethod:
      http: {hostName: HOST, port: PORT, requestPath: /push, timeout: 5}
      anomalyDetection: {detector: range, sinks: log}
  - name: humidity
    collectCycle: 20
    reportToCloud: true
    visitors: {protocolName: room, configData: {register: 4}}
    pushMethod:
      anomalyDetection: {detektor: range}
  - name: power
    collectCycle: 20
    reportToCloud: true
    desired: {value: "ON"}
    visitors: {protocolName: room, configData: {register: 5}}
`

// A mapper as it runs: EdgeCore, a device, detection, an HTTP endpoint, and its own end.
func TestRun(t *testing.T) {
	pushed := make(chan struct{}, 10_000)
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { pushed <- struct{}{} }))
	defer endpoint.Close()
	host, port, _ := strings.Cut(strings.TrimPrefix(endpoint.URL, "http://"), ":")
	manifests := strings.NewReplacer("HOST", host, "PORT", port).Replace(roomManifests)

	edge := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	if err := edge.Apply(within(t), strings.NewReader(manifests)); err != nil {
		t.Fatal(err)
	}

	var temperature atomic.Int64
	temperature.Store(21)
	var mu sync.Mutex
	power := "OFF"
	room := &fakeDriver{
		read: func(_ context.Context, _ *fakeClient, property string) (any, error) {
			if property != "power" {
				return float64(temperature.Load()), nil
			}
			mu.Lock()
			defer mu.Unlock()
			return power, nil
		},
		write: func(_ context.Context, property string, value any) error {
			mu.Lock()
			defer mu.Unlock()
			power = value.(string)
			return nil
		},
	}
	verdicts := make(chan driver.Result, 10_000)
	socket := socketPath(t)
	store := config.Fixed(config.Config{
		GRPCServer: config.GRPCServer{SocketPath: socket},
		Common:     config.Common{Name: "room-mapper", Protocol: "room", EdgeCoreSock: edge.Socket()},
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan *Mapper, 1)
	ended := make(chan error, 1)
	var failed sync.Map
	go func() {
		ended <- Run(ctx, Options{
			Driver: room, Config: store,
			Reporter: ReporterOptions{Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond},
			OnStart:  func(m *Mapper) { started <- m },
			Hooks: admethod.Hooks{Verdict: func(r *driver.Result) {
				if r.Kind == driver.KindFailed {
					failed.Store(r.Key.Property, r.Message)
				}
				select {
				case verdicts <- r.Clone():
				default:
				}
			}},
		})
	}()
	mapper := <-started

	if err := edge.WaitTwin(within(t), "default", "room-1", "temperature", "21"); err != nil {
		t.Error(err)
	}
	if err := edge.WaitTwin(within(t), "default", "room-1", "power", "ON"); err != nil { // desired drives the device
		t.Error(err)
	}
	if err := edge.WaitState(within(t), "default", "room-1", "ok"); err != nil {
		t.Error(err)
	}
	if err := edge.SetDesired(within(t), "default", "room-1", "power", "OFF"); err != nil {
		t.Error(err)
	}
	if err := edge.WaitTwin(within(t), "default", "room-1", "power", "OFF"); err != nil {
		t.Error(err)
	}
	if dev, err := edge.GetDevice(within(t), "default", "room-1"); err != nil || len(dev.GetStatus().GetTwins()) != 3 {
		t.Errorf("GetDevice: %v, %v", dev, err)
	}

	// Detection goes on beside http and over the update; a wrong configuration costs its property nothing else.
	temperature.Store(99)
	deadline := time.After(10 * time.Second)
	for found := false; !found; {
		select {
		case r := <-verdicts:
			found = r.Key.Property == "temperature" && r.Severity.Anomalous() && r.Kind == driver.KindRange
		case <-deadline:
			t.Fatal("a temperature of 99 of at most 40 was not noticed")
		}
	}
	if message, ok := failed.Load("humidity"); !ok || !strings.Contains(message.(string), `did you mean "detector"`) {
		t.Errorf("wrong settings of humidity: %v", message)
	}
	if err := edge.WaitTwin(within(t), "default", "room-1", "humidity", "99"); err != nil {
		t.Error(err)
	}
	if stats := mapper.Handler().Stats(); len(stats.Bindings) != 1 || stats.Bindings[driver.Key{Namespace: "default", Device: "room-1", Property: "temperature"}].Readings == 0 {
		t.Errorf("bindings: %+v", stats.Bindings)
	}
	<-pushed
	if n := len(room.connected()); n != 1 {
		t.Errorf("%d connects, want one over all updates", n)
	}

	// EdgeCore may come and go.
	if err := edge.Restart(); err != nil {
		t.Fatal(err)
	}
	temperature.Store(22)
	if err := edge.WaitTwin(within(t), "default", "room-1", "temperature", "22"); err != nil {
		t.Error(err)
	}

	begin := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if room.closed() != 1 {
		t.Errorf("%d clients closed", room.closed())
	}
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestRunWithoutEdgeCoreEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Run(ctx, Options{
		Driver: &fakeDriver{},
		Config: config.Fixed(config.Config{
			GRPCServer: config.GRPCServer{SocketPath: socketPath(t)},
			Common:     config.Common{Name: "m", Protocol: "p", EdgeCoreSock: socketPath(t) + ".none", HTTPPort: "7777"},
		}),
		OnStart: func(*Mapper) { cancel() },
	})
	if err != nil {
		t.Error(err)
	}
}

func TestRunRefusesWhatCannotWork(t *testing.T) {
	good := func() config.Config {
		return config.Config{
			GRPCServer: config.GRPCServer{SocketPath: socketPath(t)},
			Common:     config.Common{Name: "m", Protocol: "p", EdgeCoreSock: "/none"},
		}
	}
	tests := []struct {
		name   string
		change func(*Options, *config.Config)
		want   string
	}{
		{"no driver", func(o *Options, _ *config.Config) { o.Driver = nil }, "no driver"},
		{"no socket", func(_ *Options, c *config.Config) { c.GRPCServer.SocketPath = "" }, "no socket"},
		{"a sink that is not linked", func(_ *Options, c *config.Config) { c.AnomalyDetection.Sinks = []string{"none"} }, "none"},
		{"no protocol", func(_ *Options, c *config.Config) { c.Common.Protocol = "" }, "protocol"},
		{"a share of nothing", func(o *Options, _ *config.Config) { o.Reporter.Share = -1 }, "share"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good()
			o := Options{Driver: &fakeDriver{}}
			tt.change(&o, &c)
			o.Config = config.Fixed(c)
			if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if err := Run(t.Context(), Options{Driver: &fakeDriver{}}); err == nil {
		t.Error("no configuration: no error")
	}
}

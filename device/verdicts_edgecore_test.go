// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

const verdictManifests = `
apiVersion: devices.kubeedge.io/v1beta1
kind: DeviceModel
metadata: {name: room, namespace: default}
spec:
  protocol: room
  properties:
  - {name: temperature, type: FLOAT, accessMode: ReadOnly, minimum: "0", maximum: "40"}
  - {name: temperature-anomaly, type: STRING, accessMode: ReadOnly}
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
      anomalyDetection: {detector: range, sinks: dmi, heartbeat: 200ms}
  - name: temperature-anomaly
    reportToCloud: true
`

// A fault on its way to the cloud: over a real socket, through the limiter, with an EdgeCore that comes and goes.
func TestVerdictsReachTheCloud(t *testing.T) {
	var states atomic.Int64
	edge := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf, OnEvent: func(ev edgecoretest.Event) {
		if ev.Kind == edgecoretest.EventState {
			states.Add(1)
		}
	}})
	if err := edge.Apply(within(t), strings.NewReader(verdictManifests)); err != nil {
		t.Fatal(err)
	}
	var temperature atomic.Int64
	temperature.Store(21)
	mapper, stop := runMapper(t, Options{
		Driver: &fakeDriver{read: func(context.Context, *fakeClient, string) (any, error) { return float64(temperature.Load()), nil }},
		Config: config.Fixed(config.Config{
			GRPCServer:       config.GRPCServer{SocketPath: socketPath(t)},
			Common:           config.Common{Name: "room-mapper", Protocol: "room", EdgeCoreSock: edge.Socket()},
			AnomalyDetection: config.AnomalyDetection{DeviceSinks: []string{"dmi"}},
		}),
		Reporter: ReporterOptions{
			Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond, Heartbeat: 500 * time.Millisecond,
			RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond,
		},
	})
	defer stop()
	want := func(state, twin string) {
		t.Helper()
		if err := edge.WaitState(within(t), "default", "room-1", state); err != nil {
			t.Error(err)
		}
		if err := edge.WaitTwin(within(t), "default", "room-1", "temperature-anomaly", twin); err != nil {
			t.Error(err)
		}
	}
	want("ok", "normal")
	temperature.Store(99)
	want("unhealthy", "critical:range:1.00")
	temperature.Store(21)
	want("ok", "normal")

	// The limiter lets nothing through: the last verdict is what arrives in the end.
	edge.SetLimiter(1e-9, 1)
	edge.ExhaustLimiter()
	for range 5 {
		for _, v := range []int64{99, 21} {
			temperature.Store(v)
			key := driver.Key{Namespace: "default", Device: "room-1", Property: "temperature"}
			seen := mapper.Handler().Stats().Bindings[key].Readings
			waittest.Eventually(t, "the mapper reads", func() bool { return mapper.Handler().Stats().Bindings[key].Readings > seen+5 })
		}
	}
	temperature.Store(99)
	if err := edge.Wait(within(t), func() bool { return edge.Counts().Throttled >= 3 }); err != nil {
		t.Error(err)
	}
	edge.SetLimiter(1e9, 100)
	want("unhealthy", "critical:range:1.00")

	// EdgeCore is killed, and told again what it may not have passed on.
	edge.Kill()
	before := states.Load()
	twin, _ := edge.EdgeTwin("default", "room-1", "temperature-anomaly")
	if err := edge.Start(); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the fault is in the cloud", func() bool {
		again, _ := edge.EdgeTwin("default", "room-1", "temperature-anomaly")
		return states.Load() > before && again.Reports > twin.Reports
	})
	want("unhealthy", "critical:range:1.00")
	if c := edge.Counts(); c.TwinsDropped != 0 || c.StatesDropped != 0 {
		t.Errorf("EdgeCore dropped something: %+v", c)
	}
	if err := edge.Crashed(); err != nil {
		t.Error(err)
	}
}

// Detection does not feel an EdgeCore that hangs.
func TestVerdictsUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("some 100,000 readings")
	}
	made := func(edge *fakeEdge) *Verdicts {
		r, err := NewReporter(ReporterOptions{Client: edge, Limiter: rate.NewLimiter(rate.Inf, 1), Linger: time.Millisecond, RetryMin: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ended, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			cancel()
			_ = r.Shutdown(ended) // what waits for an EdgeCore that hangs is lost
		})
		dev := fakeDevice(sinktest.Key.Device, sinktest.Key.Property, sinktest.Key.Property+"-anomaly")
		dev.Namespace = sinktest.Key.Namespace
		v := NewVerdicts()
		startPanel(t, PanelOptions{Driver: &fakeDriver{}, Reporter: r, Verdicts: v}, dev)
		return v
	}
	hung := &fakeEdge{hang: true}
	var asked atomic.Bool
	hung.fail = func(string) error { asked.Store(true); return nil }
	sinktest.Undisturbed(t, made(&fakeEdge{}), made(hung), asked.Load)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// broken is a sink of which every method panics.
type broken struct{ calls *atomic.Int64 }

func (broken) Start(context.Context) error { return nil }
func (b broken) Write(context.Context, []driver.Result) error {
	b.calls.Add(1)
	panic("in Write")
}
func (b broken) Forget(driver.Key) { b.calls.Add(1); panic("in Forget") }
func (b broken) Hooks() *admethod.Hooks {
	return &admethod.Hooks{Verdict: func(*driver.Result) { b.calls.Add(1); panic("in a hook of a sink") }}
}
func (b broken) Shutdown(context.Context) error { b.calls.Add(1); panic("in Shutdown") }

// counting is a sink that works.
type counting struct{ verdicts *atomic.Int64 }

func (counting) Start(context.Context) error { return nil }
func (c counting) Write(_ context.Context, batch []driver.Result) error {
	c.verdicts.Add(int64(len(batch)))
	return nil
}
func (counting) Shutdown(context.Context) error { return nil }

// Hooks, sinks and detectors that panic, each in the goroutine that calls it, end neither the process nor one another.
func TestNoPanicEndsTheProcess(t *testing.T) {
	var calls, hooked, verdicts atomic.Int64
	sinks := new(admethod.SinkRegistry)
	for name, s := range map[string]admethod.Sink{"broken": broken{&calls}, "counting": counting{&verdicts}} {
		sinks.Register(name, admethod.SinkFactory{
			Name: name, New: func(admethod.SinkSettings) (admethod.Sink, error) { return s, nil }, Params: func() []params.Param { return nil },
		})
	}
	hook := func() { hooked.Add(1); panic("in a hook") }
	h := sinktest.Handler(t, pipeline.Options{
		Replay: true, Drivers: driver.NewRegistry(drivertest.Panics(3), sum()), Sinks: sinks, DefaultSinks: []string{"broken", "counting"},
		Hooks: admethod.Hooks{
			Reading:    func(*driver.Sample, bool) { hook() },
			Verdict:    func(*driver.Result) { hook() },
			Judged:     func(driver.Key, time.Duration) { hook() },
			Dropped:    func(driver.Key, int) { hook() },
			Failed:     func(driver.Key, error) { hook() },
			SinkFailed: func(string, error, bool) { hook() },
			State:      func(string, error) { hook() },
		},
	})
	bad := bind(t, h, "bad", map[string]any{"detector": "panics", "heartbeat": "0s"}, admethod.Meta{})
	good := bind(t, h, "good", map[string]any{"detector": "sum", "heartbeat": "0s"}, admethod.Meta{})
	for i := range 200 {
		at := time.Unix(int64(1000+i), 0)
		bad.Observe(at, float64(i))
		good.Observe(at, float64(i))
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if verdicts.Load() == 0 || calls.Load() == 0 || hooked.Load() < 400 {
		t.Errorf("%d verdicts reach the sink that works; %d calls of the broken one, %d of hooks", verdicts.Load(), calls.Load(), hooked.Load())
	}
	bad.Close()
	if err := h.Shutdown(t.Context()); err == nil {
		t.Error("nothing is told of a sink that panics in Shutdown")
	}
}

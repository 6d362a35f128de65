// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// Whoever watches may count: every hook may call Stats, wherever it is called from.
func TestStatsWithinHooks(t *testing.T) {
	var (
		h      *pipeline.Handler
		mu     sync.Mutex
		called = make(map[string]bool)
	)
	note := func(hook string) {
		stats := h.Stats()
		mu.Lock()
		defer mu.Unlock()
		called[hook] = called[hook] || len(stats.Bindings) > 0
	}
	opts := pipeline.Options{AdapterOptions: map[string]map[string]any{"inprocess": {"queue": 16}}, Hooks: admethod.Hooks{
		Reading: func(*driver.Sample, bool) { note("Reading") },
		Verdict: func(r *driver.Result) {
			if r.Kind == driver.KindOutOfOrder {
				note("Verdict of the quality stage")
			}
			note("Verdict")
		},
		Judged:     func(driver.Key, time.Duration) { note("Judged") },
		Dropped:    func(driver.Key, int) { note("Dropped") },
		Failed:     func(driver.Key, error) { note("Failed") },
		SinkFailed: func(string, error, bool) { note("SinkFailed") },
	}}
	gate := make(chan struct{})
	b := newBench(t, opts, drivertest.Func("gated", func(row driver.Row, out *driver.Result) {
		if row[0].Value < 0 {
			<-gate
		}
		if row[0].Value > 1e6 {
			panic("too high")
		}
		out.Judge(0.1, driver.KindNone)
	}))
	h = b.Handler
	done := make(chan struct{})
	go func() {
		defer close(done)
		binding := b.bind(t, "p", "gated", nil, admethod.Meta{})
		for i := range 2 * admethod.JudgedEvery {
			binding.Observe(epoch.Add(time.Duration(i)*time.Second), 1)
			_ = b.Flush(t.Context())
		}
		for i := range 20 { // older than what came before
			binding.Observe(epoch.Add(time.Duration(i)*time.Millisecond-time.Hour), 1)
		}
		for i := range 100 { // more than the queue takes
			binding.Observe(epoch.Add(time.Hour+time.Duration(i)*time.Second), -1)
		}
		close(gate)
		_ = b.Flush(t.Context())
		b.sink.fails(fmt.Errorf("refused: %w", admethod.ErrPermanent))
		binding.Observe(epoch.Add(2*time.Hour), 1e7)
		_ = b.Flush(t.Context())
		b.sink.fails(nil)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a hook that calls Stats hangs")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, hook := range []string{"Reading", "Verdict", "Verdict of the quality stage", "Judged", "Dropped", "Failed", "SinkFailed"} {
		if !called[hook] {
			t.Errorf("%s was not called with the binding in Stats", hook)
		}
	}
}

// slowAdapter takes its time to start.
type slowAdapter struct {
	admethod.Adapter
	starting chan<- struct{}
	release  <-chan struct{}
}

func (a slowAdapter) Start(context.Context) error {
	a.starting <- struct{}{}
	<-a.release
	return errors.New("does not start")
}

// While an adapter starts, reads a directory or waits for a disk, the handler goes on with everything else.
func TestAdapterThatTakesLongToStart(t *testing.T) {
	starting, release := make(chan struct{}), make(chan struct{})
	adapters := inprocessOnly()
	adapters.Register("slow", admethod.AdapterFactory{Name: "slow", New: func(admethod.AdapterSettings) (admethod.Adapter, error) {
		return slowAdapter{starting: starting, release: release}, nil
	}})
	h, err := pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, Drivers: driver.NewRegistry(over), Sinks: new(admethod.SinkRegistry),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	bind := func(property, adapter string) error {
		config, err := admethod.ParseSettings(map[string]any{"detector": "over", "adMethodName": adapter})
		if err == nil {
			_, err = h.Bind(keyOf(property), config, admethod.Meta{})
		}
		return err
	}
	slow := make(chan error)
	go func() { slow <- bind("slow", "slow") }()
	<-starting
	if err := bind("quick", "inprocess"); err != nil {
		t.Error(err)
	}
	if stats := h.Stats(); len(stats.Bindings) != 1 {
		t.Errorf("%d bindings, want the quick one", len(stats.Bindings))
	}
	close(release)
	if err := <-slow; err == nil {
		t.Error("what does not start is no error")
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// endingAdapter hangs in Shutdown until its time is over, or notes how it was ended.
type endingAdapter struct {
	admethod.Adapter
	hangs bool
	ended *error
}

func (endingAdapter) Start(context.Context) error { return nil }

func (endingAdapter) Open(admethod.StreamSettings) (admethod.Stream, error) { return closed{}, nil }

func (a endingAdapter) Shutdown(ctx context.Context) error {
	if a.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	*a.ended = ctx.Err()
	return nil
}

type closed struct{ admethod.Stream }

func (closed) Close() {}

// An adapter whose detector is away takes no time from one that has state to save.
func TestShutdownOfAdaptersTogether(t *testing.T) {
	for range 10 { // they are in no order
		synctest.Test(t, func(t *testing.T) {
			ended := errors.New("was not shut down")
			adapters := new(admethod.AdapterRegistry)
			for name, a := range map[string]endingAdapter{"away": {hangs: true}, "saves": {ended: &ended}} {
				adapters.Register(name, admethod.AdapterFactory{Name: name, New: func(admethod.AdapterSettings) (admethod.Adapter, error) { return a, nil }})
			}
			h, err := pipeline.NewHandler(pipeline.Options{Adapters: adapters, Drivers: driver.NewRegistry(over), Sinks: new(admethod.SinkRegistry)})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, name := range adapters.Names() {
				config, err := admethod.ParseSettings(map[string]any{"detector": "over", "adMethodName": name})
				if err == nil {
					_, err = h.Bind(keyOf(name), config, admethod.Meta{})
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := h.Shutdown(ctx); err == nil {
				t.Error("an adapter that did not end in time is no error")
			}
			if ended != nil {
				t.Errorf("the other one: %v", ended)
			}
		})
	}
}

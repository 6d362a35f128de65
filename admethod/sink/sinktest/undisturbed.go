// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sinktest is what tests of sinks share: handlers with sinks of their own, and a check that a sink in trouble disturbs
// nobody.
package sinktest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// Memory is a sink that remembers.
type Memory struct {
	mu      sync.Mutex
	results []driver.Result
}

// Start does nothing.
func (m *Memory) Start(context.Context) error { return nil }

// Shutdown does nothing.
func (m *Memory) Shutdown(context.Context) error { return nil }

// Write remembers.
func (m *Memory) Write(_ context.Context, batch []driver.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.results = append(m.results, batch...)
	return nil
}

// Severities are those of a property's verdicts, in the order in which they came.
func (m *Memory) Severities(key driver.Key) (s []driver.Severity) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.results {
		if r.Key == key {
			s = append(s, r.Severity)
		}
	}
	return s
}

// New makes a sink that ends with the test, at once.
func New[S admethod.Sink](tb testing.TB, construct func(admethod.SinkSettings) (S, error), options map[string]any) S {
	tb.Helper()
	s, err := construct(admethod.SinkSettings{Options: options})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
		cancel()
		_ = s.Shutdown(ctx) // what it could not deliver is of no interest any more
	})
	return s
}

// Write gives verdicts to a sink.
func Write(tb testing.TB, s admethod.Sink, verdicts ...driver.Result) {
	tb.Helper()
	if err := s.Write(tb.Context(), verdicts); err != nil {
		tb.Fatal(err)
	}
}

// Key is the property that [Bind] binds.
var Key = driver.Key{Namespace: "default", Device: "light-1", Property: "brightness"}

// Bind starts a handler with a sink under test and a memory beside it, and binds [Key]: normal up to 100. The handler
// ends with the test. The program must link the in-process adapter and the detector range.
func Bind(tb testing.TB, name string, sink admethod.Sink) (*pipeline.Handler, *pipeline.Binding, *Memory) {
	tb.Helper()
	memory := new(Memory)
	sinks := new(admethod.SinkRegistry)
	for n, s := range map[string]admethod.Sink{name: sink, "memory": memory} {
		sinks.Register(n, admethod.SinkFactory{Name: n, New: func(admethod.SinkSettings) (admethod.Sink, error) { return s, nil }})
	}
	h, err := pipeline.NewHandler(pipeline.Options{Sinks: sinks, DefaultSinks: []string{name, "memory"}, Replay: true})
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Second)
		defer cancel()
		_ = h.Shutdown(ctx) // a receiver that is away keeps it from saying all
	})
	settings := map[string]any{"detector": "range", "detector.upper": 100, "heartbeat": "1s", "quality.late": 0}
	return h, Watch(tb, h, Key, settings, admethod.Meta{}), memory
}

// Handler starts a handler that ends with the test.
func Handler(tb testing.TB, o pipeline.Options) *pipeline.Handler {
	tb.Helper()
	h, err := pipeline.NewHandler(o)
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Shutdown(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// Watch binds a property.
func Watch(tb testing.TB, h *pipeline.Handler, key driver.Key, settings map[string]any, meta admethod.Meta) *pipeline.Binding {
	tb.Helper()
	config, err := admethod.ParseSettings(settings)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := h.Bind(key, config, meta)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Undisturbed checks that a sink whose receiver is in trouble costs neither who observes nor other sinks anything: it
// compares readings with an anomaly in every hundred through a handler with each of two sinks, one that is well and one
// in trouble. It begins once asked reports that the receiver in trouble has been asked.
func Undisturbed(tb testing.TB, well, trouble admethod.Sink, asked func() bool) {
	tb.Helper()
	const rounds, readings = 15, 4000
	type run struct {
		handler *pipeline.Handler
		binding *pipeline.Binding
		memory  *Memory
		took    []time.Duration
	}
	var runs [2]run
	for i, sink := range []admethod.Sink{well, trouble} {
		runs[i].handler, runs[i].binding, runs[i].memory = Bind(tb, "tested", sink)
	}
	at := time.Unix(1e9, 0)
	for i := range 10 {
		runs[1].binding.Observe(at.Add(time.Duration(i-10)*time.Second), 1e6)
	}
	waittest.Eventually(tb, "the receiver in trouble is asked", asked)
	for range rounds {
		for i := range runs {
			r := &runs[i]
			begin := time.Now()
			for j := range readings {
				v := 50.0
				if j%100 < 3 {
					v = 1e6
				}
				r.binding.Observe(at.Add(time.Duration(j)*time.Second), v)
			}
			r.took = append(r.took, time.Since(begin))
			if err := r.handler.Flush(tb.Context()); err != nil { // judged and told outside the measured time
				tb.Fatal(err)
			}
		}
		at = at.Add(readings * time.Second)
	}
	for i := range runs {
		slices.Sort(runs[i].took)
	}
	// The quickest rounds are compared: others are as long as the machine is busy with something else. None may be so
	// long that a sink's timeout is in it.
	a, b, longest := runs[0].took[0], runs[1].took[0], runs[1].took[rounds-1]
	tb.Logf("%v for %d readings while all is well, %v in trouble, %v at most", a, readings, b, longest)
	if b > 5*a+time.Millisecond || longest > 5*time.Second {
		tb.Errorf("Observe takes %v to %v for %d readings in trouble, %v while all is well", b, longest, readings, a)
	}
	for i := range runs {
		r := &runs[i]
		if n := len(r.memory.Severities(Key)); n == 0 {
			tb.Errorf("run %d: the other sink got nothing", i)
		}
		if s := r.handler.Stats(); s.Sinks["memory"].Replaced+s.Sinks["memory"].Refused > 0 || s.Bindings[Key].Readings < rounds*readings {
			tb.Errorf("run %d: %+v", i, s)
		}
	}
}

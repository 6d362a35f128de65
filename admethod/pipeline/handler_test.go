// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// memory is a sink that remembers.
type memory struct {
	mu      sync.Mutex
	results []driver.Result
	err     error
}

// fails lets the sink refuse what it is given, until it is called with nil.
func (m *memory) fails(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *memory) Start(context.Context) error    { return nil }
func (m *memory) Shutdown(context.Context) error { return nil }
func (m *memory) Write(_ context.Context, batch []driver.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.results = append(m.results, batch...)
	return nil
}

// story is what the sink heard of one property, in short.
func (m *memory) story(key driver.Key) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var words []string
	for _, r := range m.results {
		if r.Key == key {
			word := r.Severity.String()
			if r.Kind != driver.KindNone {
				word += ":" + string(r.Kind)
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

// bench is a handler with the in-process adapter, some drivers and a sink that remembers.
type bench struct {
	*pipeline.Handler
	sink *memory
}

func inprocessOnly() *admethod.AdapterRegistry {
	adapters := new(admethod.AdapterRegistry)
	adapters.Register(inprocess.Name, inprocess.Factory())
	return adapters
}

func newBench(t *testing.T, opts pipeline.Options, factories ...driver.Factory) *bench {
	t.Helper()
	opts.DefaultSinks = []string{"memory"}
	return newBenchOf(t, new(admethod.SinkRegistry), opts, factories...)
}

// newBenchOf has sinks beside the one that remembers.
func newBenchOf(t *testing.T, sinks *admethod.SinkRegistry, opts pipeline.Options, factories ...driver.Factory) *bench {
	t.Helper()
	b := &bench{sink: new(memory)}
	adapters := inprocessOnly()
	sinks.Register("memory", admethod.SinkFactory{
		Name: "memory", New: func(admethod.SinkSettings) (admethod.Sink, error) { return b.sink, nil },
	})
	opts.Drivers, opts.Adapters, opts.Sinks = driver.NewRegistry(factories...), adapters, sinks
	var err error
	if b.Handler, err = pipeline.NewHandler(opts); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := b.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) bind(t *testing.T, property, detector string, settings map[string]any, meta admethod.Meta) *pipeline.Binding {
	t.Helper()
	binding, err := b.tryBind(property, detector, settings, meta)
	if err != nil {
		t.Fatal(err)
	}
	return binding
}

func (b *bench) tryBind(property, detector string, settings map[string]any, meta admethod.Meta) (*pipeline.Binding, error) {
	all := map[string]any{"detector": detector}
	maps.Copy(all, settings)
	config, err := admethod.ParseSettings(all)
	if err != nil {
		return nil, err
	}
	return b.Bind(keyOf(property), config, meta)
}

func (b *bench) flush(t *testing.T) {
	t.Helper()
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func keyOf(property string) driver.Key {
	return driver.Key{Namespace: "default", Device: "sensor-1", Property: property}
}

var epoch = time.Unix(1_700_000_000, 0)

// over judges readings over 100 as spikes.
var over = drivertest.Func("over", func(row driver.Row, out *driver.Result) {
	out.Confidence = 1
	score, causes := 0.1, out.Causes
	for _, s := range row {
		if s.Value > 100 {
			score = 0.96
			if len(row) > 1 {
				causes = append(causes, driver.Cause{Key: s.Key, Weight: 1})
			}
		}
	}
	out.Causes = causes
	out.Judge(score, driver.KindSpike)
})

// Sinks hear changes at once, and the rest once a heartbeat by the time of reading.
func TestVerdictsAreCoalesced(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", map[string]any{"heartbeat": "60s"}, admethod.Meta{})
	for i := range 150 {
		v := 20.0
		if i >= 30 && i < 40 {
			v = 500
		}
		binding.Observe(epoch.Add(time.Duration(i)*time.Second), v)
	}
	b.flush(t)
	if got, want := b.sink.story(keyOf("t")), "normal warning:spike normal normal"; got != want {
		t.Errorf("the sink heard %q, want %q", got, want)
	}
}

// A fault in the readings themselves outranks a detector that sees nothing wrong with what still reaches it.
func TestQualityVerdictStandsUntilReadingsAreGood(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", map[string]any{"heartbeat": "0s"}, admethod.Meta{DataType: "double", Cycle: time.Second})
	at := epoch
	for i := range 200 {
		at = at.Add(time.Second)
		if i == 50 {
			b.flush(t) // the detector's verdict first
		}
		if i >= 50 && i < 60 && i%2 == 0 {
			binding.ObserveAny(at, "error 7")
		} else {
			binding.ObserveAny(at, float64(i%10))
		}
	}
	b.flush(t)
	if got, want := b.sink.story(keyOf("t")), "normal warning:invalid normal"; got != want {
		t.Errorf("the sink heard %q, want %q", got, want)
	}
	if got := binding.Stats(); got.Invalid != 5 || got.Readings != 200 {
		t.Errorf("stats %+v, want 5 of 200 invalid", got)
	}
}

// Readings that are no good among others neither hide nor end an anomaly that the detector still sees. Where all of them
// are no good, that is what is told.
func TestQualityDoesNotClearTheDetectorsAnomaly(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", map[string]any{"heartbeat": "0s"}, admethod.Meta{DataType: "double", Cycle: time.Second})
	at := epoch
	for i := range 200 {
		at = at.Add(time.Second)
		if i >= 50 && i < 60 && i%2 == 0 || i >= 100 && i < 130 {
			binding.ObserveAny(at, "error 7")
		} else {
			binding.ObserveAny(at, 500)
		}
		b.flush(t)
	}
	if got, want := b.sink.story(keyOf("t")), "warning:spike warning:invalid warning:spike"; got != want {
		t.Errorf("the sink heard %q, want %q", got, want)
	}
}

// Silence is noticed by the clock, without a reading.
func TestSilenceIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pipeline.Options{}, over)
		binding := b.bind(t, "t", "over", map[string]any{"heartbeat": "0s"}, admethod.Meta{Cycle: time.Second})
		for range 10 {
			<-time.After(time.Second)
			binding.Observe(time.Now(), 20)
		}
		<-time.After(20 * time.Second)
		binding.Observe(time.Now(), 20)
		for range 100 {
			<-time.After(time.Second)
			binding.Observe(time.Now(), 20)
		}
		b.flush(t)
		if got, want := b.sink.story(keyOf("t")), "normal warning:missing normal"; got != want {
			t.Errorf("the sink heard %q, want %q", got, want)
		}
	})
}

func TestBindErrorsNameEverythingAndReachTheSinks(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	tests := []struct {
		name     string
		detector string
		settings map[string]any
		meta     admethod.Meta
		want     []string
	}{
		{"unknown detector", "ovre", nil, admethod.Meta{}, []string{`unknown detector "ovre"`, `did you mean "over"?`, "registered: over"}},
		{"unknown adapter", "over", map[string]any{"adMethodName": "inproces"}, admethod.Meta{}, []string{`adMethodName: unknown adapter "inproces"`, `"inprocess"`}},
		{"unknown sink", "over", map[string]any{"sinks": "memroy"}, admethod.Meta{}, []string{`sinks: unknown sink "memroy"`}},
		{"unknown driver key", "over", map[string]any{"detector.window": 5}, admethod.Meta{}, []string{"detector.window: unknown key"}},
		{"unknown prefix", "over", map[string]any{"inproces.lanes": 5}, admethod.Meta{}, []string{`inproces.lanes: unknown key; did you mean "inprocess.lanes"?`}},
		{"model elsewhere", "over", map[string]any{"model": "../../etc/passwd"}, admethod.Meta{}, []string{"model: got", "below the model directory"}},
		{"crossed bounds", "over", nil, admethod.Meta{Minimum: "5", Maximum: "1"}, []string{"minimum 5 is over maximum 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			property := strings.ReplaceAll(tt.name, " ", "-")
			_, err := b.tryBind(property, tt.detector, tt.settings, tt.meta)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(tt.want, "default/sensor-1/"+property) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			b.flush(t)
			if got := b.sink.story(keyOf(property)); got != "unknown:failed" {
				t.Errorf("the sink heard %q, want unknown:failed", got)
			}
		})
	}
}

// EdgeCore updates a device by removing and adding it: a property whose configuration did not change goes on.
func TestRebindKeepsWhatWasLearned(t *testing.T) {
	opened := 0
	counting := driver.NewFactory(driver.Info{Name: "count"}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) {
			opened++
			return new(counter), nil
		})
	b := newBench(t, pipeline.Options{Replay: true}, counting)
	first := b.bind(t, "t", "count", nil, admethod.Meta{})
	first.Observe(epoch, 1)
	first.Close()
	second := b.bind(t, "t", "count", nil, admethod.Meta{})
	second.Observe(epoch.Add(time.Second), 2)
	if opened != 1 || first != second {
		t.Errorf("%d detectors opened for an unchanged property, want 1", opened)
	}
	b.bind(t, "t", "count", map[string]any{"threshold": 0.9}, admethod.Meta{})
	if opened != 2 {
		t.Errorf("%d detectors opened after a change, want 2", opened)
	}
	first.Observe(epoch.Add(2*time.Second), 3) // a holder of the old binding does no harm
	b.flush(t)
}

// Properties with the same configuration share what is made of it, also while verdicts of the first are on their way.
func TestBindWhileOthersAreJudged(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	first := b.bind(t, "p0", "over", map[string]any{"heartbeat": "1ns"}, admethod.Meta{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 2000 {
			first.Observe(epoch.Add(time.Duration(i)*time.Second), float64(i%2)*500)
		}
	})
	for i := range 200 {
		b.bind(t, fmt.Sprint("p", i+1), "over", map[string]any{"heartbeat": "1ns"}, admethod.Meta{})
	}
	wg.Wait()
	b.flush(t)
}

type counter struct{ n int }

func (c *counter) Detect(_ driver.Row, out *driver.Result) { c.n++; out.Judge(0, driver.KindNone) }

// An incident that a detector tells once and says to be ongoing is one incident until it ends.
func TestOngoingIncidentIsHeld(t *testing.T) {
	once := drivertest.Func("once", func(row driver.Row, out *driver.Result) {
		if row[0].Value == 500 {
			out.Judge(0.97, driver.KindFreeze)
			return
		}
		out.Judge(0.1, driver.KindNone)
		out.Ongoing = row[0].Value == 501
	})
	b := newBench(t, pipeline.Options{Replay: true}, once)
	binding := b.bind(t, "t", "once", map[string]any{"heartbeat": "0s"}, admethod.Meta{})
	for i := range 100 {
		v := 20.0
		switch {
		case i == 30:
			v = 500
		case i > 30 && i < 60:
			v = 501
		}
		binding.Observe(epoch.Add(time.Duration(i)*time.Second), v)
		b.flush(t)
		if want := "normal warning:freeze"; i == 59 && b.sink.story(keyOf("t")) != want {
			t.Errorf("while it lasts the sink heard %q, want %q", b.sink.story(keyOf("t")), want)
		}
	}
	if got, want := b.sink.story(keyOf("t")), "normal warning:freeze normal"; got != want {
		t.Errorf("the sink heard %q, want %q", got, want)
	}
}

// hungSink takes a batch and does not return, whatever its context says.
type hungSink struct{ release chan struct{} }

func (hungSink) Start(context.Context) error                    { return nil }
func (hungSink) Shutdown(context.Context) error                 { return nil }
func (s hungSink) Write(context.Context, []driver.Result) error { <-s.release; return nil }

// A sink that hangs delays neither the caller nor the other sinks.
func TestHungSinkDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung, healthy := hungSink{make(chan struct{})}, new(memory)
		adapters, sinks := new(admethod.AdapterRegistry), new(admethod.SinkRegistry)
		adapters.Register(inprocess.Name, inprocess.Factory())
		for name, sink := range map[string]admethod.Sink{"hung": hung, "healthy": healthy} {
			sinks.Register(name, admethod.SinkFactory{New: func(admethod.SinkSettings) (admethod.Sink, error) { return sink, nil }})
		}
		h, err := pipeline.NewHandler(pipeline.Options{
			Replay: true, Drivers: driver.NewRegistry(over), Adapters: adapters, Sinks: sinks, DefaultSinks: []string{"hung", "healthy"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := sinktest.Watch(t, h, keyOf("t"), map[string]any{"detector": "over", "clear": 1}, admethod.Meta{})
		start := time.Now()
		for i := range 100_000 { // the verdict changes with each reading
			b.Observe(epoch.Add(time.Duration(i)*time.Second), float64(i%2)*500)
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("the caller waited %v", took)
		}
		stats := h.Stats()
		heard := func(name string) uint64 { return uint64(stats.Sinks[name].Waiting) + stats.Sinks[name].Replaced }
		// Where a reading was dropped, its neighbours have the same verdict, which is heard once.
		dropped := b.Stats().Dropped
		if n := uint64(len(healthy.results)) + heard("healthy"); n > 100_000 || n+2*dropped < 100_000 {
			t.Errorf("the healthy sink accounts for %d verdicts, %d readings dropped; want 100,000", n, dropped)
		}
		if heard("hung") == 0 || stats.Sinks["hung"].Waiting > 5000 {
			t.Errorf("the hung sink: %+v, want verdicts replaced and at most 5,000 waiting", stats.Sinks["hung"])
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown says %v, want that the time is over", err)
		}
		close(hung.release) // lets the test join the goroutine
	})
}

func TestHandlerLifecycle(t *testing.T) {
	h, err := pipeline.NewHandler(pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := admethod.ParseSettings(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Bind(keyOf("t"), config, admethod.Meta{}); !errors.Is(err, admethod.ErrClosed) {
		t.Errorf("Bind before Start: %v", err)
	}
	for range 2 { // both are idempotent
		if err := h.Start(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := h.Start(t.Context()); !errors.Is(err, admethod.ErrClosed) {
		t.Errorf("Start after Shutdown: %v", err)
	}
}

func TestObserveDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", nil, admethod.Meta{Cycle: time.Second})
	at, i := epoch, 0
	observe := func() {
		at = at.Add(time.Second)
		binding.Observe(at, float64(i%7))
		if i++; i%1024 == 0 {
			b.flush(t)
		}
	}
	for range 20_000 { // the queue grows to its working size
		observe()
	}
	if n := testing.AllocsPerRun(20_000, observe); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

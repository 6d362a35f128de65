// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
)

// observed is a handler with some properties, with or without a recorder.
type observed struct {
	handler  *pipeline.Handler
	bindings []*pipeline.Binding
	n        int
	recorder *recorder.Recorder // nil for none
}

func observe(tb testing.TB, recorded bool) *observed {
	tb.Helper()
	o := new(observed)
	opts := pipeline.Options{Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}}
	if recorded {
		f := recorder.Factory()
		o.recorder = recorder.New(recorder.Config{Dir: tb.TempDir()})
		f.New = func(admethod.SinkSettings) (admethod.Sink, error) { return o.recorder, nil }
		opts.Sinks.Register(f.Name, f)
		opts.DefaultSinks = []string{f.Name}
	}
	var err error
	if o.handler, err = pipeline.NewHandler(opts); err != nil {
		tb.Fatal(err)
	}
	if err := o.handler.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = o.handler.Shutdown(context.WithoutCancel(tb.Context())) })
	c, err := admethod.ParseSettings(map[string]any{"detector": "ewma"})
	if err != nil {
		tb.Fatal(err)
	}
	for i := range 500 {
		key := driver.Key{Namespace: "default", Device: fmt.Sprintf("light-%d", i), Property: "lux"}
		b, err := o.handler.Bind(key, c, admethod.Meta{DataType: "double"})
		if err != nil {
			tb.Fatal(err)
		}
		o.bindings = append(o.bindings, b)
	}
	return o
}

// batch observes so many readings and returns how long that took.
func (o *observed) batch(n int) time.Duration {
	at := time.Now()
	for range n {
		o.bindings[o.n%len(o.bindings)].Observe(at, float64(o.n%7))
		o.n++
	}
	return time.Since(at)
}

// Recording 10,000 readings a second adds at most a microsecond to Observe, and loses none.
func TestCostOfRecording(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("EDGE_ANOMALY_HEAVY is not set")
	}
	const (
		size    = 100 // readings in a batch
		batches = 2000
		most    = time.Microsecond
	)
	plain, recorded := observe(t, false), observe(t, true)
	tick := time.NewTicker(10 * time.Millisecond) // 10,000 readings a second to each
	defer tick.Stop()
	var without, with []time.Duration
	for i := range batches {
		<-tick.C
		if i%2 == 0 {
			without, with = append(without, plain.batch(size)), append(with, recorded.batch(size))
		} else {
			with, without = append(with, recorded.batch(size)), append(without, plain.batch(size))
		}
	}
	slices.Sort(without)
	slices.Sort(with)
	quantile := func(d []time.Duration, q float64) time.Duration { return d[int(q*float64(len(d)-1))] / size }
	added := quantile(with, 0.5) - quantile(without, 0.5)
	t.Logf("Observe: %s without, %s with a recorder (median); %s and %s at the 90th percentile",
		quantile(without, 0.5), quantile(with, 0.5), quantile(without, 0.9), quantile(with, 0.9))
	if added > most {
		t.Errorf("recording adds %s to Observe, want at most %s", added, most)
	}
	if err := recorded.handler.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := recorded.recorder.Stats(); st.Lost > 0 || st.Written != batches*size {
		t.Errorf("stats %+v, want %d written", st, batches*size)
	}
}

// BenchmarkObserve is what Observe costs with and without a recorder. It is to be run with -benchtime 10000x: more than
// the queue holds at once is lost, which is cheaper.
func BenchmarkObserve(b *testing.B) {
	for name, recorded := range map[string]bool{"plain": false, "recorded": true} {
		b.Run(name, func(b *testing.B) {
			o := observe(b, recorded)
			b.ReportAllocs()
			for b.Loop() {
				o.batch(1)
			}
		})
	}
}

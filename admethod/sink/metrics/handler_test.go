// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

// Readings that pass through a handler, and the anomaly in them, are on the page.
func TestWithHandler(t *testing.T) {
	f := &fixture{}
	sinks := new(admethod.SinkRegistry)
	sinks.Register(Name, admethod.SinkFactory{Name: Name, New: func(s admethod.SinkSettings) (admethod.Sink, error) {
		f.sink = newSink(Config{Address: "127.0.0.1:0", MaxProperties: 10}, s.Stats)
		return f.sink, nil
	}})
	h := sinktest.Handler(t, pipeline.Options{Sinks: sinks, DefaultSinks: []string{Name}, Replay: true})
	cfg, err := admethod.Parse([]byte(`{"detector":"ewma"}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Bind(driver.Key{Namespace: "default", Device: "light-1", Property: "brightness"}, cfg, admethod.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	f.client.Transport = nil
	at := time.Unix(0, 0)
	for i := range 500 {
		at = at.Add(time.Second)
		b.Observe(at, 20+float64(i%3))
	}
	for range 3 {
		at = at.Add(time.Second)
		b.Observe(at, 1e6)
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer f.client.CloseIdleConnections()
	_, page := f.get(t, "/metrics")
	for _, want := range []string{"edge_anomaly_readings_total 503", `property="brightness"} 1`, "anomaly{"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
}

func BenchmarkScrape10000(b *testing.B) {
	c := newCollector(10_000, func() admethod.Stats { return admethod.Stats{} })
	for i := range 10_000 {
		c.take([]driver.Result{verdict(strconv.Itoa(i), 0.5)})
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

// What the collector is compared with.
func BenchmarkScrapeVectors10000(b *testing.B) {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"anomaly_score", "anomaly", "anomaly_severity", "yhat", "yhat_lower", "yhat_upper", "model"} {
		vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: name}, verdictLabels)
		registry.MustRegister(vec)
		for i := range 10_000 {
			vec.WithLabelValues("default", "light-1", strconv.Itoa(i), "auto").Set(0.5)
		}
	}
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	c := newCollector(10_000, nil)
	batch := []driver.Result{verdict("brightness", 0.5)}
	for b.Loop() {
		c.take(batch)
	}
}

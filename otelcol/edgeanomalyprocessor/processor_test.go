// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgeanomalyprocessor_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/goleak"

	edgeanomaly "github.com/kubeedge/edge-anomaly/otelcol/edgeanomalyprocessor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// configured is the default configuration with these keys, as a collector reads it.
func configured(keys map[string]any) (component.Config, error) {
	c := edgeanomaly.NewFactory().CreateDefaultConfig()
	if err := confmap.NewFromStringMap(keys).Unmarshal(c); err != nil {
		return nil, err
	}
	return c, confmap.Validate(c)
}

// start makes a processor that runs until the test ends, or stop does.
func start(t *testing.T, next consumer.Metrics, keys map[string]any) (p processor.Metrics, stop func()) {
	t.Helper()
	c, err := configured(keys)
	if err != nil {
		t.Fatal(err)
	}
	p, err = edgeanomaly.NewFactory().CreateMetrics(t.Context(), processortest.NewNopSettings(edgeanomaly.Type), c, next)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	stop = sync.OnceFunc(func() {
		if err := p.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return p, stop
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// reading is a metric of a device at a second, as a mapper of KubeEdge pushes it.
func reading(device, property string, second int, value float64) pmetric.Metrics {
	m := pmetric.NewMetrics()
	r := m.ResourceMetrics().AppendEmpty()
	r.Resource().Attributes().PutStr("device.id", "plant/"+device)
	g := r.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	g.SetName(property)
	g.SetUnit("kN")
	p := g.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(began.Add(time.Duration(second) * time.Second)))
	p.SetDoubleValue(value)
	return m
}

// normal is the value of a second: it wavers a little.
func normal(second int) float64 { return 20 + float64((second*7919)%101)/100 }

// verdicts are the points of the metrics with verdicts, by name.
func verdicts(m pmetric.Metrics) map[string]pmetric.NumberDataPoint {
	all := make(map[string]pmetric.NumberDataPoint)
	for _, r := range m.ResourceMetrics().All() {
		for _, s := range r.ScopeMetrics().All() {
			if s.Scope().Name() != edgeanomaly.Scope {
				continue
			}
			for _, one := range s.Metrics().All() {
				for _, p := range one.Gauge().DataPoints().All() {
					all[one.Name()] = p
				}
			}
		}
	}
	return all
}

func severity(m pmetric.Metrics) int64 {
	if p, ok := verdicts(m)[edgeanomaly.Severity]; ok {
		return p.IntValue()
	}
	return -1
}

const (
	unknown  = 0
	normally = 1
	critical = 3
)

// The same metrics go on, and verdicts beside them: a jump is found, and what is normal is not.
func TestMetrics(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	p, _ := start(t, sink, map[string]any{"defaults": map[string]any{"detector": "ewma"}})
	const seconds = 300
	for s := range seconds {
		if err := p.ConsumeMetrics(t.Context(), reading("press", "force", s, normal(s))); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.ConsumeMetrics(t.Context(), reading("press", "force", seconds, 60)); err != nil {
		t.Fatal(err)
	}
	all := sink.AllMetrics()
	if len(all) != seconds+1 {
		t.Fatalf("%d of %d requests went on", len(all), seconds+1)
	}
	for s, m := range all[100:seconds] {
		if got := severity(m); got != normally {
			t.Errorf("second %d: severity %d, want normal", s+100, got)
		}
	}
	last := all[seconds]
	if got := severity(last); got != critical {
		t.Errorf("a jump: severity %d, want critical", got)
	}
	origin := last.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	if p := origin.Gauge().DataPoints().At(0); origin.Name() != "force" || p.DoubleValue() != 60 || p.Attributes().Len() != 0 {
		t.Errorf("what came was changed: %s %v %v", origin.Name(), p.DoubleValue(), p.Attributes().AsRaw())
	}
	found := verdicts(last)
	for name, in := range map[string][2]float64{edgeanomaly.Score: {0.9, 1}, edgeanomaly.Expected: {20, 21}, edgeanomaly.Lower: {15, 20.6}, edgeanomaly.Upper: {20.4, 30}} {
		p, ok := found[name]
		if !ok || !(p.DoubleValue() >= in[0] && p.DoubleValue() <= in[1]) {
			t.Errorf("%s: %v, want one in %v", name, ok, in)
			continue
		}
		if of, _ := p.Attributes().Get(edgeanomaly.Metric); of.AsString() != "force" || p.Timestamp().AsTime() != began.Add(seconds*time.Second) {
			t.Errorf("%s of %q at %v", name, of.AsString(), p.Timestamp().AsTime())
		}
	}
	if id, _ := last.ResourceMetrics().At(0).Resource().Attributes().Get("device.id"); id.AsString() != "plant/press" {
		t.Errorf("verdicts of %q", id.AsString())
	}
}

// As attributes verdicts stand at the points that were judged.
func TestAttributes(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	p, _ := start(t, sink, map[string]any{"output": "attributes", "defaults": map[string]any{"detector": "range", "detector.upper": 50}})
	for s, v := range []float64{20, 60} {
		if err := p.ConsumeMetrics(t.Context(), reading("press", "force", s, v)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"normal", "critical"} {
		m := sink.AllMetrics()[i]
		got := m.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0).Attributes().AsRaw()
		if got[edgeanomaly.Severity] != want || got[edgeanomaly.Score] == nil || m.ResourceMetrics().At(0).ScopeMetrics().Len() != 1 {
			t.Errorf("reading %d: %v, want %s", i, got, want)
		}
		if i == 1 && got[edgeanomaly.Kind] != "range" {
			t.Errorf("kind %v, want range", got[edgeanomaly.Kind])
		}
	}
}

// Routes give series their detectors; what is no gauge or sum, comes again, or is a verdict, passes as it is.
func TestWhatPasses(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	p, _ := start(t, sink, map[string]any{
		"defaults": map[string]any{"detector": "range", "detector.upper": 50},
		"routes": []any{map[string]any{
			"match": map[string]any{"device": "oven-*", "labels": map[string]any{"hall": "3"}}, "settings": map[string]any{"detector.upper": 500},
		}},
	})
	consume := func(m pmetric.Metrics) pmetric.Metrics {
		t.Helper()
		if err := p.ConsumeMetrics(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		all := sink.AllMetrics()
		return all[len(all)-1]
	}
	if got := severity(consume(reading("press", "force", 1, 60))); got != critical {
		t.Errorf("by default: severity %d", got)
	}
	hot := reading("oven-1", "heat", 1, 60)
	hot.ResourceMetrics().At(0).Resource().Attributes().PutStr("hall", "3")
	if got := severity(consume(hot)); got != normally {
		t.Errorf("by a route: severity %d", got)
	}
	if got := severity(consume(reading("press", "force", 1, 60))); got != -1 {
		t.Errorf("what comes again: severity %d", got)
	}
	spread := reading("press", "force", 2, 1)
	spread.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).SetEmptyHistogram().DataPoints().AppendEmpty().SetCount(1)
	if got := consume(spread); severity(got) != -1 || got.DataPointCount() != 1 {
		t.Errorf("a histogram: %d points", got.DataPointCount())
	}
	judged := consume(reading("press", "force", 3, 20))
	if n := judged.DataPointCount(); n < 3 {
		t.Fatalf("%d points", n)
	}
	again := pmetric.NewMetrics()
	judged.CopyTo(again)
	if n := consume(again).DataPointCount(); n != judged.DataPointCount() {
		t.Errorf("verdicts were judged: %d points of %d", n, judged.DataPointCount())
	}
	if n := consume(pmetric.NewMetrics()).DataPointCount(); n != 0 {
		t.Errorf("%d points of none", n)
	}
}

// What was learned is there after a restart.
func TestRestart(t *testing.T) {
	keys := map[string]any{"defaults": map[string]any{"detector": "ewma"}, "directory": t.TempDir()}
	second := 0
	run := func(readings int) (first int64) {
		sink := new(consumertest.MetricsSink)
		p, stop := start(t, sink, keys)
		for range readings {
			second++
			if err := p.ConsumeMetrics(t.Context(), reading("press", "force", second, normal(second))); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		return severity(sink.AllMetrics()[0])
	}
	if got := run(200); got != unknown {
		t.Errorf("the first one of all: severity %d, want unknown", got)
	}
	if got := run(1); got != normally {
		t.Errorf("the first one after a restart: severity %d, want normal", got)
	}
}

// Many series at once, from several receivers: each point has its verdict, and series beyond the bound pass without one.
func TestManySeries(t *testing.T) {
	sink := new(consumertest.MetricsSink)
	const bound, senders, seconds = 40, 4, 30
	p, _ := start(t, sink, map[string]any{"series": bound, "defaults": map[string]any{"detector": "range", "detector.upper": 50}})
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for s := range seconds {
				m := pmetric.NewMetrics()
				for d := range bound / senders {
					reading(fmt.Sprintf("press-%d-%d", sender, d), "force", s, 20).ResourceMetrics().MoveAndAppendTo(m.ResourceMetrics())
				}
				if err := p.ConsumeMetrics(t.Context(), m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	judged := 0
	for _, m := range sink.AllMetrics() {
		for _, r := range m.ResourceMetrics().All() {
			for _, s := range r.ScopeMetrics().All() {
				if s.Scope().Name() == edgeanomaly.Scope {
					judged++
				}
			}
		}
	}
	if judged != bound*seconds {
		t.Errorf("%d of %d points have a verdict", judged, bound*seconds)
	}
	sink.Reset()
	if err := p.ConsumeMetrics(t.Context(), reading("one-more", "force", 1, 60)); err != nil || severity(sink.AllMetrics()[0]) != -1 {
		t.Errorf("one more series: %v, severity %d", err, severity(sink.AllMetrics()[0]))
	}
}

// What the next one refuses is the caller's to send again.
func TestNextRefuses(t *testing.T) {
	why := errors.New("no room")
	p, stop := start(t, consumertest.NewErr(why), nil)
	if err := p.ConsumeMetrics(t.Context(), reading("press", "force", 1, 20)); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	stop()
	if err := p.ConsumeMetrics(t.Context(), reading("press", "force", 2, 20)); err == nil {
		t.Error("a processor that was shut down takes points")
	}
}

func TestLifecycle(t *testing.T) {
	factory := edgeanomaly.NewFactory()
	processortest.VerifyShutdown(t, factory, factory.CreateDefaultConfig())
	p, err := factory.CreateMetrics(t.Context(), processortest.NewNopSettings(edgeanomaly.Type), factory.CreateDefaultConfig(), consumertest.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // without a start, and twice
		if err := p.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := componenttest.CheckConfigStruct(factory.CreateDefaultConfig()); err != nil {
		t.Error(err)
	}
	if !p.Capabilities().MutatesData {
		t.Error("metrics are changed")
	}
}

func TestConfig(t *testing.T) {
	if _, err := configured(nil); err != nil {
		t.Errorf("the default: %v", err)
	}
	for name, c := range map[string]struct {
		keys map[string]any
		want string
	}{
		"unknown key":     {map[string]any{"outptu": "metrics"}, "outptu"},
		"output":          {map[string]any{"output": "logs"}, `output: got "logs", want metrics or attributes`},
		"a template":      {map[string]any{"device": "{"}, "device"},
		"series":          {map[string]any{"series": 0}, "series"},
		"memory":          {map[string]any{"memory": 0}, "memory"},
		"idle":            {map[string]any{"idle": "1ms"}, "idle"},
		"deadline":        {map[string]any{"deadline": "1ms"}, "deadline"},
		"a detector":      {map[string]any{"defaults": map[string]any{"detector": "oracle"}}, "defaults"},
		"a key":           {map[string]any{"defaults": map[string]any{"treshold": 1}}, "threshold"},
		"sinks":           {map[string]any{"defaults": map[string]any{"sinks": "log"}}, "defaults.sinks"},
		"a route":         {map[string]any{"routes": []any{map[string]any{"settings": map[string]any{"threshold": 7}}}}, "routes[0].settings"},
		"an empty route":  {map[string]any{"routes": []any{map[string]any{}}}, "routes[0].settings"},
		"a pattern":       {map[string]any{"routes": []any{map[string]any{"match": map[string]any{"device": "["}, "settings": map[string]any{"threshold": 0.9}}}}, "routes[0]"},
		"a key in match":  {map[string]any{"routes": []any{map[string]any{"match": map[string]any{"devise": "x"}}}}, "devise"},
		"out of bounds":   {map[string]any{"defaults": map[string]any{"threshold": math.Inf(1)}}, "threshold"},
		"nested settings": {map[string]any{"defaults": map[string]any{"detector": "ewma", "detector.alpha": "x"}}, "alpha"},
	} {
		if _, err := configured(c.keys); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

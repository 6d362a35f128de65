// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	api "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/otlp"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// overHTTP is the exporter of KubeEdge's mappers, overGRPC the other one.
func overHTTP(t *testing.T, address string) metric.Exporter {
	t.Helper()
	e, err := otlpmetrichttp.New(t.Context(), otlpmetrichttp.WithEndpoint(address), otlpmetrichttp.WithURLPath("/v1/metrics"), otlpmetrichttp.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func overGRPC(t *testing.T, address string) metric.Exporter {
	t.Helper()
	e, err := otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithEndpoint(address), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithCompressor("gzip"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// push pushes a property of a device as a mapper of KubeEdge does by otel: an observable gauge with the name of the property, of a
// resource whose device.id is namespace and device; value is asked for each time.
func push(t *testing.T, e metric.Exporter, device, property string, every time.Duration, value func() float64) *metric.MeterProvider {
	t.Helper()
	res, err := resource.Merge(resource.Default(), resource.NewSchemaless(attribute.String("device.id", device)))
	if err != nil {
		t.Fatal(err)
	}
	provider := metric.NewMeterProvider(metric.WithResource(res), metric.WithReader(metric.NewPeriodicReader(e, metric.WithInterval(every))))
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() { _ = provider.Shutdown(ctx) })
	_, err = provider.Meter("github.com/kubeedge/Template/data/dbmethod/otel").Float64ObservableGauge(property,
		api.WithFloat64Callback(func(_ context.Context, o api.Float64Observer) error {
			o.Observe(value())
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// What OpenTelemetry's SDK pushes comes as it is, over both of its exporters, and nothing of it is lost while the source is away.
func TestExporters(t *testing.T) {
	for name, exporter := range map[string]func(*testing.T, string) metric.Exporter{"HTTP": overHTTP, "gRPC": overGRPC} {
		t.Run(name, func(t *testing.T) {
			address, in := proctest.FreeAddress(t), new(sourcetest.Intake)
			start := func() func() error {
				s, err := otlp.New(source.Settings{
					Name: "test", Options: map[string]any{"listen": address, "insecure": true}, Report: new(sourcetest.Reports).Report,
				})
				if err != nil {
					t.Fatal(err)
				}
				return sourcetest.Run(t, s, in)
			}
			stop := start()
			var n atomic.Int64
			push(t, exporter(t, address), "plant/press-7", "force", 20*time.Millisecond, func() float64 { return float64(n.Add(1)) })
			enough := func(more int) {
				t.Helper()
				had := len(in.Readings())
				waittest.Eventually(t, "readings come", func() bool { return len(in.Readings()) >= had+more })
			}
			enough(20)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			start()
			enough(20)
			last := 0.
			for _, r := range in.Readings() {
				if r.Key.String() != "plant/press-7/force" || r.Value != last+1 || time.Since(r.At) > time.Minute {
					t.Fatalf("%s %v at %v: want press-7 at %v, now", r.Key, r.Value, r.At, last+1)
				}
				last = r.Value
			}
		})
	}
}

// A histogram is no reading, and the exporter is told so without losing the others.
func TestPartialSuccess(t *testing.T) {
	address, in, told := proctest.FreeAddress(t), new(sourcetest.Intake), new(sourcetest.Reports)
	s, err := otlp.New(source.Settings{Name: "test", Options: map[string]any{"listen": address, "insecure": true}, Report: told.Report})
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, s, in)
	provider := push(t, overGRPC(t, address), "plant/press-7", "force", time.Hour, func() float64 { return 1 })
	h, err := provider.Meter("m").Float64Histogram("spread")
	if err != nil {
		t.Fatal(err)
	}
	h.Record(t.Context(), 1)
	err = provider.ForceFlush(t.Context())
	if err == nil || !strings.Contains(err.Error(), "partial success: 1 points of kind Histogram") && !strings.Contains(fmt.Sprint(err), "Histogram") {
		t.Errorf("the exporter is told %v", err)
	}
	if len(in.Readings()) != 1 {
		t.Errorf("%d readings, want that of the gauge", len(in.Readings()))
	}
}

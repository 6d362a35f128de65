// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"context"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/grpcmethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpmethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A handler with adMethodName grpc or http takes the verdicts of a server that knows only the proposal's fields: one for
// each reading, in order, by the status alone.
func TestMapperPlainServer(t *testing.T) {
	for method, script := range map[string]string{grpcmethod.Name: "server.py", httpmethod.Name: "http_server.py"} {
		t.Run(method, func(t *testing.T) { mapperPlainServer(t, method, script) })
	}
}

func mapperPlainServer(t *testing.T, method, script string) {
	t.Helper()
	address := startServer(t, script, "--low", "10", "--high", "30")
	adapters := new(admethod.AdapterRegistry)
	adapters.Register(grpcmethod.Name, grpcmethod.Factory())
	adapters.Register(httpmethod.Name, httpmethod.Factory())
	const readings = 40
	verdicts := make(chan driver.Result, 4*readings)
	h, err := pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, Replay: true,
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) { verdicts <- r.Clone() }},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	config, err := admethod.ParseSettings(map[string]any{
		"adMethodName": method, method + ".address": address, method + ".insecure": true,
		"clear": 1, // the plain server tells nothing of incidents: the first reading within limits ends one
	})
	if err != nil {
		t.Fatal(err)
	}
	key := driver.Key{Namespace: "default", Device: "boiler-1", Property: "temperature"}
	b, err := h.Bind(key, config, admethod.Meta{DataType: "float"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for i := range readings {
		b.Observe(start.Add(time.Duration(i)*time.Second), float64(i))
	}
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for i := range readings {
		select {
		case got := <-verdicts:
			want := driver.Normal
			if i < 10 || i > 30 {
				want = driver.Warning
			}
			if got.Key != key || got.Value != float64(i) || got.Severity != want || got.Message == "" {
				t.Fatalf("verdict %d: got %s of %v for %v (%q), want %s of %d", i, got.Severity, got.Value, got.Key, got.Message, want, i)
			}
		case <-deadline.C:
			t.Fatalf("got %d verdicts, want %d", i, readings)
		}
	}
}

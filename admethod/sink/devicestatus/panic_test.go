// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

type fragile struct {
	rest.Interface
	calls atomic.Int64
}

func (f *fragile) Patch(p types.PatchType) *rest.Request {
	if f.calls.Add(1) == 1 {
		panic("in a request")
	}
	return f.Interface.Patch(p)
}

// A request that panics is told of as one that failed, is tried again, and keeps nothing from being shut down.
func TestPanicOfAWriter(t *testing.T) {
	a := newAPI(t, "default/d")
	var failures atomic.Int64
	s, err := New(admethod.SinkSettings{
		Options: map[string]any{"server": a.URL, "interval": "20ms", "rate": 2000},
		Hooks:   &admethod.Hooks{SinkFailed: func(string, error, bool) { failures.Add(1) }},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client.rest = &fragile{Interface: s.client.rest}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []driver.Result{result("d", "p", 0.999999)}); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "the verdict", func() bool { return a.severity("default/d") != nil })
	if n := failures.Load(); n != 1 {
		t.Errorf("%d failures are told of, want 1", n)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

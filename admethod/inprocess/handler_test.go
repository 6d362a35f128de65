// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"context"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// newHandler starts a handler that the test shuts down.
func newHandler(tb testing.TB, opts admethod.Options) *admethod.Handler {
	tb.Helper()
	h, err := admethod.NewHandler(opts)
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return h
}

// startHandler starts a handler that is shut down when the test ends.
func startHandler(tb testing.TB, opts admethod.Options) *admethod.Handler {
	tb.Helper()
	h := newHandler(tb, opts)
	tb.Cleanup(func() {
		if err := h.Shutdown(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return h
}

func bind(tb testing.TB, h *admethod.Handler, device string, settings map[string]any, meta admethod.Meta) *admethod.Binding {
	tb.Helper()
	config, err := admethod.ParseSettings(settings)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := h.Bind(driver.Key{Namespace: "default", Device: device, Property: "temperature"}, config, meta)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

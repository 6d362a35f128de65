// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// newHandler starts a handler that the test shuts down.
func newHandler(tb testing.TB, opts pipeline.Options) *pipeline.Handler {
	tb.Helper()
	h, err := pipeline.NewHandler(opts)
	if err != nil {
		tb.Fatal(err)
	}
	if err := h.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return h
}

func bind(tb testing.TB, h *pipeline.Handler, device string, settings map[string]any, meta admethod.Meta) *pipeline.Binding {
	tb.Helper()
	return sinktest.Watch(tb, h, driver.Key{Namespace: "default", Device: device, Property: "temperature"}, settings, meta)
}

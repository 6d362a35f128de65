// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package pipeline runs readings through the stages to verdicts, and carries those to the sinks. A program makes a
// [Handler], binds properties and observes readings:
//
//	h, err := pipeline.NewHandler(pipeline.Options{})
//	h.Start(ctx)
//	binding, err := h.Bind(key, config, admethod.Meta{DataType: "double"})
//	binding.Observe(time.Now(), 21.5)
//	h.Shutdown(ctx)
//
// Observing never blocks, whatever the detector or a sink does: what cannot be queued is dropped, oldest first, and
// counted. What a handler runs is linked by the program: the package imports no adapter, sink or detector.
package pipeline

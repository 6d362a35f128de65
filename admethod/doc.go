// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admethod detects anomalies in what a KubeEdge mapper reads: it runs readings through stages (package stage) to
// verdicts:
//
//	convert → quality → group alignment → adapter (in-process, gRPC, HTTP) → sinks
//
// The author of a mapper generated from KubeEdge's template adds one import and one line, see package mapper. A program with a life cycle of its own makes a [Handler], binds properties and observes
// readings:
//
//	h, err := admethod.NewHandler(admethod.Options{})
//	h.Start(ctx)
//	binding, err := h.Bind(key, config, admethod.Meta{DataType: "double"})
//	binding.Observe(time.Now(), 21.5)
//	h.Shutdown(ctx)
//
// Observing never blocks, whatever the detector or a sink does: what cannot be queued is dropped, oldest first, and
// counted. The package imports no adapter, sink or driver; a program links what it wants by blank import, or
// everything by importing admethod/all.
package admethod

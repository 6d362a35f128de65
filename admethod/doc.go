// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admethod is what those agree on who take part in detecting anomalies in what a KubeEdge mapper reads: what a
// Device says ([ADMethodConfig]), and how adapters, sinks and sources are made and called. The readings themselves run
// through stages (package stage), in package pipeline, to verdicts:
//
//	convert → quality → group alignment → adapter (in-process, gRPC, HTTP) → sinks
//
// The author of a mapper generated from KubeEdge's template adds one import and one line, see package mapper. A program with
// a life cycle of its own makes a handler of package pipeline. The author of an adapter or a sink needs this package alone:
// it imports no adapter, sink or detector, and nothing that is not of this module; a program links what it wants by blank
// import, or everything by importing admethod/all.
package admethod

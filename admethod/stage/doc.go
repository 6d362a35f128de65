// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package stage holds the stages that a reading goes through on its way to a detector, and its verdict on the way back.
// Each is a plain value, the state of one property or of one group: it starts no goroutine, does no I/O, looks at no
// clock and takes no lock. Package admethod owns them, guards them and moves readings along:
//
//	device ──▶ Converter ──▶ Quality ──▶ Rows ──▶ adapter ─ ─ ─▶ detector
//	           a number       flags       only of a group            │
//	                            │ what persists                      │ Result; Share of a group's
//	                            ▼                                    ▼
//	sinks  ◀── Coalescer ◀── Incident ◀──────────────────────────────┘
//	           changes,       begins, lasts, ends;
//	           heartbeat      Policy: what is of interest
//
// Incident is the one place that decides when an incident begins, lasts and ends.
package stage

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests what comes by OTLP with who sends it in the field: OpenTelemetry's SDK, and a collector.
package e2e

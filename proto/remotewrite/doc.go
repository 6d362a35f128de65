// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remotewrite is what is read of Prometheus remote-write requests, generated from remotewrite.proto.
package remotewrite

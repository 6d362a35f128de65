// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sparkplug is what is read of Sparkplug B payloads, generated from sparkplug.proto.
package sparkplug

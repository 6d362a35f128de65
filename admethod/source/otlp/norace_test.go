// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !race

package otlp_test

const raceDetector = false

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package waittest is how tests wait for what other goroutines and processes do.
package waittest

import (
	"testing"
	"time"
)

// Eventually waits for something to become true, and fails the test after two minutes.
func Eventually(tb testing.TB, what string, f func() bool) {
	tb.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("not within two minutes: %s", what)
		case <-tb.Context().Done():
			tb.Fatalf("the test ended before: %s", what)
		}
	}
}

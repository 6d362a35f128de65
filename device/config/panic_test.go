// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// What a change sets off may panic: the watch goes on, and sets it off again.
func TestPanicOfAChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(least), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := os.WriteFile(file, []byte(least+"anomalyDetection: {defaults: {threshold: 0.9}}"), 0o600); err != nil {
			t.Fatal(err)
		}
		calls := 0
		guard.Loop(ctx, "the watch over a file", func(ctx context.Context) {
			s.Watch(ctx, 0, func() {
				if calls++; calls < 3 {
					panic("in a change")
				}
			})
		})
		if calls != 3 {
			t.Errorf("%d calls for one change, want two that panic and one that does not", calls)
		}
	})
}

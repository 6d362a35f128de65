// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// While what was learned cannot be saved, that is told, and that it can be again.
func TestSnapshotsThatFailAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		obstacle := filepath.Join(t.TempDir(), "state")
		h := sinktest.Handler(t, pipeline.Options{
			StateDir: obstacle, Drivers: driver.NewRegistry(sum()),
			AdapterOptions: map[string]map[string]any{"inprocess": {"snapshot": "10s"}},
		})
		if err := os.WriteFile(obstacle, nil, 0o600); err != nil { // what the handler itself keeps is read by now
			t.Fatal(err)
		}
		b := bind(t, h, "d", map[string]any{"detector": "sum"}, admethod.Meta{})
		b.Observe(time.Now(), 1)
		<-time.After(35 * time.Second)
		if got := h.Stats().Troubles; len(got) != 1 || got[0].Part != "learned state" || got[0].Times != 3 {
			t.Errorf("troubles %+v, want three failed snapshots", got)
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		if got := h.Stats().Troubles; len(got) != 0 {
			t.Errorf("troubles %+v after the disk is well again", got)
		}
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

// A disk that is full costs the snapshots meanwhile, and what was saved last is kept: one line a minute says what is at
// risk, so do Stats, and all is well by itself once there is room.
func TestSnapshotOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no permission to mount a disk of its own: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	snapshot, ballast := filepath.Join(dir, "inprocess.snapshot"), filepath.Join(dir, "ballast")
	synctest.Test(t, func(t *testing.T) {
		log := logstest.Capture(t)
		lines := func() (n int) {
			defer log.Reset()
			return strings.Count(log.String(), "\n")
		}
		h := sinktest.Handler(t, pipeline.Options{
			StateDir: dir, Drivers: driver.NewRegistry(sum()),
			AdapterOptions: map[string]map[string]any{"inprocess": {"snapshot": "10s"}},
		})
		b := bind(t, h, "d", map[string]any{"detector": "sum"}, admethod.Meta{})
		b.Observe(time.Now(), 1)
		<-time.After(15 * time.Second)
		before, err := os.ReadFile(snapshot)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 1<<20)); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the disk is not full: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		lines()
		b.Observe(time.Now(), 1)
		<-time.After(3 * time.Minute)
		got := h.Stats().Troubles
		if len(got) != 1 || got[0].Part != "learned state" || got[0].Times != 18 || !strings.Contains(got[0].Error, "no space left") || !strings.Contains(got[0].Risk, "lost with the process") {
			t.Errorf("troubles %+v, want 18 snapshots for which there is no room", got)
		}
		if text := log.String(); strings.Count(text, "risk=\"what detectors learned") != 3 {
			t.Errorf("in three minutes:\n%s\nwant what is at risk once a minute", text)
		}
		if n := lines(); n > 4 {
			t.Errorf("%d lines in three minutes", n)
		}
		if after, err := os.ReadFile(snapshot); err != nil || !bytes.Equal(after, before) {
			t.Errorf("the last snapshot is another one: %v", err)
		}
		if names, err := filepath.Glob(filepath.Join(dir, "*.tmp*")); err != nil || len(names) > 0 {
			t.Errorf("%v are left, %v", names, err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		<-time.After(10 * time.Second)
		if got := h.Stats().Troubles; len(got) != 0 {
			t.Errorf("troubles %+v once there is room", got)
		}
		if after, err := os.ReadFile(snapshot); err != nil || bytes.Equal(after, before) {
			t.Errorf("the snapshot is the old one: %v", err)
		}
	})
}

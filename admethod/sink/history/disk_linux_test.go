// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// A disk that is full costs the verdicts that come meanwhile some time, not those that are there.
func TestDiskIsFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no permission to mount a disk of its own: %v", err)
	}
	c := DefaultConfig()
	c.Path = filepath.Join(dir, File)
	s := start(t, c)
	t.Cleanup(func() { // before that of start
		_ = s.Shutdown(t.Context())
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	fill(t, s, 10)
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, []byte(strings.Repeat("x", 512<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	batch := make([]driver.Result, 256)
	for i := range batch {
		batch[i] = verdict("light-1", noon, driver.Normal)
	}
	written := 10
	for range 20 {
		if err := s.Write(t.Context(), batch); err != nil {
			t.Log(err)
			break
		}
		written += len(batch)
	}
	if written > 10+19*len(batch) {
		t.Fatal("the disk does not fill up")
	}
	if found, err := Query(t.Context(), c.Path, Filter{Limit: 10_000}); err != nil || len(found) != written {
		t.Errorf("%d verdicts while the disk is full, want %d: %v", len(found), written, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if found, err := Query(t.Context(), c.Path, Filter{Limit: 10_000}); err != nil || len(found) != written+len(batch) {
		t.Errorf("%d verdicts when there is room again, want %d: %v", len(found), written+len(batch), err)
	}
}

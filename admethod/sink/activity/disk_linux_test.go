// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package activity

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// While the disk has no room for a lock, nothing runs; what is locked stays so.
func TestDiskIsFull(t *testing.T) {
	dir := setup(t, simple, map[string]string{"note.sh": "cat >/dev/null"})
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no permission to mount a disk of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(state, 0); err != nil {
			t.Error(err)
		}
	})
	s := start(t, dir, nil)
	s.put(t, verdict("light-1", driver.Critical))
	s.awaitRuns(t, "note", 1)
	ballast := filepath.Join(state, "ballast")
	_ = os.WriteFile(ballast, []byte(strings.Repeat("x", 64<<10)), 0o600) // as much as there is room for
	err := s.Write(t.Context(), []driver.Result{verdict("light-2", driver.Critical)})
	if err == nil {
		t.Fatal("want an error")
	}
	t.Log(err)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.put(t, verdict("light-1", driver.Critical), verdict("light-2", driver.Critical))
	s.awaitRuns(t, "note", 2)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if n := s.runs("note"); n != 2 {
		t.Errorf("%d runs, want one for each light", n)
	}
	left, err := filepath.Glob(filepath.Join(state, "*.tmp*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package atomicfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestTheOldContentOrTheNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ages")
	want := func(content string) {
		t.Helper()
		if got, err := os.ReadFile(path); string(got) != content || err != nil {
			t.Errorf("%q, %v, want %q", got, err, content)
		}
		if got := names(t, dir); !slices.Equal(got, []string{"ages"}) {
			t.Errorf("the directory has %q", got)
		}
	}
	for _, content := range []string{"old", "new and longer", ""} {
		if err := atomicfile.WriteBytes(path, 0o640, []byte(content)); err != nil {
			t.Fatal(err)
		}
		want(content)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	broken := errors.New("broken")
	err := atomicfile.Write(path, 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, "half")
		return errors.Join(err, broken)
	})
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	want("")
	if err := atomicfile.WriteBytes(filepath.Join(dir, "none", "x"), 0o600, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := atomicfile.WriteBytes(dir, 0o600, nil); err == nil {
		t.Error("a directory is replaced by a file")
	}
	want("")
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	write := func(w io.Writer) error { return nil }
	for _, name := range []string{"a.log", "b.log"} {
		if _, err := atomicfile.Prepare(filepath.Join(dir, name), 0o600, write); err != nil { // and is killed
			t.Fatal(err)
		}
		if err := atomicfile.Write(filepath.Join(dir, name), 0o600, write); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "notes.tmp"), nil, 0o600); err != nil { // somebody's own
		t.Fatal(err)
	}
	atomicfile.Clean(dir, "a.log")
	if got := names(t, dir); len(got) != 4 || got[0] != "a.log" || got[1] != "b.log" {
		t.Errorf("after a.log is cleaned: %q", got)
	}
	atomicfile.Clean(dir, "")
	if got := names(t, dir); !slices.Equal(got, []string{"a.log", "b.log", "notes.tmp"}) {
		t.Errorf("after all is cleaned: %q", got)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package regular_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

// Whatever a path leads to, reading returns, soon and with little memory.
func TestRead(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "inside")
	must(t, os.Mkdir(inside, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "outside"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(inside, "good"), []byte("content"), 0o600))
	must(t, os.WriteFile(filepath.Join(inside, "large"), make([]byte, 101), 0o600))
	must(t, syscall.Mkfifo(filepath.Join(inside, "pipe"), 0o600))
	must(t, os.Symlink("good", filepath.Join(inside, "link")))
	must(t, os.Symlink("../outside", filepath.Join(inside, "out")))
	must(t, os.Symlink(filepath.Join(dir, "outside"), filepath.Join(inside, "far")))
	must(t, os.Symlink("pipe", filepath.Join(inside, "to-pipe")))
	must(t, os.Symlink("loop", filepath.Join(inside, "loop")))
	for _, c := range []struct {
		name       string
		read, root string // what the error says; "" where it is read: by Read, and by ReadIn
	}{
		{"good", "", ""},
		{"link", "", ""},
		{"large", "at most 100 bytes", "at most 100 bytes"},
		{"pipe", "want a regular file", "want a regular file"},
		{"to-pipe", "want a regular file", "want a regular file"},
		{"loop", "too many", "too many"},
		{"none", "no such file", "no such file"},
		{".", "want a regular file", "want a regular file"},
		{"out", "", "escapes"},
		{"far", "", "escapes"},
		{"../outside", "", "escapes"},
	} {
		_, err := regular.Read(filepath.Join(inside, c.name), 100)
		check(t, "Read "+c.name, err, c.read)
		_, _, err = regular.ReadIn(inside, c.name, 100)
		check(t, "ReadIn "+c.name, err, c.root)
	}
	_, err := regular.Read("/dev/zero", 1<<40)
	check(t, "/dev/zero", err, "want a regular file")
	_, _, err = regular.ReadIn(inside, "/dev/zero", 1<<40)
	check(t, "/dev/zero below a directory", err, "escapes")
	if data, info, err := regular.ReadIn(inside, "link", 7); string(data) != "content" || info.Size() != 7 || err != nil {
		t.Errorf("read %q of %v, error %v", data, info, err)
	}
	if info, err := regular.Stat(inside, "out"); err == nil {
		t.Errorf("a link that leads out is %v", info)
	}
}

// Files below /proc have no size; what they hold counts.
func TestReadBoundsWhatIsRead(t *testing.T) {
	if data, err := regular.Read("/proc/self/status", 16); err == nil {
		t.Errorf("read %d bytes, want at most 16", len(data))
	}
}

func check(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: error %v, want %q", what, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

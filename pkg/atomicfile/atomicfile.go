// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package atomicfile replaces files whole: whatever happens, also to the power, a path leads to the old content or to the
// new one, and a program that watches it never sees a part.
package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// mark begins the end of the names of files that are not whole yet.
const mark = ".tmp"

// Write puts what write writes under path. A file that is there already keeps its mode; a new one has mode, less umask. On
// an error, which may be one of write, the old file is as it was, unless only the directory could not be synced.
func Write(path string, mode fs.FileMode, write func(io.Writer) error) error {
	temp, err := Prepare(path, mode, write)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return SyncDir(filepath.Dir(path))
}

// WriteBytes is [Write] of data.
func WriteBytes(path string, mode fs.FileMode, data []byte) error {
	return Write(path, mode, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	})
}

// Prepare writes and syncs a file beside path that the caller renames to path, or removes.
func Prepare(path string, mode fs.FileMode, write func(io.Writer) error) (temp string, err error) {
	temp = path + mark + strconv.FormatUint(rand.Uint64(), 36)
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) // no link that waits under that name is followed
	if err != nil {
		return "", err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if info, there := os.Lstat(path); there == nil && info.Mode().IsRegular() {
		err = errors.Join(err, f.Chmod(info.Mode().Perm()))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	return temp, nil
}

// Clean removes what processes that were killed left behind beside the files of dir whose names begin with prefix. It is
// for who knows that nobody else writes them now.
func Clean(dir, prefix string) {
	entries, _ := os.ReadDir(dir) // what cannot be read is not cleaned
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), prefix); ok && temporary(rest) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// temporary reports whether a name ends as those that Prepare makes: somebody's own notes.tmp does not.
func temporary(name string) bool {
	i := strings.LastIndex(name, mark)
	if i < 0 {
		return false
	}
	_, err := strconv.ParseUint(name[i+len(mark):], 36, 64)
	return err == nil
}

// SyncDir makes the names in a directory survive a power cut, too. Where a file system or the rights to the directory do
// not allow that, at worst the old name is found.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

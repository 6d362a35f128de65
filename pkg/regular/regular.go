// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package regular reads files that a configuration names. A path may lead to anything: a pipe blocks who opens it, a
// device such as /dev/zero never ends, a large file takes the memory of the process. Only regular files are read, and
// only up to a size.
package regular

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The sizes that files of these kinds are allowed.
const (
	MaxPEM    = 1 << 20  // certificates, keys, authorities
	MaxSecret = 64 << 10 // tokens and passwords
	MaxConfig = 4 << 20  // configurations
)

// Read returns the content of a regular file of at most limit bytes. It does not wait for anything that is no regular
// file.
func Read(path string, limit int64) ([]byte, error) {
	data, _, err := ReadInfo(path, limit)
	return data, err
}

// ReadInfo is Read, with what the file was when it was opened.
func ReadInfo(path string, limit int64) ([]byte, fs.FileInfo, error) {
	return read(path, limit, func() (*os.File, error) { return os.OpenFile(path, flags, 0) })
}

// ReadIn is ReadInfo of a file below a directory. Neither the name nor symbolic links lead out of it.
func ReadIn(dir, name string, limit int64) ([]byte, fs.FileInfo, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	return read(filepath.Join(dir, name), limit, func() (*os.File, error) { return root.OpenFile(name, flags, 0) })
}

// Stat describes a file below a directory, by the rules of [ReadIn].
func Stat(dir, name string) (fs.FileInfo, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Stat(name)
}

// flags let the opening of a pipe return at once.
const flags = os.O_RDONLY | syscall.O_NONBLOCK

func read(path string, limit int64, open func() (*os.File, error)) ([]byte, fs.FileInfo, error) {
	f, err := open()
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat() // of what is open, not of what the name leads to by now
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, nil, fmt.Errorf("%s: want a regular file of at most %d bytes", path, limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // it may grow meanwhile
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%s: want at most %d bytes", path, limit)
	}
	return data, info, nil
}

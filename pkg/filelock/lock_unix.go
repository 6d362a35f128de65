// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

// Package filelock keeps a directory to one process.
package filelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrInUse is returned by Take where another process, or another part of this one, has the lock.
var ErrInUse = errors.New("another process is at work here")

// Take takes the lock file; it is free again when the file is closed or the process has died.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

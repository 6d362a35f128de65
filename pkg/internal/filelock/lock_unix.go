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

// Take takes the lock file; it is free again when the file is closed or the process has died.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another process is at work here: %w", err), f.Close())
	}
	return f, nil
}

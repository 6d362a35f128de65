// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

// Package filelock keeps a directory to one process.
package filelock

import (
	"errors"
	"os"
)

// ErrInUse is not returned on this system.
var ErrInUse = errors.New("another process is at work here")

// Take opens the lock file; that it is in use is not noticed on this system.
func Take(path string) (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }

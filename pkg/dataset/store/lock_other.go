// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package store

import "os"

// lockDir opens the lock only: mappers run on Unix.
func lockDir(name string) (*os.File, error) { return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640) }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package devicestatus

import (
	"errors"
	"os/exec"
)

func isolate(*exec.Cmd) {}

func mountRun() error { return errors.ErrUnsupported }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"os/exec"
	"syscall"
)

// isolate gives a command mounts of its own.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// mountRun hides /run behind an empty file system.
func mountRun() error { return syscall.Mount("tmpfs", "/run", "tmpfs", 0, "size=1m") }

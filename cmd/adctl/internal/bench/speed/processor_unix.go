// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package speed

import (
	"syscall"
	"time"
)

// processorTime is what the whole process has used so far; a busy machine does not add to it.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil { // cannot fail with these arguments
		return time.Since(programStart)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

var programStart = time.Now()

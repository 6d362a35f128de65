// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package logstest lets a test see what is logged.
package logstest

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"k8s.io/klog/v2"
)

// Journal is what has been logged since [Capture], of every severity. Safe for concurrent use: the logger writes to it when
// it likes.
type Journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Capture has all that is logged go to a journal instead of standard error, until the test ends. The log is one for the
// process, so no other test may run meanwhile.
func Capture(tb testing.TB) *Journal {
	tb.Helper()
	j := new(Journal)
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	klog.SetOutputBySeverity("INFO", j) // gets what is more severe as well
	tb.Cleanup(func() {
		klog.Flush()
		klog.SetOutput(io.Discard)
		klog.LogToStderr(true)
	})
	return j
}

// Write implements io.Writer, for the logger.
func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

// String is what has been logged by now.
func (j *Journal) String() string {
	klog.Flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// Reset forgets it.
func (j *Journal) Reset() {
	klog.Flush()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf.Reset()
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// A panic of a worker ends neither the process nor the worker, and leaves no lock behind that others wait for.
func TestPanicOfAWorker(t *testing.T) {
	s := start(t, setup(t, simple, map[string]string{"note.sh": script}), func(c *Config) { c.Concurrency = 1 })
	for range 3 {
		s.mu.Lock()
		s.enqueue(job{}) // of no activity
		s.mu.Unlock()
	}
	s.put(t, verdict("light-1", driver.Critical))
	if st := s.awaitRuns(t, "note", 1); st.Failed != 0 || st.Running != 0 {
		t.Errorf("%+v", st)
	}
}

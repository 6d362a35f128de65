// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"github.com/kubeedge/edge-anomaly/driver"
)

// Hooks observe the handler. A nil hook is off. Hooks are called from the goroutines that do the work: they must be
// quick, must not block, and must not keep what they are given.
type Hooks struct {
	// Verdict sees every verdict on a reading, before verdicts are coalesced for the sinks.
	Verdict func(r *driver.Result)
	// Dropped sees readings that were lost for want of room in a queue.
	Dropped func(key driver.Key, n int)
	// Failed sees a detector that panicked or hangs; its stream is Unknown until it is bound again.
	Failed func(key driver.Key, err error)
	// SinkFailed sees a batch that a sink refused; retry says whether it will be tried again.
	SinkFailed func(sink string, err error, retry bool)
	// ModelLoaded sees that a changed model file has been taken into use for a stream.
	ModelLoaded func(key driver.Key, version string)
	// State sees trouble with learned state: snapshots that are unreadable, damaged and set aside or not writable,
	// and changed model files that are refused.
	State func(stream string, err error)
}

func (h *Hooks) verdict(r *driver.Result) {
	if h.Verdict != nil {
		h.Verdict(r)
	}
}

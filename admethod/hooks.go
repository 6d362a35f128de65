// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Hooks observe the handler. A nil hook is off. Hooks are called from the goroutines that do the work: they must be
// quick, must not block, must not keep what they are given, and of the handler may call Stats alone.
type Hooks struct {
	// Reading sees every reading as it came, before it is judged; judged tells whether it goes on to the detector, which
	// readings that the quality stage holds back do not. A member's last reading that stands for a missing one is not
	// seen again. It is called within Observe.
	Reading func(s *driver.Sample, judged bool)
	// Verdict sees every verdict on a reading, with the incident that it is part of, before verdicts are coalesced for the
	// sinks. Those on one property come in order.
	Verdict func(r *driver.Result)
	// Judged sees how long a detector in the mapper took for a reading: one reading in [JudgedEvery].
	Judged func(key driver.Key, took time.Duration)
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

// JudgedEvery is the number of readings of which one is timed for [Hooks.Judged].
const JudgedEvery = 64

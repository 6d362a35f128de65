// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
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

// observe adds hooks to those that are called. It may be called while others are being called.
func (h *Handler) observe(hooks *Hooks) {
	for {
		old := h.observers.Load()
		next := append(slices.Clone(*old), hooks)
		if h.observers.CompareAndSwap(old, &next) {
			if hooks.Verdict != nil {
				h.watched.Store(true)
			}
			if hooks.Reading != nil {
				h.mirrored.Store(true)
			}
			return
		}
	}
}

// each calls f for the hooks of every observer. One that panics keeps none of the others from being called.
func (h *Handler) each(f func(o *Hooks)) {
	for _, o := range *h.observers.Load() {
		shielded(o, f)
	}
}

func shielded(o *Hooks, f func(o *Hooks)) {
	defer guard.Recover("a hook")
	f(o)
}

// dispatch returns hooks that call those of every observer.
func (h *Handler) dispatch() Hooks {
	return Hooks{
		Reading: func(s *driver.Sample, judged bool) {
			h.each(func(o *Hooks) {
				if o.Reading != nil {
					o.Reading(s, judged)
				}
			})
		},
		Verdict: func(r *driver.Result) {
			h.each(func(o *Hooks) {
				if o.Verdict != nil {
					o.Verdict(r)
				}
			})
		},
		Judged: func(key driver.Key, took time.Duration) {
			h.each(func(o *Hooks) {
				if o.Judged != nil {
					o.Judged(key, took)
				}
			})
		},
		Dropped: func(key driver.Key, n int) {
			h.each(func(o *Hooks) {
				if o.Dropped != nil {
					o.Dropped(key, n)
				}
			})
		},
		Failed: func(key driver.Key, err error) {
			h.each(func(o *Hooks) {
				if o.Failed != nil {
					o.Failed(key, err)
				}
			})
		},
		SinkFailed: func(sink string, err error, retry bool) {
			h.each(func(o *Hooks) {
				if o.SinkFailed != nil {
					o.SinkFailed(sink, err, retry)
				}
			})
		},
		ModelLoaded: func(key driver.Key, version string) {
			h.each(func(o *Hooks) {
				if o.ModelLoaded != nil {
					o.ModelLoaded(key, version)
				}
			})
		},
		State: func(stream string, err error) {
			h.each(func(o *Hooks) {
				if o.State != nil {
					o.State(stream, err)
				}
			})
		},
	}
}

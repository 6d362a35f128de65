// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// observe adds hooks to those that are called. It may be called while others are being called.
func (h *Handler) observe(hooks *admethod.Hooks) {
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
func (h *Handler) each(f func(o *admethod.Hooks)) {
	for _, o := range *h.observers.Load() {
		shielded(o, f)
	}
}

func shielded(o *admethod.Hooks, f func(o *admethod.Hooks)) {
	defer guard.Recover("a hook")
	f(o)
}

// dispatch returns hooks that call those of every observer.
func (h *Handler) dispatch() admethod.Hooks {
	return admethod.Hooks{
		Reading: func(s *driver.Sample, judged bool) {
			h.each(func(o *admethod.Hooks) {
				if o.Reading != nil {
					o.Reading(s, judged)
				}
			})
		},
		Verdict: func(r *driver.Result) {
			h.each(func(o *admethod.Hooks) {
				if o.Verdict != nil {
					o.Verdict(r)
				}
			})
		},
		Judged: func(key driver.Key, took time.Duration) {
			h.each(func(o *admethod.Hooks) {
				if o.Judged != nil {
					o.Judged(key, took)
				}
			})
		},
		Dropped: func(key driver.Key, n int) {
			h.each(func(o *admethod.Hooks) {
				if o.Dropped != nil {
					o.Dropped(key, n)
				}
			})
		},
		Failed: func(key driver.Key, err error) {
			h.each(func(o *admethod.Hooks) {
				if o.Failed != nil {
					o.Failed(key, err)
				}
			})
		},
		SinkFailed: func(sink string, err error, retry bool) {
			h.each(func(o *admethod.Hooks) {
				if o.SinkFailed != nil {
					o.SinkFailed(sink, err, retry)
				}
			})
		},
		ModelLoaded: func(key driver.Key, version string) {
			h.each(func(o *admethod.Hooks) {
				if o.ModelLoaded != nil {
					o.ModelLoaded(key, version)
				}
			})
		},
		State: func(stream string, err error) {
			h.each(func(o *admethod.Hooks) {
				if o.State != nil {
					o.State(stream, err)
				}
			})
		},
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// hold keeps a detector from learning an excursion where [driver.Settings].Accept is given: none of its readings where
// nothing is accepted, and else none until it has lasted so long.
type hold struct {
	accept time.Duration // 0: all is learned
	since  int64         // first reading of the excursion, Unix ns
	on     bool
	calm   int32 // usual readings in succession
}

// holdCalm is how many usual readings in succession end an excursion.
const holdCalm = 5

func holdOf(s driver.Settings) hold { return hold{accept: s.Accept} }

// learns reports whether a reading is to be learned, which was judged anomalous, or is as near to what was expected as
// most are.
func (h *hold) learns(anomalous, usual bool, at time.Time) bool {
	if h.accept == 0 {
		return true
	}
	switch {
	case anomalous && !h.on:
		h.on, h.since, h.calm = true, at.UnixNano(), 0
	case !h.on:
		return true
	case anomalous || !usual:
		h.calm = 0
	default:
		h.calm++
	}
	if h.calm >= holdCalm {
		h.on = false
	}
	return !h.on || h.accept > 0 && at.UnixNano()-h.since >= int64(h.accept)
}

// EncodeState implements state.Part. Where all is learned there is nothing to keep.
func (h *hold) EncodeState(w *state.Writer) {
	if h.accept != 0 {
		w.Int(h.since)
		w.Bool(h.on)
		w.Int(int64(h.calm))
	}
}

// DecodeState implements state.Part.
func (h *hold) DecodeState(r *state.Reader) {
	if h.accept != 0 {
		h.since, h.on, h.calm = r.Int(), r.Bool(), int32(r.Count("usual readings", holdCalm))
	}
}

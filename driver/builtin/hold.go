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
type hold struct{ of *held } // nil: all is learned, as is the rule; streams are many

type held struct {
	accept time.Duration // less than 0: never
	since  int64         // first reading of the excursion, Unix ns
	on     bool
	calm   int32 // usual readings in succession
}

// holdCalm is how many usual readings in succession end an excursion.
const holdCalm = 5

func holdOf(s driver.Settings) hold {
	if s.Accept == 0 {
		return hold{}
	}
	return hold{&held{accept: s.Accept}}
}

// learns reports whether a reading is to be learned, which was judged anomalous, or is as near to what was expected as
// most are.
func (d hold) learns(anomalous, usual bool, at time.Time) bool {
	h := d.of
	if h == nil {
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
func (d *hold) EncodeState(w *state.Writer) {
	if h := d.of; h != nil {
		w.Int(h.since)
		w.Bool(h.on)
		w.Int(int64(h.calm))
	}
}

// DecodeState implements state.Part.
func (d *hold) DecodeState(r *state.Reader) {
	if d.of != nil {
		d.of = &held{accept: d.of.accept, since: r.Int(), on: r.Bool(), calm: int32(r.Count("usual readings", holdCalm))}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// Record makes a consumer that records every reading of every property, watched or not, without verdicts. add returns
// at once, and may refuse; it is the method Add of a [store.Store], or Record of a recorder. Where properties are watched,
// the sink "recorder" records them with their verdicts, and needs no consumer.
func Record(add func(store.Entry) bool) Consumer { return recording(add) }

type recording func(store.Entry) bool

// Consume implements Consumer. Readings that failed are none.
func (add recording) Consume(r Reading) {
	if r.Err != nil {
		return
	}
	e := store.Entry{Namespace: r.Namespace, Device: r.Device, Property: r.Property, At: r.At, Score: math.NaN()}
	switch v := r.Value.(type) {
	case float64:
		e.Value = v
	case float32:
		e.Value = float64(v)
	case int:
		e.Value = float64(v)
	case int64:
		e.Value = float64(v)
	case uint64:
		e.Value = float64(v)
	case bool:
		if v {
			e.Value = 1
		}
	default:
		e.Value, e.Text = math.NaN(), r.Text
	}
	add(e)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// A detector knows that rows before one were lost for want of room, and the mapper tells once that it is overloaded.
func TestLostRowsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wrong []string
		last := make(map[driver.Key]float64)
		slow := drivertest.Func("slow", func(row driver.Row, out *driver.Result) {
			<-time.After(100 * time.Millisecond)
			s := &row[0]
			before, seen := last[s.Key]
			if gap := s.Flags&driver.Gap != 0; gap != (s.Value != before+1 && (seen || s.Value != 0)) {
				wrong = append(wrong, fmt.Sprint(s.Key.Device, ": ", s.Value, " after ", before, ", gap ", gap))
			}
			last[s.Key] = s.Value
			out.Judge(0, driver.KindNone)
		})
		h := newHandler(t, pipeline.Options{
			Drivers: driver.NewRegistry(slow), AdapterOptions: map[string]map[string]any{"inprocess": {"lanes": 1, "queue": 16}},
		})
		settings := map[string]any{"detector": "slow", "quality.late": 0}
		a, b := bind(t, h, "a", settings, admethod.Meta{}), bind(t, h, "b", settings, admethod.Meta{})
		for i := range 400 {
			a.Observe(time.Now(), float64(i))
			if i%3 == 0 {
				b.Observe(time.Now(), float64(i/3))
			}
			<-time.After(20 * time.Millisecond)
		}
		if got := h.Stats().Troubles; len(got) != 1 || got[0].Part != "the mapper's own time" {
			t.Errorf("troubles %+v, want that the mapper is overloaded", got)
		}
		if a.Stats().Dropped == 0 || b.Stats().Dropped == 0 {
			t.Error("nothing was lost")
		}
		<-time.After(15 * time.Second)
		if got := h.Stats().Troubles; len(got) != 0 {
			t.Errorf("troubles %+v after it was over", got)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if len(wrong) > 0 {
			t.Errorf("%d rows do not tell rightly whether others were lost before them, first %s", len(wrong), wrong[0])
		}
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// Properties of one namespace whose detectors take more time than there is delay no other namespace's: verdicts there
// come at once.
func TestNamespacesDoNotWaitForOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cheap atomic.Int64
		heavy := drivertest.Func("heavy", func(_ driver.Row, out *driver.Result) {
			<-time.After(3 * time.Second)
			out.Judge(0, driver.KindNone)
		})
		light := drivertest.Func("light", func(_ driver.Row, out *driver.Result) {
			cheap.Add(1)
			out.Judge(0, driver.KindNone)
		})
		h := newHandler(t, pipeline.Options{Drivers: driver.NewRegistry(heavy, light)})
		observe := func(namespace, detector string, n int) (all []*pipeline.Binding) {
			config, err := admethod.ParseSettings(map[string]any{"detector": detector})
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				b, err := h.Bind(driver.Key{Namespace: namespace, Device: fmt.Sprint(i), Property: "p"}, config, admethod.Meta{})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, b)
			}
			return all
		}
		many, few := observe("one", "heavy", 8), observe("two", "light", 4)
		for i := range 50 {
			for _, b := range many {
				b.Observe(time.Now(), 1)
			}
			for _, b := range few {
				b.Observe(time.Now(), 1)
			}
			synctest.Wait()
			if got, want := cheap.Load(), int64(4*(i+1)); got != want {
				t.Fatalf("after reading %d: %d verdicts of the other namespace, want %d", i, got, want)
			}
			<-time.After(100 * time.Millisecond)
		}
		if err := h.Shutdown(t.Context()); err != nil { // the clock moves until all is judged
			t.Error(err)
		}
	})
}

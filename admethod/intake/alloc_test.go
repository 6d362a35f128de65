// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// counting are answers of which only the number counts.
type counting struct{ left chan struct{} }

func (c counting) Answer(uint64, *driver.Result) { c.left <- struct{}{} }

// rounds hands rounds of readings over, n properties each, and waits until all are judged.
func rounds(tb testing.TB, f source.Intake, properties, n int, route string) func(rounds int) {
	tb.Helper()
	about := &source.Property{DataType: "float", Unit: "bar", Model: "pump"}
	c := counting{make(chan struct{}, properties*n)}
	batch := make([]source.Reading, properties)
	for i := range batch {
		batch[i] = at(fmt.Sprint(route, i), 0, 0)
		batch[i].Property, batch[i].Answer = about, c
	}
	second := 0
	return func(rounds int) {
		for range rounds {
			second++
			for i := range batch {
				batch[i].At = began.Add(time.Duration(second) * time.Second)
				batch[i].Value = 20 + float64((second*7919+i)%101)/100
				if batch[i].Text = ""; i%4 == 0 {
					batch[i].Text = "20.25" // as an origin has it that knows no types
				}
			}
			if err := f.Take(tb.Context(), batch); err != nil {
				tb.Fatal(err)
			}
		}
		for range rounds * properties {
			<-c.left
		}
	}
}

// The way of a reading to its detector, and of the verdict back, allocates nothing once its series is open.
func TestNothingIsAllocated(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for _, c := range []struct{ name, route string }{{"alone", "p"}, {"in a group", "g"}} {
		t.Run(c.name, func(t *testing.T) {
			_, f := running(t, intake.Config{
				Defaults: map[string]any{"detector": "ewma"},
				Routes:   []intake.Route{{Property: "g*", Settings: map[string]any{"group": "press", "detector": "autogroup"}}},
			}, intake.Limits{Rate: -1})
			const properties, n = 8, 500
			run := rounds(t, f, properties, n, c.route)
			run(n)
			best := 1e9
			for range 5 { // what the runtime does beside it is none of its business
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				run(n)
				runtime.ReadMemStats(&after)
				best = min(best, float64(after.Mallocs-before.Mallocs)/(n*properties))
			}
			if best > 0.02 {
				t.Errorf("%.3f allocations a reading, want none", best)
			}
		})
	}
}

// BenchmarkTake is the way of a reading of a source to a detector ewma and of its verdict back.
func BenchmarkTake(b *testing.B) {
	_, f := running(b, intake.Config{Defaults: map[string]any{"detector": "ewma"}}, intake.Limits{Rate: -1})
	const properties, n = 100, 20
	run := rounds(b, f, properties, n, "p")
	run(n)
	readings := 0
	b.ReportAllocs()
	for b.Loop() {
		run(n)
		readings += properties * n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(readings), "ns/reading")
}

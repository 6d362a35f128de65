// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package inprocess_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// readings are seeded Gaussian noise around 20.
func readings(n int) []float64 {
	rng := rand.New(rand.NewPCG(1, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = 20 + rng.NormFloat64()
	}
	return v
}

// floorEWMA is the least that a detector can do: an exponentially weighted z-score on the caller's goroutine.
type floorEWMA struct{ mean, variance float64 }

func (e *floorEWMA) score(x float64) float64 {
	d := x - e.mean
	z := d * d / (e.variance + 1e-12)
	e.mean += 0.05 * d
	e.variance += 0.05 * (d*d - e.variance)
	return z
}

// BenchmarkObserve is the whole way of a reading through Observe, the queue, the detector and the coalescing of
// verdicts, against the least that a detector can do. caller-ns/op is what Observe itself takes, cpu-ns/op adds both
// sides of the queue.
func BenchmarkObserve(b *testing.B) {
	values := readings(1 << 12)
	var floor float64
	b.Run("floor", func(b *testing.B) {
		var e floorEWMA
		var sum float64
		i := 0
		for b.Loop() {
			sum += e.score(values[i&(len(values)-1)])
			i++
		}
		runtime.KeepAlive(sum)
		floor = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	})
	for _, detector := range []string{"ewma", "auto"} {
		b.Run("driver="+detector, func(b *testing.B) {
			h := sinktest.Handler(b, pipeline.Options{Replay: true})
			binding := bind(b, h, "bench", map[string]any{"detector": detector}, admethod.Meta{DataType: "double", Cycle: time.Second})
			at := time.Unix(1_700_000_000, 0)
			b.ReportAllocs()
			i := 0
			before := proctest.CPU(b)
			var caller time.Duration // in Observe
			start := time.Now()
			for b.Loop() {
				at = at.Add(time.Second)
				binding.Observe(at, values[i&(len(values)-1)])
				if i++; i&8191 == 0 { // the caller waits for the verdicts, so that their cost counts as well
					caller += time.Since(start)
					if err := h.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
					start = time.Now()
				}
			}
			caller += time.Since(start)
			b.ReportMetric(float64(caller)/float64(b.N), "caller-ns/op")
			if err := h.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			cpu := float64(proctest.CPU(b)-before) / float64(b.N)
			b.ReportMetric(cpu, "cpu-ns/op")
			if n := binding.Stats().Dropped; n > 0 {
				b.Fatalf("%d readings dropped: the figure would be too good", n)
			}
			if floor > 0 {
				b.ReportMetric(cpu/floor, "×floor")
			}
		})
	}
}

// BenchmarkObserveStreams observes many streams in turn, so that each finds its state cold: there is more of it than
// caches hold. cores/100k is how many cores 100,000 such streams keep busy at one reading a second each.
func BenchmarkObserveStreams(b *testing.B) {
	for _, bm := range []struct {
		detector        string
		streams, warmUp int // readings of each stream before the clock starts
	}{{"ewma", 1000, 100}, {"ewma", 100_000, 2}, {"auto", 1000, 1000}, {"auto", 20_000, 300}} {
		b.Run(fmt.Sprintf("driver=%s/streams=%d", bm.detector, bm.streams), func(b *testing.B) {
			h := sinktest.Handler(b, pipeline.Options{Replay: true})
			bindings := make([]*pipeline.Binding, bm.streams)
			for i := range bindings {
				bindings[i] = bind(b, h, fmt.Sprint("device-", i), map[string]any{"detector": bm.detector}, admethod.Meta{DataType: "double", Cycle: time.Second})
			}
			values := readings(1 << 12)
			at := time.Unix(1_700_000_000, 0)
			i, n, waiting := 0, uint32(0), 0
			observe := func() {
				if i == len(bindings) {
					i, at = 0, at.Add(time.Second)
				}
				n = n*1664525 + 1013904223 // no stream gets a pattern
				bindings[i].Observe(at, values[n>>20])
				i++
				if waiting++; waiting == 4096 {
					waiting = 0
					if err := h.Flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			for range bm.warmUp * bm.streams {
				observe()
			}
			b.ReportAllocs()
			before := proctest.CPU(b)
			for b.Loop() {
				observe()
			}
			if err := h.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			cpu := float64(proctest.CPU(b)-before) / float64(b.N)
			b.ReportMetric(cpu, "cpu-ns/op")
			b.ReportMetric(cpu*1e5/1e9, "cores/100k")
			for _, binding := range bindings {
				if n := binding.Stats().Dropped; n > 0 {
					b.Fatalf("%v: %d readings dropped: the figure would be too good", binding.Key(), n)
				}
			}
		})
	}
}

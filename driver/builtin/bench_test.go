// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// floorEWMA is what there is to undercut: a bare z-score against an EWMA, no verdict.
type floorEWMA struct{ mean, variance, alpha float64 }

func (f *floorEWMA) score(x float64) float64 {
	d := x - f.mean
	z := d / math.Sqrt(f.variance)
	f.mean += f.alpha * d
	f.variance = (1 - f.alpha) * (f.variance + f.alpha*d*d)
	return z
}

// BenchmarkDetect measures one reading through each driver, and how many times the floor that is.
func BenchmarkDetect(b *testing.B) {
	const n = 1 << 12
	rng := rand.New(rand.NewPCG(1, 1))
	rows := make([]driver.Row, n)
	for i := range rows {
		rows[i] = driver.Row{{At: start.Add(time.Duration(i) * time.Second), Value: 20 + rng.NormFloat64()}}
	}
	floor := math.NaN()
	b.Run("driver=floor", func(b *testing.B) {
		f, sum, i := floorEWMA{variance: 1, alpha: 0.02}, 0.0, 0
		b.ReportAllocs()
		for b.Loop() {
			sum += f.score(rows[i&(n-1)][0].Value)
			i++
		}
		floor = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		if math.IsNaN(sum) {
			b.Fatal("NaN")
		}
	})
	for _, f := range univariate() {
		b.Run("driver="+f.Info().Name, func(b *testing.B) {
			d := open(b, f.Info().Name, nil)
			out := driver.Result{Threshold: driver.DefaultThreshold}
			for _, row := range rows {
				d.Detect(row, &out)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				d.Detect(rows[i&(n-1)], &out)
				i++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/floor, "floors")
		})
	}
}

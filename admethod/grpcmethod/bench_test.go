// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// BenchmarkRoundTrip is the way of a reading to a detector in another process and of its verdict back.
func BenchmarkRoundTrip(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s")
	spawn(b, path, "good")
	r := newRig(b, path, map[string]any{"staleAfter": "1m", "timeout": "20s"})
	r.results = make(chan driver.Result, 1<<16)
	r.await(b, 1, driver.Normal)
	row := driver.Row{{Key: key, At: time.Now(), Value: 1}}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r.stream.TrySubmit(row)
		if n++; n%8192 == 0 {
			if err := r.adapter.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			for len(r.results) > 0 {
				<-r.results
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

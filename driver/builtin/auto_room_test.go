// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"runtime"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// TestAutoIsSmall measures what a stream takes with all that it points to.
func TestAutoIsSmall(t *testing.T) {
	const streams, most = 64, 32 << 10
	kept := make([]driver.Detector, streams)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range kept {
		kept[i] = open(t, autoName, nil)
		f := newFeeder(kept[i])
		for k := range 600 {
			f.feed(math.Sin(float64(k) / 9))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int(after.HeapAlloc-before.HeapAlloc) / streams; each > most {
		t.Errorf("a stream takes %d bytes, want at most %d", each, most)
	} else {
		t.Logf("a stream takes %d bytes", each)
	}
	runtime.KeepAlive(kept)
}

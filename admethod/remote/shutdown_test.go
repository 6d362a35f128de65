// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Detectors that hang do not make the end of the mapper wait for one after the other, nor for longer than it may.
func TestShutdownOfManyLinks(t *testing.T) {
	for _, patience := range []time.Duration{time.Minute, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFlaky(t)
			f.silent = true
			b := newBench(t, f, "", map[string]any{"delivery": "latest"})
			var dropped atomic.Int64
			for i := range 5 {
				config := admethod.DefaultConfig()
				config.Options = map[string]map[string]any{"flaky": {"address": fmt.Sprint("a", i)}}
				key := driver.Key{Device: "d", Property: fmt.Sprint("p", i)}
				s, err := b.adapter.Open(admethod.StreamSettings{
					Members: []driver.Member{{Key: key}}, Config: config,
					Deliver: func(*driver.Result, driver.Row) {}, Dropped: func(n int) { dropped.Add(int64(n)) },
				})
				if err != nil {
					t.Fatal(err)
				}
				s.TrySubmit(driver.Row{{Key: key, At: time.Now()}})
			}
			<-time.After(time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			if err := b.adapter.Shutdown(ctx); err == nil && patience < time.Minute {
				t.Error("readings were not answered in time and nobody says so")
			}
			if took := time.Since(began); took > min(patience, DefaultConfig().Timeout+time.Second) {
				t.Errorf("took %v of %v", took, patience)
			}
			if dropped.Load() != 5 {
				t.Errorf("%d readings are counted as dropped, want 5", dropped.Load())
			}
		})
	}
}

// A stream that is closed and opened again, with its link, finds what it left on disk.
func TestReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.away = true
		b := newBench(t, f, t.TempDir(), nil)
		s, other := b.open("s", 1), b.open("other", 1)
		b.submit(s, 0, 1000)
		b.submit(other, 0, 1000)
		<-time.After(time.Second)
		s.Close()
		other.Close() // and with it the link, which keeps what is on disk
		s = b.open("s", 1)
		other = b.open("other", 1)
		b.submit(s, 1000, 2000)
		<-time.After(5 * time.Second)
		f.mu.Lock()
		f.away = false
		f.mu.Unlock()
		<-time.After(5 * time.Second)
		b.flush(time.Hour)
		b.want("s", 0, 2000)
		b.want("other", 0, 1000)
		_ = other
		b.shutdown()
	})
}

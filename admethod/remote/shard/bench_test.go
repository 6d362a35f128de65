// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"context"
	"fmt"
	"testing"

	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
)

// BenchmarkSession is what a reading costs on its way to detectors in memory and back: to one without this package, and
// to two.
func BenchmarkSession(b *testing.B) {
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("detectors=%d", n), func(b *testing.B) {
			var targets []Target
			for i := range n {
				d := newDetector(fmt.Sprint(i))
				targets = append(targets, Target{d.address, d})
			}
			transport, err := New(targets, Options{})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			session, err := transport.Open(ctx)
			if err != nil {
				b.Fatal(err)
			}
			var streams []*remote.Stream
			for i := range 64 {
				s := new(remote.Stream)
				s.Settings.Members = []driver.Member{{Key: driver.Key{Namespace: "default", Device: fmt.Sprint("lamp-", i), Property: "power"}}}
				streams = append(streams, s)
			}
			batch := make([]remote.Request, 256)
			row := make(driver.Row, 1)
			b.ReportAllocs()
			b.ResetTimer()
			sequence := uint64(0)
			for range (b.N + len(batch) - 1) / len(batch) {
				for i := range batch {
					sequence++
					batch[i] = remote.Request{Stream: streams[i%len(streams)], Sequence: sequence, Row: row}
				}
				if err := session.Send(batch); err != nil {
					b.Fatal(err)
				}
				for range batch {
					if _, _, err := session.Receive(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.StopTimer()
			cancel()
			if err := transport.Close(); err != nil {
				b.Error(err)
			}
		})
	}
}

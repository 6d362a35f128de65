// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// A recorder writes, and anybody exports from its directory, then or later.
func Example() {
	dir, err := os.MkdirTemp("", "readings")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(dir, store.Settings{MaxAge: 30 * 24 * time.Hour, MaxBytes: 1 << 30})
	if err != nil {
		fmt.Println(err)
		return
	}
	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	for i, lux := range []float64{40, 41, 4000} {
		e := store.Entry{Namespace: "default", Device: "light-1", Property: "lux", At: noon.Add(time.Duration(i) * time.Minute), Value: lux}
		s.Mirror(e, true)
		e.Severity, e.Score = "normal", 0.5
		if lux > 1000 {
			e.Severity, e.Score, e.Kind = "critical", 1, "spike"
		}
		s.Judge(e)
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
	}
	q := store.Query{Device: "light-*", From: noon.Add(time.Minute)}
	if _, err := store.Export(context.Background(), os.Stdout, dir, q, store.ExportOptions{Format: store.CSV}); err != nil {
		fmt.Println(err)
	}
	// Output:
	// time,namespace,device,property,value,text,severity,score,kind,label
	// 2026-03-01T12:01:00Z,default,light-1,lux,41,,normal,0.5,,
	// 2026-03-01T12:02:00Z,default,light-1,lux,4000,,critical,1,spike,
}

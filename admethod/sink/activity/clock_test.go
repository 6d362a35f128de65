// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// A lock lasts for as long as processes saw it held, also where one of them had a clock that was a year off.
func TestLocksGoByTheTimeThatWasSeen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "locks.json")
	a := Activity{Name: "a", After: time.Hour}
	id := lockID{"a", driver.Key{Namespace: "n", Device: "d", Property: "p"}}
	clocks := []time.Time{time.Now().AddDate(1, 0, 0), time.Unix(0, 0), time.Now()} // of one process after the other
	for life, now := range clocks {
		s := &sink{activities: []Activity{a}, now: func() time.Time { return now }}
		s.locks.file = file
		if err := s.locks.load(now); err != nil {
			t.Fatal(err)
		}
		if life == 0 {
			s.locks.held[id] = Lock{
				Activity: "a", Namespace: "n", Device: "d", Property: "p", Since: now, began: now,
			}
			s.locks.dirty = true
		}
		s.locks.seen(id) // the property is watched
		for range 25 {   // minutes
			if l, held := s.locks.held[id]; !held || s.expired(&a, &l) != (life == 2 && now.Sub(clocks[2]) >= 10*time.Minute) {
				t.Fatalf("life %d, after %v: held %t, expired %t", life, now.Sub(clocks[life]), held, s.expired(&a, &l))
			}
			now = now.Add(time.Minute)
		}
		s.locks.dirty = true
		if err := s.locks.save(now); err != nil {
			t.Fatal(err)
		}
	}
}

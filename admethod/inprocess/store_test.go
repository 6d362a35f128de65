// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzDecodeRecords(f *testing.F) {
	data, err := appendRecord(nil, &record{id: "default/d/p", detector: "ewma", saved: time.Unix(1e9, 0), state: []byte{1}, stages: []byte{2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		records, _ := decodeRecords(data, time.Time{})
		var again []byte
		for _, rec := range records {
			var err error
			if again, err = appendRecord(again, &rec); err != nil {
				t.Fatal(err)
			}
		}
		second, err := decodeRecords(again, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, second, cmp.AllowUnexported(record{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Streams that are gone for longer than the retention are forgotten.
func TestStoreForgetsTheOld(t *testing.T) {
	s := newStore(t.TempDir())
	now := time.Unix(1e9, 0)
	records := []record{{id: "young", saved: now}, {id: "old", saved: now.Add(-time.Hour)}}
	if err := s.save(records, now.Add(-2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	got, err := s.load(now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if _, young := got["young"]; !young || len(got) != 1 {
		t.Errorf("got %v, want young alone", got)
	}
}

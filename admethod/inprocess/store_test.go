// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// retainAll keeps records of whatever age a damaged one may have.
const retainAll = math.MaxInt64

func FuzzDecodeRecords(f *testing.F) {
	data, err := AppendRecord(nil, &Record{ID: "default/d/p", Detector: "ewma", State: []byte{1}, Stages: []byte{2}}, time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Now()
		records, _ := DecodeRecords(data, now, retainAll)
		var again []byte
		for _, rec := range records {
			var err error
			if again, err = AppendRecord(again, &rec, now); err != nil {
				t.Fatal(err)
			}
		}
		second, err := DecodeRecords(again, now, retainAll)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, second, cmp.AllowUnexported(Record{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Streams that nobody has opened for longer than the retention are forgotten. The time between two runs, of which
// nobody knows how long it was, does not count.
func TestStoreForgetsTheOld(t *testing.T) {
	s := newStore(t.TempDir(), func(err error) { t.Error(err) })
	now := time.Now()
	records := []Record{{ID: "young", Gone: now}, {ID: "older", Gone: now.Add(-time.Hour)}, {ID: "old", Gone: now.Add(-3 * time.Hour)}}
	if err := s.Save(records, nil, now, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	got, _, err := s.Load(2 * time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["old"].ID != "" {
		t.Errorf("got %v, want all but the old one", got)
	}
	if age := time.Since(got["older"].Gone); age < time.Hour || age > time.Hour+time.Minute {
		t.Errorf("the older one is of %v, want an hour", age)
	}
	if got, _, err := s.Load(time.Minute); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v; want the young one alone", got, err)
	}
}

// A file of the first version, which told the time of a wall clock, is read whatever that clock says now.
func TestStoreReadsTheFirstVersion(t *testing.T) {
	var w state.Writer
	w.Text("default/d/p")
	w.Text("ewma")
	w.Text("")
	w.Int(1_000_000_000) // in 2001
	w.Text("detector")
	w.Text("stages")
	data, err := model.Seal(recordSchema, 1, w.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	records, err := DecodeRecords(data, time.Now(), time.Hour)
	if err != nil || string(records["default/d/p"].Stages) != "stages" {
		t.Errorf("got %v, %v", records, err)
	}
}

// Mappers that share a directory keep what they learned, each of them, whichever starts first the next time.
func TestMappersShareADirectory(t *testing.T) {
	dir := t.TempDir()
	for life := range 6 {
		names := []string{"a", "b"}
		if life%3 == 1 {
			slices.Reverse(names)
		}
		var open []*directory
		for _, name := range names {
			warned := 0
			s := newStore(dir, func(error) { warned++ })
			s.Open()
			if want := len(open); warned != want || s.lock == nil {
				t.Errorf("life %d: %q heard %d warnings, want %d", life, name, warned, want)
			}
			records, _, err := s.Load(time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(records[name].State); life > 0 && got != strconv.Itoa(life-1) {
				t.Errorf("life %d: %q finds the state %q, want %d", life, name, got, life-1)
			}
			now := time.Now()
			mine := Record{ID: name, Gone: now, Run: s.run, State: []byte(strconv.Itoa(life))}
			delete(records, name)
			if err := s.Save(append(slices.Collect(maps.Values(records)), mine), nil, now, time.Hour); err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
		}
		for _, s := range open {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

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
	data, err := appendRecord(nil, &record{id: "default/d/p", detector: "ewma", state: []byte{1}, stages: []byte{2}}, time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)-3])
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Now()
		records, _ := decodeRecords(data, now, retainAll)
		var again []byte
		for _, rec := range records {
			var err error
			if again, err = appendRecord(again, &rec, now); err != nil {
				t.Fatal(err)
			}
		}
		second, err := decodeRecords(again, now, retainAll)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(records, second, cmp.AllowUnexported(record{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Streams that nobody has opened for longer than the retention are forgotten. The time between two runs, of which
// nobody knows how long it was, does not count.
func TestStoreForgetsTheOld(t *testing.T) {
	s := newStore(t.TempDir(), func(err error) { t.Error(err) })
	now := time.Now()
	records := []record{{id: "young", gone: now}, {id: "older", gone: now.Add(-time.Hour)}, {id: "old", gone: now.Add(-3 * time.Hour)}}
	if err := s.save(records, now, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	got, err := s.load(2 * time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got["old"].id != "" {
		t.Errorf("got %v, want all but the old one", got)
	}
	if age := time.Since(got["older"].gone); age < time.Hour || age > time.Hour+time.Minute {
		t.Errorf("the older one is of %v, want an hour", age)
	}
	if got, err := s.load(time.Minute); err != nil || len(got) != 1 {
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
	records, err := decodeRecords(data, time.Now(), time.Hour)
	if err != nil || string(records["default/d/p"].stages) != "stages" {
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
		var open []*store
		for _, name := range names {
			warned := 0
			s := newStore(dir, func(error) { warned++ })
			s.open()
			if want := len(open); warned != want || s.lock == nil {
				t.Errorf("life %d: %q heard %d warnings, want %d", life, name, warned, want)
			}
			records, err := s.load(time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(records[name].state); life > 0 && got != strconv.Itoa(life-1) {
				t.Errorf("life %d: %q finds the state %q, want %d", life, name, got, life-1)
			}
			now := time.Now()
			mine := record{id: name, gone: now, run: s.run, state: []byte(strconv.Itoa(life))}
			delete(records, name)
			if err := s.save(append(slices.Collect(maps.Values(records)), mine), now, time.Hour); err != nil {
				t.Fatal(err)
			}
			open = append(open, s)
		}
		for _, s := range open {
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

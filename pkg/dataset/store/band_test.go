// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// What was expected of a reading is kept with it, in the log as in what it is sealed into, however large the reading is; where
// nothing was expected, nothing is.
func TestBandIsKept(t *testing.T) {
	at := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	nan := math.NaN()
	entries := []Entry{
		{Device: "boiler", At: at, Value: 21.5, Band: Band{21.25, 20, 23}},
		{Device: "boiler", At: at.Add(1), Value: 1e9 + 0.5, Band: Band{1e9 + 0.25, 1e9, 1e9 + 1}},
		{Device: "boiler", At: at.Add(2), Value: 3, Band: Band{nan, nan, 4}},
		{Device: "boiler", At: at.Add(3), Value: 3, Band: Band{Expected: nan, Lower: nan, Upper: nan}},
		{Device: "boiler", At: at.Add(4), Value: nan, Text: "ON", Band: Band{1, 0, 1}},
		{Device: "boiler", At: at.Add(5), Value: 3},
	}
	want := []Band{entries[0].Band, entries[1].Band, entries[2].Band, {}, {}, {}}
	dir := t.TempDir()
	bands := func() (got []Band) {
		t.Helper()
		if err := Scan(t.Context(), dir, Query{}, func(batch []Entry) error {
			for i := range batch {
				got = append(got, batch[i].Band)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if err := os.WriteFile(filepath.Join(dir, logName(1)), newEncoder().frame(entries), 0o600); err != nil {
		t.Fatal(err)
	}
	same := cmp.Options{cmpopts.EquateNaNs()}
	if diff := cmp.Diff(want, bands(), same); diff != "" {
		t.Error("log: ", diff)
	}
	s, err := Open(dir, Settings{}) // seals what an earlier recorder left
	if err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it is sealed", func() bool {
		sealed, _ := filepath.Glob(filepath.Join(dir, "*.parquet"))
		return len(sealed) > 0
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, bands(), same); diff != "" {
		t.Error("segment: ", diff)
	}
}

// Segments of versions that kept no band are read as ever.
func TestSegmentsWithoutBands(t *testing.T) {
	type earlier struct {
		Device    string  `parquet:"device,dict"`
		Namespace string  `parquet:"namespace,dict"`
		Property  string  `parquet:"property,dict"`
		At        int64   `parquet:"time,delta,timestamp(nanosecond)"`
		Value     float64 `parquet:"value"`
		Text      string  `parquet:"text,dict"`
		Severity  string  `parquet:"severity,dict"`
		Score     float64 `parquet:"score"`
		Kind      string  `parquet:"kind,dict"`
	}
	dir := t.TempDir()
	rows := []earlier{{"boiler", "plant", "temperature", 5, 21.5, "", "warning", 0.97, "spike"}, {"pump", "plant", "pressure", 6, 2, "", "normal", 0.1, ""}}
	if err := parquet.WriteFile(filepath.Join(dir, segmentName(1, 5, 6)), rows); err != nil {
		t.Fatal(err)
	}
	var got []Entry
	if err := Scan(t.Context(), dir, Query{}, func(batch []Entry) error { got = append(got, batch...); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Value != 21.5 || got[0].Kind != "spike" || got[1].Severity != "normal" || got[0].Band != (Band{}) {
		t.Errorf("%+v", got)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestExport(t *testing.T) {
	dir := t.TempDir()
	b := entry("b", 0)
	b.Property, b.Value, b.Text = "state", math.NaN(), "open"
	record(t, dir, store.Settings{}, entry("a", 0), entry("a", 1), b)
	if err := labels.Add(dir, labels.Label{Device: "a", From: start, To: start.Add(time.Second), Label: "anomaly"}); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		store.CSV: "time,namespace,device,property,value,text,severity,score,kind,label\n" +
			"2026-03-01T00:00:00Z,default,a,temperature,0,,normal,0.25,,anomaly\n" +
			"2026-03-01T00:00:01Z,default,a,temperature,1,,normal,0.25,,\n" +
			"2026-03-01T00:00:00Z,default,b,state,,open,normal,0.25,,\n",
		store.WideCSV: "time,a/temperature,b/state,label\n2026-03-01T00:00:00Z,0,open,anomaly\n2026-03-01T00:00:01Z,1,,\n",
		store.JSON: `{"time":"2026-03-01T00:00:00Z","namespace":"default","device":"a","property":"temperature","value":0,"severity":"normal","score":0.25,"label":"anomaly"}` + "\n" +
			`{"time":"2026-03-01T00:00:01Z","namespace":"default","device":"a","property":"temperature","value":1,"severity":"normal","score":0.25}` + "\n" +
			`{"time":"2026-03-01T00:00:00Z","namespace":"default","device":"b","property":"state","value":null,"text":"open","severity":"normal","score":0.25}` + "\n",
	} {
		var out strings.Builder
		n, err := store.Export(t.Context(), &out, dir, store.Query{}, store.ExportOptions{Format: format})
		if err != nil || n != 3 {
			t.Fatalf("%s: %d readings, error %v", format, n, err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
	var out bytes.Buffer
	if _, err := store.Export(t.Context(), &out, dir, store.Query{Device: "a"}, store.ExportOptions{Format: store.Parquet}); err != nil {
		t.Fatal(err)
	}
	type columns struct {
		Device string  `parquet:"device"`
		Value  float64 `parquet:"value"`
		Label  string  `parquet:"label"`
	}
	got, err := parquet.Read[columns](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if diff := cmp.Diff([]columns{{"a", 0, "anomaly"}, {"a", 1, ""}}, got); err != nil || diff != "" {
		t.Errorf("parquet: error %v (-want +got):\n%s", err, diff)
	}
}

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

	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
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

// No two columns of a wide table have one name, and none has one that readers take for the time, for labels or for what
// tells series apart: what was exported is read again, each property under a name that holds its own.
func TestColumnsOfAWideTable(t *testing.T) {
	for name, c := range map[string]struct {
		series [][3]string // namespace, device, property
		want   string
	}{
		"names of the format":     {[][3]string{{"n", "boiler", "time"}, {"n", "boiler", "Label"}, {"n", "boiler", "timestamp"}, {"n", "boiler", "t"}}, "time,boiler/Label,boiler/time,boiler/timestamp,t,label"},
		"names of series":         {[][3]string{{"n", "boiler", "device"}, {"n", "boiler", "anomaly"}}, "time,boiler/anomaly,boiler/device,label"},
		"the separator in names":  {[][3]string{{"n", "a", "b/c"}, {"n", "a/b", "c"}, {"n", "d", "e"}}, "time,d/e,n/a%2Fb/c,n/a/b%2Fc,label"},
		"the same of two devices": {[][3]string{{"n", "a", "time"}, {"n", "b", "time"}}, "time,a/time,b/time,label"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var entries []store.Entry
			for i, s := range c.series {
				for k := range 100 {
					e := entry(s[1], k)
					e.Namespace, e.Property, e.Value = s[0], s[2], float64(100*i+k%7)
					entries = append(entries, e)
				}
			}
			record(t, dir, store.Settings{}, entries...)
			var out bytes.Buffer
			if _, err := store.Export(t.Context(), &out, dir, store.Query{}, store.ExportOptions{Format: store.WideCSV}); err != nil {
				t.Fatal(err)
			}
			header, _, _ := strings.Cut(out.String(), "\n")
			if header != c.want {
				t.Errorf("header %s, want %s", header, c.want)
			}
			r, err := input.NewReader(&out, input.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var members []string
			for _, c := range r.Columns() {
				members = append(members, c.Name)
			}
			if got := strings.Join(members, ","); "time,"+got+",label" != c.want {
				t.Errorf("members are read as %s", got)
			}
		})
	}
}

// Parquet is such as other programs read: texts are UTF-8, what is missing is NULL, time is in microseconds of UTC.
func TestParquetIsForOthers(t *testing.T) {
	dir := t.TempDir()
	state := entry("a", 0)
	state.Property, state.Value, state.Text = "state", math.NaN(), "o\xffpen"
	number := entry("a", 1)
	number.At = number.At.Add(123_456_789)
	number.Score = math.NaN()
	record(t, dir, store.Settings{}, state, number)
	var out bytes.Buffer
	if _, err := store.Export(t.Context(), &out, dir, store.Query{}, store.ExportOptions{Format: store.Parquet}); err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	at := file.Schema().Fields()[0]
	if logical := at.Type().LogicalType(); logical == nil || !strings.Contains(logical.String(), "unit=MICROS") || !strings.Contains(logical.String(), "isAdjustedToUTC=true") {
		t.Errorf("the time is %v", logical)
	}
	type columns struct {
		At       int64    `parquet:"time"`
		Property string   `parquet:"property"`
		Value    *float64 `parquet:"value"`
		Text     *string  `parquet:"text"`
		Score    *float64 `parquet:"score"`
		Label    *string  `parquet:"label"`
	}
	got, err := parquet.Read[columns](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	text, one, quarter := "o\uFFFDpen", 1.0, 0.25
	want := []columns{
		{start.UnixMicro(), "state", nil, &text, &quarter, nil},
		{start.Add(time.Second + 123_456_789).UnixMicro(), "temperature", &one, nil, nil, nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

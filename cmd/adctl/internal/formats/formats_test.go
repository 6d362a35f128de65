// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package formats_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/formats"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

func rows(t *testing.T, file []byte) (*input.Reader, []input.Row) {
	t.Helper()
	r, err := input.NewReader(bytes.NewReader(file), input.Options{Formats: formats.All()})
	if err != nil {
		t.Fatal(err)
	}
	var all []input.Row
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return r, all
		}
		if err != nil {
			t.Fatal(err)
		}
		row.Cells = append([]input.Cell(nil), row.Cells...)
		all = append(all, row)
	}
}

// A workbook with a title above its table, a sheet of notes before it, dates as dates, and a gap.
func TestWorkbook(t *testing.T) {
	f := excelize.NewFile()
	at := time.Date(2026, time.March, 1, 14, 5, 0, 0, time.UTC)
	if _, err := f.NewSheet("data"); err != nil {
		t.Fatal(err)
	}
	for cell, v := range map[string]any{
		"A1": "Boiler house", "A3": "Time", "B3": "Temperature (°C)", "C3": "Pressure",
		"A4": at, "B4": 21.5, "C4": 3, "A5": at.Add(5 * time.Minute), "B5": 21.75,
	} {
		if err := f.SetCellValue("data", cell, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.SetCellValue("Sheet1", "A1", "see the next sheet"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	r, got := rows(t, b.Bytes())
	if len(got) != 2 || !got[0].At.Equal(at) || !got[1].At.Equal(at.Add(5*time.Minute)) {
		t.Fatalf("rows are %v", got)
	}
	if got[0].Cells[0].Value != 21.5 || got[0].Cells[1].Value != 3 || !got[1].Cells[1].Missing || r.Columns()[0].Name != "Temperature (°C)" {
		t.Errorf("rows are %v of columns %v", got, r.Columns())
	}
	if err := f.DeleteSheet("data"); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := input.NewReader(&b, input.Options{Formats: formats.All()}); err == nil || !strings.Contains(err.Error(), "no sheet has a table") {
		t.Errorf("a workbook without a table: %v", err)
	}
	if _, err := input.NewReader(strings.NewReader("PK\x03\x04 readme.txt"), input.Options{Formats: formats.All()}); err == nil || !strings.Contains(err.Error(), "a zip archive") {
		t.Errorf("another zip archive: %v", err)
	}
}

func TestParquet(t *testing.T) {
	type row struct {
		Time  time.Time `parquet:"time,timestamp(microsecond)"`
		Tag   string    `parquet:"tag"`
		Value *float64  `parquet:"value,optional"`
	}
	at := time.Date(2026, time.March, 1, 14, 5, 0, 250e6, time.UTC)
	v := 1.5
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write([]row{{at, "a", &v}, {at.Add(time.Second), "b", nil}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	_, got := rows(t, b.Bytes())
	if len(got) != 2 || !got[0].At.Equal(at) || got[0].Series != "a" || got[0].Cells[0].Value != 1.5 || !got[1].Cells[0].Missing {
		t.Fatalf("rows are %v", got)
	}
	for _, size := range []int{4, 20, b.Len() - 3} {
		if _, err := input.NewReader(bytes.NewReader(b.Bytes()[:size]), input.Options{Formats: formats.All()}); err == nil {
			t.Errorf("no error for the first %d bytes of a file", size)
		}
	}
}

// Times of every unit, decimals of every kind, numbers without a sign, and groups of columns.
func TestParquetTypes(t *testing.T) {
	type inner struct {
		Flow  float32 `parquet:"flow"`
		Notes []int32 `parquet:"notes,list"`
	}
	type row[T any] struct {
		Time  T        `parquet:"time"`
		Small int32    `parquet:"small,decimal(2:9)"`
		Large int64    `parquet:"large,decimal(3:18)"`
		Bytes [16]byte `parquet:"bytes,decimal(1:38)"`
		Count uint32   `parquet:"count"`
		Pipe  inner    `parquet:"pipe"`
	}
	at := time.Date(2026, time.March, 1, 14, 5, 0, 0, time.UTC)
	minus := [16]byte{}
	for i := range minus {
		minus[i] = 0xff
	}
	minus[15] = 0xf1 // -15
	for name, file := range map[string][]byte{
		"milliseconds": parquetOf(t, row[struct {
			T int64 `parquet:"t,timestamp(millisecond)"`
		}]{struct {
			T int64 `parquet:"t,timestamp(millisecond)"`
		}{at.UnixMilli()}, 2150, 1013250, minus, math.MaxUint32, inner{1.5, []int32{1, 2}}}),
		"microseconds": parquetOf(t, row[struct {
			T int64 `parquet:"t,timestamp(microsecond)"`
		}]{struct {
			T int64 `parquet:"t,timestamp(microsecond)"`
		}{at.UnixMicro()}, 2150, 1013250, minus, math.MaxUint32, inner{1.5, []int32{1, 2}}}),
		"nanoseconds": parquetOf(t, row[struct {
			T int64 `parquet:"t,timestamp(nanosecond)"`
		}]{struct {
			T int64 `parquet:"t,timestamp(nanosecond)"`
		}{at.UnixNano()}, 2150, 1013250, minus, math.MaxUint32, inner{1.5, []int32{1, 2}}}),
	} {
		r, got := rows(t, file)
		if len(got) != 1 || !got[0].At.Equal(at) {
			t.Fatalf("%s: rows are %v", name, got)
		}
		var read []string
		for i, c := range r.Columns() {
			read = append(read, fmt.Sprint(c.Name, "=", got[0].Cells[i].Value))
		}
		if text := strings.Join(read, " "); !strings.HasPrefix(text, "small=21.5 large=1013.25 bytes=-1.5 count=4.294967295e+09 pipe.flow=1.5") {
			t.Errorf("%s: %s", name, text)
		}
		if notes := strings.Join(r.Notes(), "; "); !strings.Contains(notes, "has lists: left out") {
			t.Errorf("%s: notes are %s", name, notes)
		}
	}
}

func parquetOf[T any](t *testing.T, row T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[T](&b)
	if _, err := w.Write([]T{row}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The names of columns may stand below those of groups, and other sheets have tables too: that is said.
func TestWorkbookOfSheets(t *testing.T) {
	f := excelize.NewFile()
	at := time.Date(2026, time.March, 1, 14, 5, 0, 0, time.UTC)
	for _, sheet := range []string{"Sheet1", "Feb"} {
		if _, err := f.NewSheet(sheet); err != nil {
			t.Fatal(err)
		}
		for cell, v := range map[string]any{
			"B1": "Supply", "C1": "Return", "A2": "Time", "B2": "Temp", "C2": "Flow", "A3": at, "B3": 21.5, "C3": 3, "A4": at.Add(time.Minute), "B4": 22, "C4": 4,
		} {
			if err := f.SetCellValue(sheet, cell, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	r, got := rows(t, b.Bytes())
	if len(got) != 2 || !got[0].At.Equal(at) || r.Columns()[0].Name != "Temp" || r.Columns()[1].Name != "Flow" {
		t.Errorf("rows are %v of columns %v", got, r.Columns())
	}
	if notes := strings.Join(r.Notes(), "; "); notes != `sheet "Sheet1" is read, and not "Feb": save what is to be read as a file of its own` {
		t.Errorf("notes are %s", notes)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// readTable reads to the end; bad holds what Read said of rows that cannot be used.
func readTable(r *dataset.TableReader) (table []dataset.TableRow, bad []string, err error) {
	for {
		row, err := r.Read()
		var unusable *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return table, bad, nil
		case errors.As(err, &unusable):
			bad = append(bad, err.Error())
		case err != nil:
			return table, bad, err
		default:
			row.Cells = slices.Clone(row.Cells)
			table = append(table, row)
		}
	}
}

func num(v float64) dataset.Cell { return dataset.Cell{Value: v, Text: fmt.Sprint(v)} }
func text(s string) dataset.Cell { return dataset.Cell{Value: math.NaN(), Text: s} }

var missing = dataset.Cell{Value: math.NaN()}

func labelled(label string, r dataset.TableRow) dataset.TableRow {
	r.Label = label
	return r
}

func TestTableReader(t *testing.T) {
	const stamp = "2026-03-01 12:30:00"
	row := func(line int, cells ...dataset.Cell) dataset.TableRow {
		return dataset.TableRow{Line: line, Timestamp: stamp, At: at, Cells: cells}
	}
	for name, c := range map[string]struct {
		input   string
		opts    dataset.TableOptions
		columns []string
		want    []dataset.TableRow
		bad     []string // parts of the errors, one for each bad row
	}{
		"comma": {
			input:   "time,a,b\n" + stamp + ",1,2\n",
			columns: []string{"a", "b"}, want: []dataset.TableRow{row(2, num(1), num(2))},
		},
		"semicolon, carriage returns and truth": {
			input:   "datetime;a;b;anomaly;changepoint\r\n" + stamp + ";1.5;2;1.0;0.0\r\n",
			columns: []string{"a", "b"}, want: []dataset.TableRow{labelled("1.0", row(2, num(1.5), num(2)))},
		},
		"truth in capitals, between members": {
			input:   "t\ta\tLabel\tIs_Anomaly\tb\n" + stamp + "\t1\t0\t0\t2\n",
			columns: []string{"a", "b"}, want: []dataset.TableRow{labelled("0", row(2, num(1), num(2)))},
		},
		"chosen columns, in their order": {
			input: "time|a|b|c\n" + stamp + "|1|2|3\n", opts: dataset.TableOptions{Columns: []string{"c", "a"}},
			columns: []string{"c", "a"}, want: []dataset.TableRow{row(2, num(3), num(1))},
		},
		"time elsewhere": {
			input: "a,when\n1," + stamp + "\n", opts: dataset.TableOptions{Time: "when"},
			columns: []string{"a"}, want: []dataset.TableRow{row(2, num(1))},
		},
		"texts and missing cells": {
			input:   "time,a,b,c,d\n" + stamp + ", on ,,NaN,n/a\n",
			columns: []string{"a", "b", "c", "d"}, want: []dataset.TableRow{row(2, text("on"), missing, missing, missing)},
		},
		"decimal comma": {
			input:   "time;a\n" + stamp + ";1,5\n",
			columns: []string{"a"}, want: []dataset.TableRow{row(2, dataset.Cell{Value: 1.5, Text: "1,5"})},
		},
		"comments, empty lines, byte order mark": {
			input:   "\xef\xbb\xbf# room\ntime,a\n\n# later\n" + stamp + ",1\n",
			columns: []string{"a"}, want: []dataset.TableRow{row(5, num(1))},
		},
		"column without a name": {
			input:   "time,a,\n" + stamp + ",1,\n",
			columns: []string{"a"}, want: []dataset.TableRow{row(2, num(1))},
		},
		"bad rows": {
			input:   "time,a,b\nnoon,1,2\n" + stamp + ",1\n" + stamp + ",1,2,3\n" + stamp + ",\"1,2\n" + stamp + ",1,2\n",
			columns: []string{"a", "b"}, want: []dataset.TableRow{row(6, num(1), num(2))},
			bad: []string{`line 2: time: got "noon"`, "line 3: got 2 columns, want 3", "line 4: got 4 columns", "line 5: a quoted field"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := dataset.NewTableReader(strings.NewReader(c.input), c.opts)
			columns, err := r.Columns()
			if err != nil || !slices.Equal(columns, c.columns) {
				t.Fatalf("columns are %q, %v, want %q", columns, err, c.columns)
			}
			got, bad, err := readTable(r)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(bad) != len(c.bad) {
				t.Fatalf("bad rows: got %q, want %q", bad, c.bad)
			}
			for i := range bad {
				if !strings.Contains(bad[i], c.bad[i]) {
					t.Errorf("bad row: got %q, want %q", bad[i], c.bad[i])
				}
			}
		})
	}
}

func TestTableReaderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		opts  dataset.TableOptions
		want  string
	}{
		"one column":       {"time\n1\n", dataset.TableOptions{}, "want a header"},
		"no header":        {"2026-03-01 12:30:00,1,2\n", dataset.TableOptions{}, "want a header"},
		"truth alone":      {"time,anomaly\n1,0\n", dataset.TableOptions{}, "want a column beside"},
		"truth as member":  {"time,a,anomaly\n", dataset.TableOptions{Columns: []string{"anomaly"}}, "tells what is anomalous"},
		"unknown member":   {"time,a\n", dataset.TableOptions{Columns: []string{"b"}}, `no column "b"`},
		"time as member":   {"time,a\n", dataset.TableOptions{Columns: []string{"time"}}, "is the time"},
		"unknown time":     {"time,a\n", dataset.TableOptions{Time: "when"}, `no column "when"`},
		"same name twice":  {"time,a,a\n", dataset.TableOptions{}, "twice"},
		"same column said": {"time,a\n", dataset.TableOptions{Columns: []string{"a", "a"}}, "twice"},
		"UTF-16":           {"\xff\xfet\x00", dataset.TableOptions{}, "UTF-16"},
	} {
		_, _, err := readTable(dataset.NewTableReader(strings.NewReader(c.input), c.opts))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, c.want)
		}
	}
	if _, err := dataset.NewTableReader(strings.NewReader(""), dataset.TableOptions{}).Columns(); !errors.Is(err, io.EOF) {
		t.Errorf("columns of an empty file: %v, want EOF", err)
	}
}

func TestTruth(t *testing.T) {
	for name, want := range map[string]bool{
		"anomaly": true, "Anomaly": true, "changepoint": true, "LABEL": true, " is_anomaly ": true,
		"anomaly_score": false, "labels": false, "value": false, "": false,
	} {
		if got := dataset.Truth(name); got != want {
			t.Errorf("Truth(%q) is %v", name, got)
		}
	}
}

func FuzzTableReader(f *testing.F) {
	f.Add([]byte("time,a,b\n1,2,3\n"), "")
	f.Add([]byte("datetime;a;anomaly\r\n2020-03-09 10:14:33;0,5;1\r\n\r\n"), "a")
	f.Add([]byte("t|\"a|b\"|c\n1|\"x\"\"y\"|\n"), "c")
	f.Fuzz(func(t *testing.T, input []byte, column string) {
		var opts dataset.TableOptions
		if column != "" {
			opts.Columns = []string{column}
		}
		r := dataset.NewTableReader(strings.NewReader(string(input)), opts)
		columns, err := r.Columns()
		if err != nil {
			return
		}
		for _, name := range columns {
			if dataset.Truth(name) {
				t.Fatalf("%q is a member", name)
			}
		}
		table, _, err := readTable(r)
		if err != nil {
			t.Fatalf("a file with a header that can be read: %v", err)
		}
		for _, row := range table {
			if len(row.Cells) != len(columns) {
				t.Fatalf("line %d has %d cells, want %d", row.Line, len(row.Cells), len(columns))
			}
			for _, c := range row.Cells {
				if c.Missing() && !math.IsNaN(c.Value) {
					t.Fatalf("line %d: a missing cell is %v", row.Line, c.Value)
				}
			}
		}
		if r.Offset() != int64(len(input)) {
			t.Fatalf("read %d of %d bytes", r.Offset(), len(input))
		}
	})
}

func ExampleTableReader() {
	const file = `time;light;brightness;anomaly
2026-03-01 12:30:00;on;480;0
2026-03-01 12:31:00;off;;0
`
	r := dataset.NewTableReader(strings.NewReader(file), dataset.TableOptions{})
	columns, err := r.Columns()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(columns)
	for {
		row, err := r.Read()
		if err != nil {
			break
		}
		fmt.Println(row.At.Format(time.TimeOnly), row.Cells[0].Text, row.Cells[1].Value)
	}
	// Output:
	// [light brightness]
	// 12:30:00 on 480
	// 12:31:00 off NaN
}

func BenchmarkTableReader(b *testing.B) {
	input := "time,a,b,c,d,e,f,g,h,i,j\n" + strings.Repeat("2026-03-01 12:30:00,1,2,3,4,5,6,7,8,9,10\n", 1000)
	b.ReportAllocs()
	for b.Loop() {
		if table, _, err := readTable(dataset.NewTableReader(strings.NewReader(input), dataset.TableOptions{})); len(table) != 1000 || err != nil {
			b.Fatal(len(table), err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

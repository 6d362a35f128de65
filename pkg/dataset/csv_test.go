// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

var at = time.Date(2026, time.March, 1, 12, 30, 0, 0, time.UTC)

func record(line int, timestamp string, at time.Time, text string, value float64) dataset.Record {
	return dataset.Record{
		Reading: dataset.Reading{At: at, Value: value, Text: text}, Line: line, Timestamp: timestamp,
	}
}

// readAll reads to the end; bad holds what Read said of rows that cannot be used.
func readAll(r *dataset.CSVReader) (records []dataset.Record, bad []string, err error) {
	for {
		record, err := r.Read()
		var row *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return records, bad, nil
		case errors.As(err, &row):
			bad = append(bad, err.Error())
		case err != nil:
			return records, bad, err
		default:
			records = append(records, record)
		}
	}
}

func TestCSVReader(t *testing.T) {
	const stamp = "2026-03-01 12:30:00"
	second := at.Add(time.Second)
	for name, c := range map[string]struct {
		input string
		opts  dataset.CSVOptions
		want  []dataset.Record
		bad   []string // parts of the errors, one for each bad row
	}{
		"empty":                {input: ""},
		"header only":          {input: "timestamp,value\n"},
		"header":               {input: "timestamp,value\n" + stamp + ",21.5\n", want: []dataset.Record{record(2, stamp, at, "21.5", 21.5)}},
		"no header":            {input: stamp + ",21.5\n", want: []dataset.Record{record(1, stamp, at, "21.5", 21.5)}},
		"no line end":          {input: stamp + ",21.5", want: []dataset.Record{record(1, stamp, at, "21.5", 21.5)}},
		"carriage returns":     {input: "timestamp,value\r\n" + stamp + ",21.5\r\n", want: []dataset.Record{record(2, stamp, at, "21.5", 21.5)}},
		"byte order mark":      {input: "\xef\xbb\xbftimestamp,value\n" + stamp + ",21.5\n", want: []dataset.Record{record(2, stamp, at, "21.5", 21.5)}},
		"mark, no header":      {input: "\xef\xbb\xbf" + stamp + ",21.5\n", want: []dataset.Record{record(1, stamp, at, "21.5", 21.5)}},
		"empty and comment":    {input: "# from the boiler\n\ntimestamp,value\n  \n # noon\n" + stamp + ",1\n", want: []dataset.Record{record(6, stamp, at, "1", 1)}},
		"quoted":               {input: `"timestamp","value"` + "\n" + `"` + stamp + `","a ""b"", c"` + "\n", want: []dataset.Record{record(2, stamp, at, `a "b", c`, math.NaN())}},
		"spaces stay":          {input: stamp + ", 21.5 \n", want: []dataset.Record{record(1, stamp, at, " 21.5 ", 21.5)}},
		"columns by name":      {input: "id,Value,Time\n7,21.5," + stamp + "\n", want: []dataset.Record{record(2, stamp, at, "21.5", 21.5)}},
		"columns by place":     {input: "when,temperature,pressure\n" + stamp + ",21.5,1013\n", want: []dataset.Record{record(2, stamp, at, "21.5", 21.5)}},
		"time is second":       {input: "pressure,datetime\n1013," + stamp + "\n", want: []dataset.Record{record(2, stamp, at, "1013", 1013)}},
		"columns chosen":       {input: "when,temperature,pressure\n" + stamp + ",21.5,1013\n", opts: dataset.CSVOptions{Time: "when", Value: "pressure"}, want: []dataset.Record{record(2, stamp, at, "1013", 1013)}},
		"semicolon, comma":     {input: "zeit;wert\n" + stamp + ";21,5\n", want: []dataset.Record{record(2, stamp, at, "21,5", 21.5)}},
		"semicolon, no header": {input: stamp + ";21,5\n", want: []dataset.Record{record(1, stamp, at, "21,5", 21.5)}},
		"semicolon in a text":  {input: stamp + ",a;b\n", want: []dataset.Record{record(1, stamp, at, "a;b", math.NaN())}},
		"tab":                  {input: "timestamp\tvalue\n" + stamp + "\t1\n", want: []dataset.Record{record(2, stamp, at, "1", 1)}},
		"bar":                  {input: "timestamp|value\n" + stamp + "|1\n", want: []dataset.Record{record(2, stamp, at, "1", 1)}},
		"not numbers": {
			input: stamp + ",\n" + stamp + ",open\n" + stamp + ",NaN\n" + stamp + ",-Inf\n" + stamp + ",1e400\n",
			want: []dataset.Record{
				record(1, stamp, at, "", math.NaN()), record(2, stamp, at, "open", math.NaN()), record(3, stamp, at, "NaN", math.NaN()),
				record(4, stamp, at, "-Inf", math.Inf(-1)), record(5, stamp, at, "1e400", math.NaN()),
			},
		},
		"bad rows": {
			input: "timestamp,value\nyesterday,1\n" + stamp + "\n\"" + stamp + ",1\n\"" + stamp + "\"x,1\n" + stamp + ",2,more\n",
			want:  []dataset.Record{record(6, stamp, at, "2", 2)},
			bad:   []string{`line 2: time: got "yesterday", want RFC 3339`, "line 3: got 1 columns, want at least 2", "line 4: a quoted field", "line 5: text after"},
		},
		"long line": {
			input: stamp + ",1\n" + stamp + "," + strings.Repeat("x", dataset.MaxCSVLine) + "\n" + stamp + "," + strings.Repeat("y", 100_000) + "\n" + stamp + ",2\n",
			want: []dataset.Record{
				record(1, stamp, at, "1", 1), record(3, stamp, at, strings.Repeat("y", 100_000), math.NaN()), record(4, stamp, at, "2", 2),
			},
			bad: []string{"line 2: longer than 1048576 bytes"},
		},
		"layout changes": {
			input: "1772368200,1\n" + stamp + ",2\n2026-03-01T12:30:01Z,3\n",
			want: []dataset.Record{
				record(1, "1772368200", at, "1", 1), record(2, stamp, at, "2", 2), record(3, "2026-03-01T12:30:01Z", second, "3", 3),
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, bad, err := readAll(dataset.NewCSVReader(strings.NewReader(c.input), c.opts))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
			if len(bad) != len(c.bad) {
				t.Fatalf("bad rows: got %q, want %q", bad, c.bad)
			}
			for i := range bad {
				if !strings.HasPrefix(bad[i], c.bad[i]) {
					t.Errorf("bad row: got %q, want %q", bad[i], c.bad[i])
				}
			}
		})
	}
}

func TestCSVReaderTimes(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-03-01T12:30:00Z":          at,
		"2026-03-01T13:30:00+01:00":     at,
		"2026-03-01T12:30:00.25Z":       at.Add(250 * time.Millisecond),
		"2026-03-01 12:30:00":           at,
		"2026-03-01 12:30:00.000001":    at.Add(time.Microsecond),
		"2026-03-01T12:30:00":           at,
		"2026-03-01 13:30:00+01:00":     at,
		"2026-03-01 12:30:00 +0000 UTC": at,
		"2026-03-01 12:30":              at,
		"2026-03-01":                    time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC),
		"1772368200":                    at,
		"1772368200000":                 at,
		"1772368200000000":              at,
		"1772368200000000000":           at,
		"1772368200.123456789":          at.Add(123456789),
		"-1.5":                          time.Unix(-2, 5e8),
		"0":                             time.Unix(0, 0),
		" 1772368200 ":                  at,
	} {
		got, bad, err := readAll(dataset.NewCSVReader(strings.NewReader("timestamp,value\n"+text+",1\n"), dataset.CSVOptions{}))
		if err != nil || len(got) != 1 {
			t.Errorf("%q: records %v, bad rows %v, error %v", text, got, bad, err)
			continue
		}
		if !got[0].At.Equal(want) {
			t.Errorf("%q is %v, want %v", text, got[0].At, want)
		}
	}
	for _, text := range []string{
		"", "noon", "1e9", "0x10", "1772368200.", "1772368200.1e3", "-9223372036854775808", "2026-02-30 00:00:00",
		"0001-01-01T00:00:00Z", "2300-01-01T00:00:00Z", "99999999999999999999",
	} {
		got, bad, err := readAll(dataset.NewCSVReader(strings.NewReader("timestamp,value\n"+text+",1\n"), dataset.CSVOptions{}))
		if err != nil || len(got) != 0 || len(bad) != 1 {
			t.Errorf("%q: records %v, bad rows %v, error %v; want one bad row", text, got, bad, err)
		}
	}
}

func TestCSVReaderRefusesFiles(t *testing.T) {
	broken := errors.New("broken cable")
	for name, c := range map[string]struct {
		input io.Reader
		opts  dataset.CSVOptions
		want  string
	}{
		"one column":        {strings.NewReader("timestamp\n1\n"), dataset.CSVOptions{}, "at least two columns"},
		"UTF-16":            {strings.NewReader("\xff\xfet\x00"), dataset.CSVOptions{}, "UTF-16"},
		"no such column":    {strings.NewReader("timestamp,value\n"), dataset.CSVOptions{Value: "pressure"}, `no column "pressure"`},
		"one for both":      {strings.NewReader("timestamp,value\n"), dataset.CSVOptions{Value: "timestamp"}, "is the time already"},
		"cannot be read":    {iotest.ErrReader(broken), dataset.CSVOptions{}, "broken cable"},
		"breaks in between": {io.MultiReader(strings.NewReader("1,1\n2,"), iotest.ErrReader(broken)), dataset.CSVOptions{}, "line 2: broken cable"},
	} {
		_, _, err := readAll(dataset.NewCSVReader(c.input, c.opts))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, c.want)
		}
	}
}

func TestCSVReaderCountsBytes(t *testing.T) {
	const input = "timestamp,value\n1,1\n2,2\n"
	r := dataset.NewCSVReader(strings.NewReader(input), dataset.CSVOptions{})
	if _, err := r.Read(); err != nil {
		t.Fatal(err)
	}
	if !r.Buffered() {
		t.Error("the next line is in the buffer, Buffered says no")
	}
	if _, err := r.Read(); err != nil {
		t.Fatal(err)
	}
	if r.Buffered() || r.Offset() != int64(len(input)) {
		t.Errorf("at the end: buffered %v, offset %d of %d", r.Buffered(), r.Offset(), len(input))
	}
}

func TestCSVWriter(t *testing.T) {
	var b strings.Builder
	w := dataset.NewCSVWriter(&b, "time", "a, b")
	w.Time(at.Add(time.Millisecond))
	w.Text(`say "no"`)
	w.Number(0.1)
	w.Number(math.NaN())
	w.Rounded(2.0/3, 3)
	w.Text("")
	w.End()
	w.Text("#1")
	w.End()
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "time,\"a, b\"\n2026-03-01T12:30:00.001Z,\"say \"\"no\"\"\",0.1,,0.667,\n\"#1\"\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestCSVWriterKeepsTheFirstError(t *testing.T) {
	w := dataset.NewCSVWriter(fullDisk{}, "timestamp", "value")
	for range 10_000 {
		w.Reading(dataset.Reading{At: at, Value: 1})
	}
	if err := w.Flush(); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error is %v", err)
	}
}

// FuzzReader: whatever the file, reading ends, and what was read is read again from what the writer makes of it.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"timestamp,value\n2026-03-01 12:30:00,21.5\n", "1772368200;21,5\n1772368201;\n", "\xef\xbb\xbf\"a\",\"b\"\r\n\"1\",\"x \"\"y\"\"\"\r\n",
		"# note\n1|2\nbad\n3|4|5\n", "\"", ",\n", "t,v\n1,a\rb\n", "1,#\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		records, _, err := readAll(dataset.NewCSVReader(strings.NewReader(string(input)), dataset.CSVOptions{}))
		if err != nil {
			return
		}
		var b strings.Builder
		w := dataset.NewCSVWriter(&b, "timestamp", "value")
		for _, r := range records {
			if r.Line < 1 || r.At.IsZero() && r.Timestamp == "" {
				t.Fatalf("record without line or time: %+v", r)
			}
			w.Text(r.Timestamp)
			w.Text(r.Text)
			w.End()
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		again, bad, err := readAll(dataset.NewCSVReader(strings.NewReader(b.String()), dataset.CSVOptions{}))
		if err != nil || len(bad) > 0 || len(again) != len(records) {
			t.Fatalf("%d records written, %d read, bad rows %q, error %v", len(records), len(again), bad, err)
		}
		for i := range again {
			if again[i].Timestamp != records[i].Timestamp || again[i].Text != records[i].Text || !again[i].At.Equal(records[i].At) {
				t.Fatalf("written %+v, read %+v", records[i], again[i])
			}
		}
	})
}

func ExampleCSVReader() {
	const file = "Zeit;Kessel\n2026-03-01 12:30:00;71,5\ngestern;72\n2026-03-01 12:31:00;aus\n"
	r := dataset.NewCSVReader(strings.NewReader(file), dataset.CSVOptions{})
	for {
		record, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &bad):
			fmt.Println("skipped line", bad.Line)
		case err != nil:
			fmt.Println(err)
			return
		default:
			fmt.Println(record.At.Format(time.Kitchen), record.Value, record.Text)
		}
	}
	// Output:
	// 12:30PM 71.5 71,5
	// skipped line 3
	// 12:31PM NaN aus
}

func ExampleCSVWriter() {
	w := dataset.NewCSVWriter(os.Stdout, "timestamp", "value")
	w.Reading(dataset.Reading{At: time.Date(2026, time.March, 1, 12, 30, 0, 0, time.UTC), Value: 21.5})
	if err := w.Flush(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// timestamp,value
	// 2026-03-01T12:30:00Z,21.5
}

func BenchmarkCSVReader(b *testing.B) {
	row := "2026-03-01 12:30:00,73.96732207\n"
	input := "timestamp,value\n" + strings.Repeat(row, 1000)
	b.ReportAllocs()
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if records, _, err := readAll(dataset.NewCSVReader(strings.NewReader(input), dataset.CSVOptions{})); len(records) != 1000 || err != nil {
			b.Fatal(len(records), err)
		}
	}
}

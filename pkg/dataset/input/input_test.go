// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// read tells what became of a file: a line for each row ("series time cells !" where it is anomalous), a bad row or an
// error, and the notes after them.
func read(src io.Reader, o input.Options) (told []string) {
	r, err := input.NewReader(src, o)
	if err != nil {
		return []string{"error: " + err.Error()}
	}
	for {
		row, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			for _, n := range r.Notes() {
				if !strings.Contains(n, "small numbers") { // TestCounts has them
					told = append(told, "note: "+n)
				}
			}
			return told
		case errors.As(err, &bad):
			told = append(told, "bad: "+err.Error())
			continue
		case err != nil:
			return append(told, "error: "+err.Error())
		}
		parts := []string{row.At.UTC().Format("06-01-02T15:04:05.999Z07:00")}
		if row.Series != "" {
			parts = slices.Insert(parts, 0, row.Series)
		}
		for _, c := range row.Cells {
			switch {
			case c.Missing:
				parts = append(parts, "·")
			case math.IsNaN(c.Value):
				parts = append(parts, fmt.Sprintf("%q", c.Text))
			default:
				parts = append(parts, fmt.Sprint(c.Value))
			}
		}
		if row.Label {
			parts = append(parts, "!")
		}
		told = append(told, strings.Join(parts, " "))
	}
}

// minutes writes rows a minute apart from 1 March 2026 on.
func minutes(header, format string, rows ...any) string {
	b := new(strings.Builder)
	fmt.Fprintln(b, header)
	for i, v := range rows {
		fmt.Fprintf(b, format+"\n", fmt.Sprintf("2026-03-01 00:%02d:00", i), v)
	}
	return b.String()
}

const at = "26-03-01T00:0" // of the rows of minutes

func TestRead(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		opts input.Options
		want []string
	}{
		// Numbers.
		"plain":                 {"timestamp,value\n2026-03-01T00:00:00Z,1.5\n", input.Options{}, []string{at + "0:00Z 1.5"}},
		"no reading at first":   {minutes("time,value", "%s,%v", "unavailable", 2, 3), input.Options{}, []string{at + "0:00Z ·", at + "1:00Z 2", at + "2:00Z 3"}},
		"an error at first":     {minutes("time,value", "%s,%v", "ERR", 2, 3), input.Options{}, []string{at + `0:00Z "ERR"`, at + "1:00Z 2", at + "2:00Z 3"}},
		"units":                 {minutes("time,value", "%s,%v", "21.5 °C", "22 °C"), input.Options{}, []string{at + "0:00Z 21.5", at + "1:00Z 22"}},
		"units without a blank": {minutes("time,value", "%s,%v", "-3.5kW", "4m³/h"), input.Options{}, []string{at + "0:00Z -3.5", at + "1:00Z 4", `note: column "value" has numbers with different units ("kW", "m³/h"): they are taken as they stand`}},
		"American thousands":    {minutes("time,value", `%s,"%v"`, "19,948.8", "999.5"), input.Options{}, []string{at + "0:00Z 19948.8", at + "1:00Z 999.5"}},
		"thousands alone":       {minutes("time,value", `%s,"%v"`, "19,948", "1,020,000"), input.Options{}, []string{at + "0:00Z 19948", at + "1:00Z 1.02e+06"}},
		"European":              {minutes("zeit;wert", "%s;%v", "1.234,50", "-7,25"), input.Options{}, []string{at + "0:00Z 1234.5", at + "1:00Z -7.25"}},
		"European, whole":       {minutes("zeit;wert", "%s;%v", "1.234", "1.234.567", "1,5"), input.Options{}, []string{at + "0:00Z 1234", at + "1:00Z 1.234567e+06", at + "2:00Z 1.5"}},
		"three decimals":        {minutes("time,value", "%s,%v", "1.234", "2.500"), input.Options{}, []string{at + "0:00Z 1.234", at + "1:00Z 2.5"}},
		"Swiss":                 {minutes("time,value", "%s,%v", "1'234.5", "987.25"), input.Options{}, []string{at + "0:00Z 1234.5", at + "1:00Z 987.25"}},
		"French":                {minutes("time;value", "%s;%v", "1\u202f234,5", "7,5"), input.Options{}, []string{at + "0:00Z 1234.5", at + "1:00Z 7.5"}},
		"huge, tiny, infinite":  {minutes("time,value", "%s,%v", "1e308", "-2E-7", "inf"), input.Options{}, []string{at + "0:00Z 1e+308", at + "1:00Z -2e-07", at + "2:00Z +Inf"}},
		"hexadecimal is no number": {minutes("time,value", "%s,%v", "0x10", "0x11"), input.Options{}, []string{
			at + `0:00Z "0x10"`, at + `1:00Z "0x11"`, `note: column "value" is of texts ("0x10", "0x11"): its readings are states`,
		}},
		"states": {minutes("time,mode", "%s,%v", "on", "off", "on"), input.Options{}, []string{
			at + `0:00Z "on"`, at + `1:00Z "off"`, at + `2:00Z "on"`, `note: column "mode" is of texts ("on", "off"): its readings are states`,
		}},
		"a column of texts beside": {minutes("time,value,who", "%s,%v,amy", 1, 2), input.Options{}, []string{
			at + "0:00Z 1", at + "1:00Z 2", `note: column "who" is of texts ("amy"): left out`,
		}},
		"an empty column": {minutes("time,a,b", "%s,%v,", 1), input.Options{}, []string{at + "0:00Z 1 ·"}},

		// Times.
		"day first":               {"t;v\n01.03.2026 14:05;1\n", input.Options{}, []string{"26-03-01T14:05:00Z 1"}},
		"year first with slashes": {"t,v\n2026/03/01 14:05,1\n", input.Options{}, []string{"26-03-01T14:05:00Z 1"}},
		"a day over 12 settles":   {"t,v\n03/01/2026,1\n03/13/2026,2\n", input.Options{}, []string{"26-03-01T00:00:00Z 1", "26-03-13T00:00:00Z 2"}},
		"a day over 12, far on":   {"t,v\n" + strings.Repeat("03/01/2026,1\n", 1200) + "13/01/2026,2\n", input.Options{Value: "v"}, nil},
		"ambiguous": {"t,v\n03/01/2026 00:00,1\n03/02/2026 00:00,2\n", input.Options{}, []string{
			`error: time: "03/01/2026 00:00" may be a day and a month, or a month and a day: 3 January 2026 or 1 March 2026; --time-format "DD/MM/YYYY hh:mm" or "MM/DD/YYYY hh:mm" says which`,
		}},
		"ambiguous, told":       {"t,v\n03/01/2026 00:00,1\n", input.Options{TimeFormat: "MM/DD/YYYY hh:mm"}, []string{"26-03-01T00:00:00Z 1"}},
		"strftime":              {"t,v\n03/01/2026 00:00,1\n", input.Options{TimeFormat: "%d/%m/%Y %H:%M"}, []string{"26-01-03T00:00:00Z 1"}},
		"a format that is none": {"t,v\n03/01/2026 00:00,1\n", input.Options{TimeFormat: "fast"}, []string{`error: no column is a time: --time-format: got "fast", want one such as DD.MM.YYYY hh:mm:ss, %d.%m.%Y %H:%M:%S, or 02.01.2006 15:04:05`}},
		"noon":                  {"t,v\n1/13/2026 12:05:09 PM,1\n1/13/2026 1:05:09 PM,2\n", input.Options{}, []string{"26-01-13T12:05:09Z 1", "26-01-13T13:05:09Z 2"}},
		"comma before millis":   {"t,v\n\"2026-03-01 00:00:00,123\",1\n", input.Options{}, []string{"26-03-01T00:00:00.123Z 1"}},
		"historian":             {"t,v\n01-Mar-26 00:00:30,1\n", input.Options{}, []string{"26-03-01T00:00:30Z 1"}},
		"Chinese":               {"时间,数值\n2026年3月1日 08:00,1\n", input.Options{}, []string{"26-03-01T08:00:00Z 1"}},
		"zones":                 {"t,v\n2026-03-01 00:00:00+01:00,1\n2026-03-01T00:30:00Z,2\n", input.Options{}, []string{"26-02-28T23:00:00Z 1", "26-03-01T00:30:00Z 2"}},
		"Unix seconds":          {"t,v\n1772323200,1\n1772323200.25,2\n", input.Options{}, []string{"26-03-01T00:00:00Z 1", "26-03-01T00:00:00.25Z 2"}},
		"Unix milliseconds":     {"t,v\n1772323200250,1\n", input.Options{}, []string{"26-03-01T00:00:00.25Z 1"}},
		"Unix microseconds":     {"t,v\n1772323200250000,1\n", input.Options{}, []string{"26-03-01T00:00:00.25Z 1"}},
		"Unix nanoseconds":      {"t,v\n1772323200250000000,1\n", input.Options{}, []string{"26-03-01T00:00:00.25Z 1"}},
		"Excel":                 {"t,v\n46082.000000,1\n46082.003472,2\n", input.Options{}, []string{"26-03-01T00:00:00Z 1", "26-03-01T00:05:00Z 2"}},
		"eight digits":          {"t,v\n20260301,1\n20260302,2\n", input.Options{}, []string{"26-03-01T00:00:00Z 1", "26-03-02T00:00:00Z 2"}},
		"date and time apart":   {"Datum;Uhrzeit;Wert\n01.03.2026;14:05;1,5\n", input.Options{}, []string{"26-03-01T14:05:00Z 1.5"}},
		"a place":               {"t,v\n2026-07-01 12:00,1\n", input.Options{Location: berlin(t)}, []string{"26-07-01T10:00:00Z 1"}},
		"the hour that is twice": {"t,v\n2026-10-25 01:30,1\n2026-10-25 02:30,2\n2026-10-25 02:30,3\n2026-10-25 03:30,4\n", input.Options{Location: berlin(t)}, []string{
			"26-10-24T23:30:00Z 1", "26-10-25T00:30:00Z 2", "26-10-25T00:30:00Z 3", "26-10-25T02:30:00Z 4",
		}},
		"newest first": {"t,v\n2026-03-01 00:02,3\n2026-03-01 00:01,2\n2026-03-01 00:01,1\n", input.Options{}, []string{
			at + "1:00Z 1", at + "1:00Z 2", at + "2:00Z 3", "note: the rows come newest first: sorted by time",
		}},
		"in no order": {"t,v\n2026-03-01 00:02,3\n2026-03-01 00:00,1\n2026-03-01 00:03,4\n2026-03-01 00:01,2\n2026-03-01 00:05,6\n2026-03-01 00:04,5\n", input.Options{}, []string{
			at + "0:00Z 1", at + "1:00Z 2", at + "2:00Z 3", at + "3:00Z 4", at + "4:00Z 5", at + "5:00Z 6", "note: the rows are not in the order of time: sorted",
		}},
		"a bad time": {"t,v\n2026-03-01 00:00,1\nsoon,2\n2026-03-01 00:02,3\n", input.Options{}, []string{
			at + "0:00Z 1", `bad: line 3: time: got "soon", want it as YYYY-MM-DD hh:mm`, at + "2:00Z 3",
		}},
		"no time": {"name,value\namy,1\n", input.Options{}, []string{`error: no column is a time: time: got "amy", want RFC 3339, YYYY-MM-DD hh:mm:ss, DD.MM.YYYY hh:mm, a Unix time or an Excel date; --time-format says another`}},

		// Columns, labels, series.
		"no header":        {"2026-03-01 00:00,1\n2026-03-01 00:01,2\n", input.Options{}, []string{at + "0:00Z 1", at + "1:00Z 2"}},
		"Home Assistant":   {"entity_id,state,last_changed\nsensor.a,1,2026-03-01T00:00:00.000Z\nsensor.b,9,2026-03-01T00:00:01.000Z\n", input.Options{}, []string{"sensor.a " + at + "0:00Z 1", "sensor.b " + at + "0:01Z 9"}},
		"an index":         {",timestamp,value\n0,2026-03-01 00:00,1\n1,2026-03-01 00:01,2\n", input.Options{}, []string{at + "0:00Z 1", at + "1:00Z 2"}},
		"several":          {minutes("time,a,b", "%s,1,%v", 2, 3), input.Options{}, []string{at + "0:00Z 1 2", at + "1:00Z 1 3"}},
		"chosen":           {minutes("time,a,b,c", "%s,1,%v,7", 2, 3), input.Options{Columns: []string{"c", "a"}}, []string{at + "0:00Z 7 1", at + "1:00Z 7 1"}},
		"chosen, absent":   {minutes("time,a", "%s,%v", 2), input.Options{Value: "b"}, []string{`error: no column "b" among ["time" "a"]`}},
		"devices, columns": {"time,device,temp,hum\n2026-03-01 00:00,a,1,2\n2026-03-01 00:00,b,3,4\n", input.Options{}, []string{"a " + at + "0:00Z 1 2", "b " + at + "0:00Z 3 4"}},
		"an export": {"timestamp,namespace,device,property,value,text\n2026-03-01T00:00:00Z,d,p,t,1,\n2026-03-01T00:00:00Z,d,p,m,,on\n", input.Options{}, []string{
			"d/p/t " + at + "0:00Z 1", "d/p/m " + at + `0:00Z "on"`,
		}},
		"InfluxDB": {"#group,false,false,false,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n,result,table,_time,_value,device\n,,0,2026-03-01T00:00:00Z,1,a\n\n" +
			"#group,false,false,false,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n,result,table,_time,_value,device\n,,1,2026-03-01T00:00:00Z,5,b\n", input.Options{},
			[]string{"a " + at + "0:00Z 1", "b " + at + "0:00Z 5"}},
		"labels 0 and 1":      {"time,value,label\n1,5,0\n2,5,1\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 5 !"}},
		"labels 1 and -1":     {"time,value,anomaly\n1,5,1\n2,5,-1\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 5 !"}},
		"labels n and y":      {"time,value,label\n1,5,n\n2,5,y\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 5 !"}},
		"labels in words":     {"time,value,label\n1,5,Benign\n2,5,Attack\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 5 !"}},
		"labels are empty":    {"time,value,label\n1,5,\n2,5,\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 5"}},
		"a label is measured": {"time,label\n1,5.5\n2,6.5\n", input.Options{}, []string{"70-01-01T00:00:01Z 5.5", "70-01-01T00:00:02Z 6.5"}},

		// Dialects.
		"Excel's first line":        {"sep=;\nzeit;wert\n2026-03-01 00:00;1,5\n", input.Options{}, []string{at + "0:00Z 1.5"}},
		"titles before":             {"Plant A\n\"Trend, exported\"\n\ntime;value\n2026-03-01 00:00;1\n2026-03-01 00:01;2\n", input.Options{}, []string{at + "0:00Z 1", at + "1:00Z 2"}},
		"header again":              {"time,value\n1,5\ntime,value\n2,6\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 6"}},
		"comments":                  {"# by hand\ntime,value\n1,5\n# noon\n2,6\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 6"}},
		"a quoted line break":       {"time,value,note\n1,5,\"two\nlines\"\n2,6,\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "70-01-01T00:00:02Z 6", `note: column "note" is of texts ("two\nlines"): left out`}},
		"a quote left open":         {"time,value\n1,5\n2,\"6\n3,7\n4,8\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "bad: line 3: a quoted field does not end", "70-01-01T00:00:03Z 7", "70-01-01T00:00:04Z 8"}},
		"tabs and carriage returns": {"time\tvalue\r\n1\t5\r\n", input.Options{}, []string{"70-01-01T00:00:01Z 5"}},
		"a byte order mark":         {"\xef\xbb\xbftime,value\n1,5\n", input.Options{}, []string{"70-01-01T00:00:01Z 5"}},
		"a short row":               {"time,value\n1,5\n2\n3,6\n", input.Options{}, []string{"70-01-01T00:00:01Z 5", "bad: line 3: got 1 columns, want at least 2", "70-01-01T00:00:03Z 6"}},
		"one column":                {"value\n1\n2\n", input.Options{}, []string{"error: got 1 columns, want at least two, a time and a reading, separated by comma, semicolon, tab or bar; --time-column none counts the rows of readings alone"}},

		// JSON.
		"JSON lines": {"{\"time\":\"2026-03-01T00:00:00Z\",\"data\":{\"temp\":1.5,\"ok\":true}}\n{\"time\":\"2026-03-01T00:01:00Z\",\"data\":{\"temp\":2}}\n", input.Options{}, []string{
			at + "0:00Z 1.5", at + "1:00Z 2", `note: column "data.ok" is of texts ("true"): left out`,
		}},
		"a line that is no JSON": {"{\"time\":1,\"v\":1}\nnot this\n{\"time\":2,\"v\":2}\n", input.Options{}, []string{
			"70-01-01T00:00:01Z 1", "bad: line 2: want a JSON object: invalid character 'o' in literal null (expecting 'u')", "70-01-01T00:00:02Z 2",
		}},
		"a JSON array": {`[{"time":1,"v":1},{"time":2,"v":null}]`, input.Options{}, []string{"70-01-01T00:00:01Z 1", "70-01-01T00:00:02Z ·"}},
		"Prometheus": {`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[1772323200,"1"],[1772323260,"NaN"]]}]}}`, input.Options{}, []string{
			`up{job="a"} ` + at + "0:00Z 1", `up{job="a"} ` + at + "1:00Z ·",
		}},
		"an instant of Prometheus": {`{"status":"success","data":{"resultType":"vector","result":[]}}`, input.Options{}, []string{
			`error: answer of Prometheus: resultType is "vector", want matrix: ask for a range (/api/v1/query_range)`,
		}},

		// What is no recording.
		"nothing":       {"", input.Options{}, []string{"error: the file is empty"}},
		"only a header": {"timestamp,value\n", input.Options{}, []string{"error: the file is empty: a header (timestamp, value) and no row"}},
		"a zip archive": {"PK\x03\x04\x14\x00", input.Options{}, []string{"error: this is a zip archive: unpack it first"}},
		"line protocol": {"weather,room=a temp=20.5,lux=3i 1773360000000000000\n", input.Options{}, []string{"error: this is InfluxDB's line protocol: export a query as CSV"}},
		"a scrape":      {"# HELP temp Temperature.\n# TYPE temp gauge\ntemp 20.5\n", input.Options{}, []string{"error: this is what Prometheus scrapes: ask it for a range (/api/v1/query_range)"}},
		"a web page":    {"<!DOCTYPE html><html>", input.Options{}, []string{"error: this is a web page"}},
		"bytes":         {"a\x00b", input.Options{}, []string{"error: this is no text: it has bytes of 0 in it"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(strings.NewReader(c.file), c.opts)
			if c.want == nil { // as long as it can be read
				if strings.HasPrefix(got[0], "error") || got[len(got)-1] != "26-01-13T00:00:00Z 2" {
					t.Errorf("got %q … %q", got[0], got[len(got)-1])
				}
				return
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	l, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	return l
}

// Packed and in other encodings, the same file is the same.
func TestPacked(t *testing.T) {
	const file = "Zeit;Außen (°C)\n2026-03-01 00:00;1,5\n2026-03-01 00:01;2\n"
	pack := map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"UTF-16": func(w io.Writer) (io.WriteCloser, error) {
			return closer{unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().Writer(w)}, nil
		},
		"Windows-1252": func(w io.Writer) (io.WriteCloser, error) {
			return closer{charmap.Windows1252.NewEncoder().Writer(w)}, nil
		},
	}
	for name, pack := range pack {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := pack(&b)
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.WriteString(w, file)
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			r, err := input.NewReader(&b, input.Options{})
			if err != nil {
				t.Fatal(err)
			}
			row, err := r.Read()
			if err != nil || row.Cells[0].Value != 1.5 || r.Columns()[0].Name != "Außen (°C)" {
				t.Errorf("got %v of column %q, %v", row, r.Columns()[0].Name, err)
			}
		})
	}
}

type closer struct{ io.Writer }

func (closer) Close() error { return nil }

// On the two nights on which clocks are set, local times neither leave a gap nor run back.
func TestClocksAreSet(t *testing.T) {
	for name, c := range map[string]struct{ zone, from string }{
		"back":    {"Europe/Berlin", "2026-10-24T22:00:00Z"},
		"forward": {"America/New_York", "2026-03-08T05:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			zone, err := time.LoadLocation(c.zone)
			if err != nil {
				t.Skip(err)
			}
			begin, err := time.Parse(time.RFC3339, c.from)
			if err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			b.WriteString("time,value\n")
			for i := range 72 {
				fmt.Fprintf(&b, "%s,%d\n", begin.Add(time.Duration(i)*5*time.Minute).In(zone).Format(time.DateTime), i)
			}
			r, err := input.NewReader(strings.NewReader(b.String()), input.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var last time.Time
			for i := range 72 {
				row, err := r.Read()
				if err != nil {
					t.Fatal(err)
				}
				if step := row.At.Sub(last); i > 0 && step != 5*time.Minute {
					t.Errorf("row %d comes %v after the one before", i, step)
				}
				last = row.At
			}
			if len(r.Notes()) != 1 || !strings.Contains(r.Notes()[0], "clocks were set") {
				t.Errorf("notes are %q", r.Notes())
			}
		})
	}
}

// Whatever the bytes, reading ends, and nothing is held that a file does not have.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"timestamp,value\n1,2\n", "a;b\n01.03.2026;1,5\n", "{\"time\":1,\"v\":1}\n", "[{\"t\":1}]", "#group,false\n#datatype,a\n,result\n",
		"sep=;\nx;y\n", "t,v\n\"1\n2,3\n", "t,v\n46082.5,1\n", "\xff\xfea\x00", "1,2\n3,4\n",
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[null,{}]]}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := input.NewReader(bytes.NewReader(file), input.Options{})
		if err != nil {
			return
		}
		for rows := 0; ; rows++ {
			row, err := r.Read()
			var bad *dataset.RowError
			switch {
			case errors.As(err, &bad):
				continue
			case err != nil:
				return
			case len(row.Cells) != len(r.Columns()):
				t.Fatalf("%d cells, want %d", len(row.Cells), len(r.Columns()))
			case rows > len(file)+1:
				t.Fatal("more rows than bytes")
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var file strings.Builder
	file.WriteString("timestamp,value\n")
	begin := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	const rows = 10_000
	for i := range rows {
		fmt.Fprintf(&file, "%s,%.3f\n", begin.Add(time.Duration(i)*time.Second).Format(time.RFC3339), 20+math.Sin(float64(i)))
	}
	b.ReportAllocs()
	for b.Loop() {
		r, err := input.NewReader(strings.NewReader(file.String()), input.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Read(); err != nil {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

// Times are told by the clock of the place, which tells what goes by it when summer begins and ends.
func TestTimesAreThoseOfThePlace(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString("time,value\n")
	for at := time.Date(2026, time.March, 28, 22, 0, 0, 0, time.UTC); at.Day() < 30; at = at.Add(15 * time.Minute) {
		fmt.Fprintf(&text, "%s,1\n", at.In(berlin).Format(time.DateTime))
	}
	for name, place := range map[string]*time.Location{"named": berlin, "guessed": nil} {
		r, err := input.NewReader(strings.NewReader(text.String()), input.Options{Location: place})
		if err != nil {
			t.Fatal(err)
		}
		var last time.Time
		for {
			row, err := r.Read()
			if err != nil {
				break
			}
			if got := row.At.Format(time.DateTime); got != row.Timestamp {
				t.Fatalf("%s: the clock shows %s at %s", name, got, row.Timestamp)
			}
			if d := row.At.Sub(last); !last.IsZero() && d != 15*time.Minute {
				t.Fatalf("%s: %v from %v to %v", name, d, last, row.At)
			}
			last = row.At
		}
	}
}

// What a series is of is found when it comes first, wherever that is in the file.
func TestSeriesThatComesLate(t *testing.T) {
	for name, c := range map[string]struct {
		readings []string // of the series that comes late
		states   bool
	}{
		"states":                    {[]string{"open", "closed", "open", "open"}, true},
		"states, first unavailable": {[]string{"unavailable", "", "closed", "open"}, true},
		"numbers":                   {[]string{"1.5", "2.5", "3", "4"}, false},
		"numbers, first an error":   {[]string{"ERR", "2.5", "3", "4"}, false},
		"none at all":               {[]string{"unavailable", "unavailable"}, false},
	} {
		for _, sorted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, sorted %v", name, sorted), func(t *testing.T) {
				var rows []string
				at := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
				for i := range 3000 {
					rows = append(rows, fmt.Sprintf("sensor.a,%.1f,%s", 20+float64(i%7), at.Format(time.RFC3339)))
					if k := i - 2000; k >= 0 && k%3 == 0 && k/3 < len(c.readings) {
						rows = append(rows, fmt.Sprintf("sensor.late,%s,%s", c.readings[k/3], at.Format(time.RFC3339)))
					}
					at = at.Add(time.Minute)
				}
				if !sorted {
					slices.Reverse(rows)
				}
				r, err := input.NewReader(strings.NewReader("entity_id,state,last_changed\n"+strings.Join(rows, "\n")+"\n"), input.Options{})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for {
					row, err := r.Read()
					if err != nil {
						break
					}
					if row.States != (c.states && row.Series == "sensor.late") {
						t.Fatalf("line %d of %s: states %v", row.Line, row.Series, row.States)
					}
					if row.Series == "sensor.late" {
						got = append(got, row.Cells[0].Text)
					}
				}
				if !slices.Equal(got, c.readings) {
					t.Errorf("got %q, want %q", got, c.readings)
				}
				if told := strings.Contains(strings.Join(r.Notes(), "\n"), `series "sensor.late" is of texts`); told != c.states {
					t.Errorf("told %v: %q", told, r.Notes())
				}
			})
		}
	}
}

// A number that stands for no reading may come for the first time after the rows that were looked at. What is not far from
// all before it is a reading, as of a counter that passes such a number.
func TestCodeThatComesLate(t *testing.T) {
	file := func(value func(i int) float64) *strings.Reader {
		var b strings.Builder
		b.WriteString("time,value\n")
		for i := range 12_000 {
			fmt.Fprintf(&b, "%d,%v\n", 1_700_000_000+60*i, value(i))
		}
		return strings.NewReader(b.String())
	}
	const note = `note: column "value": -9999 is far from all 3000 readings before it: it counts as none`
	for name, c := range map[string]struct {
		value func(i int) float64
		none  int
		note  bool
	}{
		"a code": {func(i int) float64 {
			return map[bool]float64{true: -9999, false: float64(i % 7)}[i >= 3000 && i < 3004]
		}, 4, true},
		"a counter": {func(i int) float64 { return float64(i) }, 0, false},
		"a spike":   {func(i int) float64 { return map[bool]float64{true: -9998, false: float64(i % 7)}[i == 3000] }, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			told := read(file(c.value), input.Options{})
			none := 0
			for _, line := range told {
				if strings.Contains(line, "no reading") {
					none++
				}
			}
			if none != c.none || slices.Contains(told, note) != c.note {
				t.Errorf("%d readings count as none, want %d; the last line is %s", none, c.none, told[len(told)-1])
			}
		})
	}
}

// What numbers count that stand where times should.
func TestCounts(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		count input.Count
		at    string // of the last row
	}{
		"times":        {"time,v\n1772323200,1\n1772323260,2\n", input.NoCount, "2026-03-01T00:01:00Z"},
		"seconds":      {"time,v\n0,1\n0.5,2\n", input.Seconds, "1970-01-01T00:00:00.5Z"},
		"milliseconds": {"time (ms),v\n0,1\n250,2\n", input.Seconds, "1970-01-01T00:00:00.25Z"},
		"hours":        {"elapsed_h,v\n0,1\n2,2\n", input.Seconds, "1970-01-01T02:00:00Z"},
		"rows":         {"n,v\n0,1\n1,2\n2,3\n", input.Rows, "1970-01-01T00:00:02Z"},
		"backwards":    {"row,v\n3,1\n2,2\n1,3\n", input.Rows, "1970-01-01T00:00:03Z"},
	} {
		r, err := input.NewReader(strings.NewReader(c.file), input.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		at := ""
		for {
			row, err := r.Read()
			if err != nil {
				break
			}
			at = row.At.UTC().Format(time.RFC3339Nano)
		}
		if r.Counts() != c.count || at != c.at {
			t.Errorf("%s: %v, the last row at %s, want %v and %s", name, r.Counts(), at, c.count, c.at)
		}
		if said := len(r.Notes()) > 0; said != (c.count != input.NoCount) {
			t.Errorf("%s: notes are %q", name, r.Notes())
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"
)

// small is how many rows a file of the corpus has.
const small = 160

// level is a reading of the corpus: noise about 20, and a spike near the end.
func level(i int) float64 {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	v := 20 + 0.5*rng.NormFloat64()
	if i == 150 {
		v += 40
	}
	return v
}

// lines is a text of a header and a line for each row.
func lines(header string, row func(i int, at time.Time, v float64) string) string {
	var b strings.Builder
	if header != "" {
		b.WriteString(header + "\n")
	}
	for i := range small {
		b.WriteString(row(i, start.Add(time.Duration(i)*10*time.Minute), level(i)) + "\n")
	}
	return b.String()
}

// dated is a table of times of a layout and readings.
func dated(header, layout, separator string) string {
	return lines(header, func(_ int, at time.Time, v float64) string {
		return fmt.Sprintf("%s%s%.3f", at.Format(layout), separator, v)
	})
}

// instead is a table in which some readings are another text.
func instead(text string, every, first int) string {
	return lines("time,value", func(i int, at time.Time, v float64) string {
		if i%every == first {
			return at.Format(time.RFC3339) + "," + text
		}
		return fmt.Sprintf("%s,%.3f", at.Format(time.RFC3339), v)
	})
}

func labelled(good, bad string) string {
	return lines("time,value,label", func(i int, at time.Time, v float64) string {
		l := good
		if i == 150 {
			l = bad
		}
		return fmt.Sprintf("%s,%.3f,%s", at.Format(time.RFC3339), v, l)
	})
}

func german(v float64) string {
	return strings.Replace(strconv.FormatFloat(v, 'f', 2, 64), ".", ",", 1)
}

func reversed(text string) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	var b strings.Builder
	b.WriteString(all[0] + "\n")
	for i := len(all) - 1; i > 0; i-- {
		b.WriteString(all[i] + "\n")
	}
	return b.String()
}

func packed(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
	return b.String()
}

func zstandard(text string) string {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(text), nil))
}

func wideText(text string) string {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return string(out)
}

func workbook(t *testing.T) string {
	t.Helper()
	return sheet(t, []any{"Zeit", "Kessel"}, func(_ int, at time.Time, v float64) []any { return []any{at, v} })
}

// sheet is a workbook with a table below a title.
func sheet(t *testing.T, header []any, row func(i int, at time.Time, v float64) []any) string {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	_ = f.SetSheetRow("Sheet1", "A1", &[]any{"Boiler 7"})
	_ = f.SetSheetRow("Sheet1", "A3", &header)
	for i := range small {
		cells := row(i, start.Add(time.Duration(i)*10*time.Minute), level(i))
		_ = f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+4), &cells)
	}
	b, err := f.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func parquetFile(t *testing.T) string {
	t.Helper()
	type row struct {
		Time time.Time `parquet:"time,timestamp(microsecond)"`
		Flow float64   `parquet:"flow"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	for i := range small {
		if _, err := w.Write([]row{{start.Add(time.Duration(i) * 10 * time.Minute), level(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// want is what detect makes of a file.
type want struct {
	status   int
	readings int
	found    int // least incidents
	says     []string
}

// Files as they are found in the field: what is read of them, what is said, and the exit status. Each has 160 rows, and
// a spike that is found, unless it says otherwise.
func TestCorpus(t *testing.T) {
	all := func(says ...string) want { return want{exitFailed, small, 1, says} } // --fail-on warning is given
	fine := func(says ...string) want { return want{exitOK, small, 0, says} }
	refused := func(says ...string) want { return want{exitUsage, 0, 0, says} }
	nothing := func(n int, says ...string) want { return want{exitNothing, n, 0, says} }
	iso := dated("time,value", time.RFC3339, ",")
	healthy := lines("time,value", func(i int, at time.Time, _ float64) string {
		return fmt.Sprintf("%s,%.3f", at.Format(time.RFC3339), level(i%140))
	})
	several := func(header string, spiky int) string {
		return lines(header, func(i int, at time.Time, v float64) string {
			var row strings.Builder
			row.WriteString(at.Format(time.RFC3339))
			for k := range strings.Count(header, ",") {
				w := v
				if k != spiky {
					w = level((i*7 + k*31) % 140)
				}
				fmt.Fprintf(&row, ",%.3f", w)
			}
			return row.String()
		})
	}
	long := func(header string, rows ...string) string {
		return lines(header, func(i int, at time.Time, v float64) string {
			var out []string
			for k, r := range rows {
				w := v
				if k > 0 {
					w = level((i*7 + k*31) % 140)
				}
				out = append(out, strings.NewReplacer("TIME", at.Format(time.RFC3339), "VALUE", fmt.Sprintf("%.3f", w)).Replace(r))
			}
			return strings.Join(out, "\n")
		})
	}
	epoch := func(unit time.Duration) string {
		return lines("ts,value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%d,%.3f", at.UnixNano()/int64(unit), v)
		})
	}
	prometheus := func() string {
		var values []string
		for i := range small {
			values = append(values, fmt.Sprintf(`[%d,"%.3f"]`, start.Add(time.Duration(i)*10*time.Minute).Unix(), level(i)))
		}
		return `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"temp"},"values":[` + strings.Join(values, ",") + `]}]}}`
	}
	long2 := func(tables ...string) string { // one after the other
		var b strings.Builder
		for _, table := range tables {
			b.WriteString(table + "\n")
		}
		return b.String()
	}
	influx := func(datatype, field, value string) string {
		return long("#group,false,false,false,false,true\n#datatype,string,long,dateTime:RFC3339,"+datatype+",string\n#default,_result,,,,\n,result,table,_time,_value,_field", ",,0,TIME,"+value+","+field)
	}
	for name, c := range map[string]struct {
		text string
		args []string
		want want
	}{
		// times
		"seconds with an exponent": {lines("ts,value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%.9e,%.3f", float64(at.Unix()), v)
		}), nil, all("the first 100 rows (16h40m)")},
		"RFC 3339":                   {iso, nil, all("judged by auto: value", "threshold 0.95")},
		"with a space":               {dated("time,value", time.DateTime, ","), nil, all()},
		"without seconds":            {dated("time,value", "2006-01-02 15:04", ","), nil, all()},
		"slashes, year first":        {dated("time,value", "2006/01/02 15:04", ","), nil, all()},
		"German dates":               {dated("Zeit;Wert", "02.01.2006 15:04", ";"), []string{"--time-format", "DD.MM.YYYY hh:mm"}, all()},
		"American dates, ambiguous":  {dated("time,value", "01/02/2006 15:04", ","), nil, refused("--time-format", "MM/DD/YYYY")},
		"American dates, told":       {dated("time,value", "01/02/2006 15:04", ","), []string{"--time-format", "MM/DD/YYYY hh:mm"}, all()},
		"seconds":                    {epoch(time.Second), nil, all()},
		"milliseconds":               {epoch(time.Millisecond), nil, all()},
		"microseconds":               {epoch(time.Microsecond), nil, all()},
		"nanoseconds":                {epoch(time.Nanosecond), nil, all()},
		"Excel's numbers":            {lines("date,value", func(i int, _ time.Time, v float64) string { return fmt.Sprintf("%.6f,%.3f", 46082+float64(i)/144, v) }), nil, all()},
		"a zone":                     {dated("time,value", "2006-01-02T15:04:05+01:00", ","), nil, all()},
		"a place":                    {dated("time,value", time.DateTime, ","), []string{"--timezone", "Asia/Shanghai"}, all()},
		"no such place":              {dated("time,value", time.DateTime, ","), []string{"--timezone", "Mars"}, refused("Europe/Berlin")},
		"date and time apart":        {dated("date,time,value", "2006-01-02,15:04:05", ","), nil, all()},
		"newest first":               {reversed(iso), nil, all("newest first: sorted")},
		"no time":                    {lines("a,b", func(int, time.Time, float64) string { return "x,y" }), nil, refused("no column is a time")},
		"readings before their time": {lines("value,unix", func(_ int, at time.Time, v float64) string { return fmt.Sprintf("%.3f,%d", v, at.Unix()) }), nil, all("judged by auto: value")},
		"time column named": {lines("n,when,value", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%d,%s,%.3f", i*3, at.Format(time.RFC3339), v)
		}), []string{"--time-column", "when", "--value-column", "value"}, all()},
		// numbers
		"decimal commas":        {lines("Zeit;Kessel", func(_ int, at time.Time, v float64) string { return at.Format(time.DateTime) + ";" + german(v) }), nil, all("judged by auto: Kessel")},
		"quoted decimal commas": {lines("time,value", func(_ int, at time.Time, v float64) string { return at.Format(time.RFC3339) + `,"` + german(v) + `"` }), nil, all()},
		"thousands": {lines("time,value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf(`%s,"%d,%06.2f"`, at.Format(time.RFC3339), 19, 100+v)
		}), nil, all()},
		"thousands, German": {lines("time;value", func(_ int, at time.Time, v float64) string { return at.Format(time.RFC3339) + ";1.1" + german(v) }), nil, all()},
		"units": {lines("time,temp", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.2f °C", at.Format(time.RFC3339), v)
		}), nil, all()},
		"units that differ": {lines("time,p", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f %s", at.Format(time.RFC3339), v, []string{"bar", "Bar"}[i%2])
		}), nil, all(`different units ("bar", "Bar"): they are taken as they stand`)},
		"unavailable in between": {instead("unavailable", 20, 7), nil, all()},
		"unavailable first":      {instead("unavailable", 20, 0), nil, all()},
		"unknown":                {instead("unknown", 20, 0), nil, all()},
		"N/A":                    {instead("N/A", 20, 3), nil, all()},
		"null":                   {instead("null", 20, 3), nil, all()},
		"a dash":                 {instead("-", 20, 3), nil, all()},
		"ERR":                    {instead("ERR", 20, 0), nil, all()},
		"empty cells":            {instead("", 20, 3), nil, all()},
		"exponents":              {lines("time,value", func(_ int, at time.Time, v float64) string { return fmt.Sprintf("%s,%e", at.Format(time.RFC3339), v) }), nil, all()},
		"accounts": {lines("time,value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,(%.2f)", at.Format(time.RFC3339), v)
		}), nil, all("judged by auto: value (no season)")},
		"thousands without a fraction": {lines("time;value", func(_ int, at time.Time, v float64) string {
			if n := 980 + int(v); n < 1000 {
				return fmt.Sprintf("%s;%d", at.Format(time.RFC3339), n)
			} else {
				return fmt.Sprintf("%s;%d.%03d", at.Format(time.RFC3339), n/1000, n%1000)
			}
		}), nil, want{exitFailed, small, 1, []string{"1 incident"}}},
		"states": {lines("time,state", func(i int, at time.Time, _ float64) string {
			return at.Format(time.RFC3339) + "," + []string{"on", "off"}[i%2]
		}), nil, fine(`"on", "off"`)},
		// labels
		"labels 0 and 1":           {labelled("0", "1"), nil, all("labels: 1 fault, 1 found")},
		"labels true and false":    {labelled("false", "true"), nil, all("labels: 1 fault, 1 found")},
		"labels 1 and -1":          {labelled("1", "-1"), nil, all("labels: 1 fault, 1 found")},
		"labels in words":          {labelled("normal", "anomaly"), nil, all("labels: 1 fault, 1 found")},
		"labels yes and no":        {labelled("no", "yes"), nil, all("labels: 1 fault, 1 found")},
		"labels Benign and Attack": {labelled("Benign", "Attack"), nil, all("labels: 1 fault, 1 found")},
		"labels of numbers":        {labelled("0.0", "1.0"), nil, all("labels: 1 fault, 1 found")},
		"labels ja and nein":       {labelled("nein", "ja"), nil, all("labels: 1 fault, 1 found")},
		"labels that are empty":    {labelled("", ""), nil, all()},
		// columns and series
		"three columns":             {several("time,temp,pressure,flow", 1), nil, all("judged by auto: temp", "all together by autogroup", "pressure")},
		"three columns, one named":  {several("time,temp,pressure,flow", 1), []string{"--value-column", "pressure"}, all("judged by auto: pressure")},
		"three columns, two chosen": {several("time,temp,pressure,flow", 1), []string{"--columns", "temp,pressure"}, all("temp", "all together by autogroup")},
		"300 columns":               {several("time"+strings.Repeat(",c", 300), 0), nil, all("300 columns are more than the 256")},
		"a detector of one":         {several("time,temp,pressure,flow", 2), []string{"--detector", "ewma"}, all("judged by ewma: temp, pressure, flow")},
		"a detector of groups":      {several("time,temp,pressure,flow", 0), []string{"--detector", "autogroup", "--train-rows", "100"}, want{exitFailed, small, 1, []string{"judged together by autogroup: temp, pressure, flow"}}},
		"entities":                  {long("entity_id,state,last_changed", "sensor.a,VALUE,TIME", "sensor.b,VALUE,TIME"), nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: sensor.a", "sensor.b"}}},
		"tags":                      {long("TagName;Timestamp;Value", "T1;TIME;VALUE", "T2;TIME;VALUE", "T3;TIME;VALUE"), nil, want{exitFailed, 3 * small, 1, []string{"T1", "T3"}}},
		"device and property":       {long("time,device,property,value", "TIME,d1,lux,VALUE", "TIME,d1,watt,VALUE"), nil, want{exitFailed, 2 * small, 1, []string{"d1/lux", "d1/watt"}}},
		"series columns named":      {long("time,plant,value", "TIME,a,VALUE", "TIME,b,VALUE"), []string{"--series-columns", "plant"}, want{exitFailed, 2 * small, 1, []string{"a", "b"}}},
		"no such column":            {iso, []string{"--value-column", "lux"}, refused(`no column "lux"`)},
		"a door among thermometers": {long("entity_id,state,last_changed", "sensor.a,VALUE,TIME", "binary_sensor.door,on,TIME"), nil, want{exitFailed, 2 * small, 1, []string{`series "binary_sensor.door" is of texts ("on"): its readings are states`, "1 incident"}}},
		"two columns of one name":   {several("time,value,value", 0), nil, all("and not value (column 3): --columns chooses")},
		"the second of one name":    {several("time,temp,temp", 1), []string{"--columns", "temp (column 3)", "--detector", "auto"}, all("judged by auto: temp (column 3)")},
		"columns without a name":    {several("time,,", 0), nil, all("column 2", "column 3", "all together by autogroup")},
		"a group of entities":       {long("entity_id,state,last_changed", "sensor.a,VALUE,TIME", "sensor.b,VALUE,TIME"), []string{"--detector", "autogroup"}, nothing(2*small, "judged by autogroup: sensor.a, sensor.b", "autogroup learns from 400 readings first")},
		// formats
		"tabs":              {strings.ReplaceAll(iso, ",", "\t"), nil, all()},
		"bars":              {strings.ReplaceAll(iso, ",", "|"), nil, all()},
		"sep=":              {"sep=;\n" + strings.ReplaceAll(iso, ",", ";"), nil, all()},
		"a byte order mark": {"\ufeff" + iso, nil, all()},
		"UTF-16":            {wideText(iso), nil, all()},
		"an array that is cut off": {strings.ReplaceAll("["+lines("", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf(`{"time":%q,"value":%.3f},`, at.Format(time.RFC3339), v)
		}), "\n", ""), nil, refused("the JSON array does not end behind element 160")},
		"Home Assistant's history": {"[[" + strings.TrimSuffix(strings.TrimSpace(lines("", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf(`{"entity_id":"sensor.a","state":"%.3f","last_changed":%q},`, v, at.Format(time.RFC3339))
		})), ",") + `],[{"entity_id":"binary_sensor.door","state":"off","last_changed":"2026-03-01T00:00:00Z"}]]`, nil,
			want{exitFailed, small + 1, 1, []string{"judged by auto: sensor.a", "binary_sensor.door (not judged)"}}},
		"Excel, date and time apart": {sheet(t, []any{"Datum", "Uhrzeit", "Kessel"}, func(i int, _ time.Time, v float64) []any {
			return []any{46082 + i/144, float64(i%144) / 144, v}
		}), nil, all("judged by auto: Kessel", "the first 100 rows (16h40m)")},
		"Excel, a title and errors": {sheet(t, []any{"Zeit", "Kessel"}, func(i int, at time.Time, v float64) []any {
			switch {
			case i == 0:
				return []any{at, nil}
			case i%50 == 1:
				return []any{at, "#DIV/0!"}
			}
			return []any{at, v}
		}), nil, all("judged by auto: Kessel")},
		"an object on several lines": {"{\n  \"data\": [\n", nil, refused("the JSON text does not end: the file is cut off")},
		"UTF-16 without a mark":      {wideText(iso)[2:], nil, all()},
		"returns alone":              {strings.ReplaceAll(iso, "\n", "\r"), nil, all()},
		"a separator at the end":     {strings.ReplaceAll(iso, "\n", ",\n"), nil, all("judged by auto: value", "column 3 has no name and no reading: left out")},
		"one, but in the header":     {strings.Replace(strings.ReplaceAll(iso, "\n", ",\n"), "value,", "value", 1), nil, all("judged by auto: value")},
		"gzip that is cut off":       {packed(iso)[:600], nil, refused("the compressed file is cut off")},
		"an error of Prometheus":     {`{"status":"error","errorType":"bad_data","error":"no such metric"}`, nil, refused("no such metric")},
		"InfluxDB, of two types":     {long2(influx("double", "temp", "VALUE"), influx("string", "valve", "open")), nil, want{exitFailed, 2 * small, 1, []string{`series "valve" is of texts`, "1 incident"}}},
		"carriage returns":           {strings.ReplaceAll(iso, "\n", "\r\n"), nil, all()},
		"titles before":              {"Report of the boiler\nPlant 7\n\n" + iso, nil, all()},
		"comments":                   {"# boiler\n" + iso, nil, all()},
		"no header":                  {strings.TrimPrefix(iso, "time,value\n"), nil, all()},
		"gzip":                       {packed(iso), nil, all()},
		"zstd":                       {zstandard(iso), nil, all()},
		"JSON lines": {lines("", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf(`{"time":%q,"value":%.3f}`, at.Format(time.RFC3339), v)
		}), nil, all()},
		"Prometheus": {prometheus(), nil, all()},
		"InfluxDB": {long("#group,false,false,false,false,true\n#datatype,string,long,dateTime:RFC3339,double,string\n#default,_result,,,,\n,result,table,_time,_value,room", ",,0,TIME,VALUE,a", ",,1,TIME,VALUE,b"),
			nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: a"}}},
		"Excel":           {workbook(t), nil, all("judged by auto: Kessel")},
		"Parquet":         {parquetFile(t), nil, all("judged by auto: flow")},
		"a zip archive":   {"PK\x03\x04 of something", nil, refused("this is a zip archive")},
		"a PDF":           {"%PDF-1.7", nil, refused("this is a PDF")},
		"bytes":           {"\x00\x01\x02", nil, refused("this is no text")},
		"a web page":      {"<!DOCTYPE html><html>", nil, refused("this is a web page")},
		"an old workbook": {"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", nil, refused(".xlsx")},
		// how much there is
		"empty":          {"", nil, refused("the file is empty")},
		"a header alone": {"time,value\n", nil, refused("a header (time, value) and no row")},
		"one column":     {"value\n1\n2\n", nil, refused("want at least two")},
		"too few":        {strings.Join(strings.SplitAfter(iso, "\n")[:50], ""), nil, nothing(49, "auto learns from 100 readings first", "there are 49")},
		"no reading":     {instead("unavailable", 1, 0), nil, nothing(small, "nothing could be judged")},
		"healthy":        {healthy, nil, fine("0 incidents", "the first 100 rows (16h40m) were learned from")},
		"bad rows":       {iso + strings.Repeat("yesterday,1\n", 30), nil, all("30 rows skipped", "29 rows more: time: got \"yesterday\"")},
		"all the same":   {lines("time,value", func(_ int, at time.Time, _ float64) string { return at.Format(time.RFC3339) + ",5" }), nil, fine("0 incidents")},
	} {
		t.Run(name, func(t *testing.T) { c.want.of(t, c.text, c.args...) })
	}
}

// of runs detect on a file, and holds what comes of it against what is wanted.
func (w want) of(t *testing.T, text string, args ...string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := adctl(t, "", append([]string{"detect", path, "-o", "json", "--fail-on", "warning"}, args...)...)
	if code != w.status {
		t.Errorf("exit status %d, want %d: %s", code, w.status, stderr)
	}
	has(t, "standard error", stderr, w.says...)
	var all []summary
	if err := json.Unmarshal([]byte(stdout), &all); code != exitUsage && err != nil {
		t.Fatal(err)
	}
	if code == exitUsage || len(all) == 0 {
		return
	}
	if got := all[0].Readings; got != w.readings {
		t.Errorf("%d readings, want %d: %s", got, w.readings, stderr)
	}
	if got := len(all[0].Incidents); got < w.found {
		t.Errorf("%d incidents, want %d: %s", got, w.found, stderr)
	}
	if math.IsNaN(all[0].Threshold) || all[0].Threshold == 0 {
		t.Errorf("threshold %v", all[0].Threshold)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// More of [TestCorpus]: files that surprised those who met us by a file.
func TestCorpusOfNewcomers(t *testing.T) {
	all := func(says ...string) want { return want{exitFailed, small, 1, says} }
	refused := func(says ...string) want { return want{exitUsage, 0, 0, says} }
	// row is a table of a time and what a row holds behind it.
	row := func(header string, rest func(i int, v float64) string) string {
		return lines(header, func(i int, at time.Time, v float64) string { return at.Format(time.RFC3339) + rest(i, v) })
	}
	// kilo writes three digits behind a mark.
	kilo := func(mark string, v float64) string {
		return strings.Replace(strconv.FormatFloat(v/10, 'f', 3, 64), ".", mark, 1)
	}
	counted := func(header, format string) string {
		return lines(header, func(i int, _ time.Time, v float64) string { return fmt.Sprintf(format, i, v) })
	}
	for name, c := range map[string]struct {
		text string
		args []string
		want want
	}{
		// what stands for times
		"rows that are counted":         {counted("row,value", "%d,%.3f"), nil, all(`the rows are counted by column "row"`, "the first 100 rows were learned from", "one false alarm in 8000 readings", "\n150    152 ")},
		"rows that are counted behind":  {lines("value,index", func(i int, _ time.Time, v float64) string { return fmt.Sprintf("%.3f,%d", v, i) }), nil, all(`the rows are counted by column "index"`)},
		"rows without a name":           {counted("", "%d,%.3f"), nil, all("the rows are counted")},
		"alarms a week of counted rows": {counted("row,value", "%d,%.3f"), []string{"--alarms", "1/week"}, refused("--alarms: no time between readings is known")},
		"seconds from a start":          {counted("time,value", "%d.5,%.3f"), nil, all(`column "time" holds small numbers: they are taken as seconds from a start`, "\n150.5 s  152.5 s ", "a reading every 1s")},
		"milliseconds from a start":     {counted("Time (ms),value", "%d00,%.3f"), nil, all("taken as milliseconds from a start", "\n15 s   15.2 s ", "a reading every 100ms")},
		// decimals and thousands
		"a point of thousands, told by another column": {row("Zeit;Druck;Temp", func(i int, v float64) string { return ";" + kilo(".", v) + ";" + german(20+float64(i%7)/10) }), nil,
			all("judged by auto: Druck (", "why\n", "Druck is 5998, ")},
		"a point of thousands, told by the same column": {row("Zeit;Druck", func(i int, v float64) string {
			if i == 140 {
				return ";998,5"
			}
			return ";" + kilo(".", v)
		}), nil, all("is 5998, ")},
		"a point that may be either":       {row("Zeit;Druck", func(_ int, v float64) string { return ";" + kilo(".", v) }), nil, all(`may be `, "nothing in the file tells", "--decimal comma says otherwise", "judged by auto: Druck")},
		"a point of German dates":          {lines("Zeit;Druck", func(_ int, at time.Time, v float64) string { return at.Format("02.01.2006 15:04;") + kilo(".", v) }), []string{"--time-format", "DD.MM.YYYY hh:mm"}, all("--decimal point says otherwise", "is 5998, ")},
		"a point that is told":             {row("Zeit;Druck", func(_ int, v float64) string { return ";" + kilo(".", v) }), []string{"--decimal", "comma"}, all("is 5998, ")},
		"a comma that may be either":       {row("Zeit;Druck", func(_ int, v float64) string { return ";" + kilo(",", v) }), nil, all("nothing in the file tells", "--decimal point says otherwise")},
		"a quoted comma that may be":       {row("time,p", func(_ int, v float64) string { return `,"` + kilo(",", v) + `"` }), nil, all("nothing in the file tells", "--decimal comma says otherwise")},
		"a mark that there is not":         {row("time,p", func(_ int, v float64) string { return fmt.Sprintf(",%.3f", v) }), []string{"--decimal", "dot"}, refused(`--decimal: got "dot", want point or comma`)},
		"fractions of three digits":        {row("time,p", func(_ int, v float64) string { return fmt.Sprintf(",%.3f", v) }), nil, all("; 0 rows skipped\njudged")},
		"fractions of three digits, and 0": {row("time;p", func(_ int, v float64) string { return fmt.Sprintf(";%.3f", v/100) }), nil, all("; 0 rows skipped\njudged")},
		"lakhs":                            {row("time,p", func(_ int, v float64) string { return fmt.Sprintf(`,"1,23,%06.2f"`, 100+v) }), nil, all("is 123160, ")},
		// what is judged by what
		"one column of several": {row("time,a,b", func(_ int, v float64) string { return fmt.Sprintf(",5,%.3f", v) }), []string{"--columns", "b"}, all("judged by auto: b (no season)\n")},
		"texts among chosen columns": {row("time,mode,temp", func(i int, v float64) string { return fmt.Sprintf(",%s,%.3f", []string{"idle", "run"}[i/5%2], v) }),
			[]string{"--columns", "mode,temp"}, all("judged by auto: mode (states), temp (no season)\n")},
		"texts among chosen columns of a group": {row("time,mode,temp,flow", func(i int, v float64) string {
			return fmt.Sprintf(",%s,%.3f,%d", []string{"idle", "run"}[i/5%2], v, i%7)
		}),
			[]string{"--columns", "mode,temp,flow"}, all("autogroup takes numbers, not the texts of mode: they are judged alone\n", "mode (states)", "all together by autogroup (not judged)")},
		// what is no recording
		"an error without a type": {`{"status":"error","error":"query timed out"}`, nil, refused("answer of Prometheus", "query timed out")},
		"an answer of a server":   {`{"code":"unauthorized","message":"unauthorized access"}`, nil, refused(`an answer, not a recording: "unauthorized access"`)},
		"no series":               {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, nil, refused("the answer of Prometheus has no series")},
		"labels of Prometheus":    {`{"status":"success","data":["a","b"]}`, nil, refused("answer of Prometheus", "/api/v1/query_range")},
	} {
		t.Run(name, func(t *testing.T) { c.want.of(t, c.text, c.args...) })
	}
}

// A season that is measured a little off a rhythm of the clock is that.
func TestSeasonsOfTheClock(t *testing.T) {
	for _, c := range []struct {
		season  int
		cadence time.Duration
		want    string
	}{
		{1441, time.Minute, "a season of a day, 1440 readings"},
		{287, 5 * time.Minute, "a season of a day, 288 readings"},
		{24, time.Hour, "a season of a day, 24 readings"},
		{23, time.Hour, "a season of 23h, 23 readings"},
		{2018, 5 * time.Minute, "a season of a week, 2016 readings"},
		{252, time.Minute, "a season of 4h12m, 252 readings"},
		{252, 0, "a season of 252 readings"},
	} {
		if got := shows("season", c.season, c.cadence); got != c.want {
			t.Errorf("%d readings of %v: %q, want %q", c.season, c.cadence, got, c.want)
		}
	}
}

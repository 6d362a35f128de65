// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// More of [TestCorpus]: what historians, loggers and servers of the field add to a table.
func TestCorpusOfTheField(t *testing.T) {
	all := func(says ...string) want { return want{exitFailed, small, 1, says} }
	every := func(n int, usual, other string) func(i int) string {
		return func(i int) string {
			if i%n == 7 {
				return other
			}
			return usual
		}
	}
	// beside is a table with a third column.
	beside := func(header string, third func(i int) string) string {
		return lines(header, func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f,%s", at.Format(time.RFC3339), v, third(i))
		})
	}
	// spike is how the time of the spike is told of clocks so far off UTC.
	spike := func(off time.Duration) string { return start.Add(1500*time.Minute + off).Format(time.RFC3339) }
	const local = "2026-03-02T01:00:00 " // of the spike, where nobody says of which place the clock is
	layout := func(layout string) string { return dated("date,value", layout, ",") }
	gbk := func(text string) string {
		out, err := simplifiedchinese.GBK.NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		text string
		args []string
		want want
	}{
		"a comment of two lines in the first row": {lines("time,comment,value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,\"ok\nby hand\",%.3f", at.Format(time.RFC3339), v)
		}), nil, all(`column "comment" is of texts ("ok\nby hand"): left out`, "judged by auto: value")},
		"year, month and day apart": {lines("Year,Month,Day,Hour,Minute,Value", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%d,%d,%d,%d,%d,%.3f", at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), v)
		}), nil, all("judged by auto: Value", "a reading every 10m")},
		"midnight at the end of the day": {lines("Datum;Zeit;Wert", func(_ int, at time.Time, v float64) string {
			if at.Hour()+at.Minute() == 0 {
				return fmt.Sprintf("%s;24:00;%s", at.AddDate(0, 0, -1).Format("02.01.2006"), german(v))
			}
			return at.Format("02.01.2006;15:04;") + german(v)
		}), nil, all("; 0 rows skipped")},
		"a year that stands for a time": {lines("year,value", func(_ int, _ time.Time, v float64) string {
			return fmt.Sprintf("2026,%.3f", v)
		}), nil, want{exitUsage, 0, 0, []string{"no column is a time"}}},
		"the number of the row": {lines("Nr,time,value", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%d,%s,%.3f", i+1, at.Format(time.RFC3339), v)
		}), nil, all("judged by auto: value (")},
		"a number for no reading": {lines("time,value", func(i int, at time.Time, v float64) string {
			return at.Format(time.RFC3339) + "," + every(37, fmt.Sprintf("%.3f", v), "-9999")(i)
		}), nil, all("-9999 is far from all other readings and comes again and again: it counts as none", "5 cells hold no number")},
		"readings that are not good": {beside("Timestamp,Value,Quality", every(40, "Good", "Bad")), nil, all(`column "Quality" says which readings are good: the others ("Bad") count as none`, "4 cells hold no number")},
		"numbers of OPC":             {beside("Timestamp,Value,Quality", every(40, "192", "24")), nil, all("4 cells hold no number")},
		"states of OPC UA":           {beside("SourceTimestamp,Value,StatusCode", every(40, "Good", "BadNoCommunication")), nil, all("4 cells hold no number")},
		"a status that is measured":  {beside("time,temp,status", every(2, "3", "17")), nil, all("judged by auto: temp", "status (")},
		"another table below":        {layout(time.RFC3339) + "\ndate,pressure\n2026-03-01T00:00:00Z,1013\n", nil, want{exitUsage, 0, 0, []string{"another table begins (date, pressure), after that of date, value: put them into a file each"}}},
		"the same header again":      {layout(time.RFC3339) + "\ndate,value\n", nil, all()},
		"times of Java":              {layout(time.UnixDate), nil, all()},
		"times of mails":             {strings.ReplaceAll(layout("02 Jan 2006 15:04:05 -0700"), "date,", "date,"), nil, all()},
		"decimal commas between commas": {lines("time,temp,flow", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%s,%s", at.Format(time.RFC3339), german(v), german(v/2))
		}), nil, want{exitUsage, 0, 0, []string{"want numbers with a decimal comma in quotes"}}},
		"rows of many widths": {lines("time,value,note", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f%s", at.Format(time.RFC3339), v, every(5, "", ",checked,by,Kim")(i))
		}), nil, all("judged by auto: value")},
		"rows longer than the header, first": {lines("time,value,note", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f%s", at.Format(time.RFC3339), v, []string{",checked,by,Kim", ""}[min(i, 1)])
		}), nil, all("judged by auto: value")},
		"days with the time of day": {dated("date,value", "01/02/2006 15:04", ","), []string{"--time-format", "MM/DD/YYYY"}, all(local)},
		"no time at all":            {"a,b\n0.5,1.5\n0.7,1.2\n0.6,1.1\n", nil, want{exitUsage, 0, 0, []string{"no column is a time, and none of the columns of numbers is called one"}}},
		"cells that were too narrow": {dated("time,value", time.DateTime, ",") + "######,21\n######,22\n", nil,
			want{exitFailed, small, 1, []string{`got "######"`, "2 rows skipped"}}},
		"labels in German": {lines("time,value,label", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f,%s", at.Format(time.RFC3339), v, []string{"gut", "Störung"}[max(0, min(1, i-149))*max(0, min(1, 151-i))])
		}), nil, all("labels: 1 fault, 1 found")},
		"labels that say nothing of normal": {lines("time,value,label", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("%s,%.3f,run 7", at.Format(time.RFC3339), v)
		}), nil, all("every row is labelled as a fault")},
		"one series of several": {beside("time,value,tag", every(9, "a", "b")), []string{"--series", "a", "--columns", "value"},
			want{exitFailed, small - 17, 1, []string{"judged by auto: a"}}},
		"a series that there is not": {beside("time,value,tag", every(9, "a", "b")), []string{"--series", "c"}, want{exitUsage, 0, 0, []string{`--series: got "c", want one that the file has, such as "a"`}}},
		"a type that there is not":   {dated("time,value", time.DateTime, ","), []string{"--type", "boolen"}, want{exitUsage, 0, 0, []string{`--type: got "boolen"`}}},
		"times of PostgreSQL":        {layout("2006-01-02 15:04:05.000000+00"), nil, all(spike(0))},
		"times of JavaScript":        {layout("Mon Jan 02 2006 15:04:05 -0700"), nil, all(spike(0))},
		"months in full":             {layout("Monday, 2 January 2006 15:04"), nil, all(local)},
		"digits alone":               {layout("20060102150405"), nil, all(local)},
		"digits without seconds":     {layout("200601021504"), nil, all(local)},
		"a zone by its name":         {layout("2006-01-02 15:04:05 CET"), nil, all(spike(-time.Hour))},
		"a zone of several":          {layout("2006-01-02 15:04:05 CST"), nil, want{exitUsage, 0, 0, []string{"the zone CST may be several"}}},
		"a zone of the place":        {layout("2006-01-02 15:04:05 CST"), []string{"--timezone", "Asia/Shanghai"}, all("2026-03-02T01:00:00+08:00 ")},
		"Chinese of Excel":           {gbk(dated("时间,温度(℃)", "2006年1月2日 15:04", ",")), nil, all("温度(℃)")},
		"German of Excel":            {strings.NewReplacer("ö", "\xf6", "ß", "\xdf", "°", "\xb0").Replace(dated("Zeit;Größe [°C]", "02.01.2006 15:04", ";")), nil, all("Größe [°C]")},
		"WinCC": {lines(`"VarName";"TimeString";"VarValue";"Validity";"Time_ms"`, func(i int, at time.Time, v float64) string {
			return fmt.Sprintf(`"Temp";"%s";%s;1;%d,5`, at.Format("02.01.2006 15:04:05"), german(v), int64(46082000000)+int64(i)*6944)
		}), nil, all("judged by auto: Temp (")},
		"statistics of Home Assistant": {lines("statistic_id,unit,start,mean,min,max", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("sensor.t,°C,%d,%.3f,%.3f,%.3f", at.Unix(), v, v-1, v+1)
		}), nil, all("judged by auto: sensor.t mean (", "sensor.t max (")},
	} {
		t.Run(name, func(t *testing.T) { c.want.of(t, c.text, c.args...) })
	}
}

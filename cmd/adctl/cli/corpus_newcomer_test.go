// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
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
	// objects are JSON objects of a time and a reading, joined.
	objects := func(format, joint string) string {
		var all []string
		for i := range small {
			at := start.Add(time.Duration(i) * 10 * time.Minute)
			all = append(all, strings.NewReplacer("TIME", at.Format(time.RFC3339), "UNIX", strconv.FormatInt(at.UnixMilli(), 10), "VALUE", fmt.Sprintf("%.3f", level(i))).Replace(format))
		}
		return strings.Join(all, joint)
	}
	// long2 are rows of each time.
	long2 := func(header string, rows ...string) string {
		return header + "\n" + objects(strings.Join(rows, "\n"), "\n") + "\n"
	}
	// clocks are set in a place on a night.
	clocks := func(place string, every time.Duration, year int, month time.Month, day int) string {
		zone, err := time.LoadLocation(place)
		if err != nil {
			t.Fatal(err)
		}
		return lines("time,value", func(i int, _ time.Time, v float64) string {
			at := time.Date(year, month, day, 0, 0, 0, 0, zone).Add(time.Duration(i-60) * every)
			return fmt.Sprintf("%s,%.3f", at.Format(time.DateTime), v)
		})
	}
	fall := all("local times: clocks were set at", "2 anomalous, 1 incident; 0 rows skipped")
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
		"a sign behind":                    {row("time,value", func(_ int, v float64) string { return fmt.Sprintf(",%.3f-", v) }), nil, all("is -59.98, ")},
		"currencies":                       {row("time,value", func(_ int, v float64) string { return fmt.Sprintf(",$%.3f", v) }), nil, all("is 59.98 $, ")},
		"1.#QNAN is no 1":                  {instead("1.#QNAN", 20, 3), nil, all("8 cells hold no number")},
		"half days":                        {strings.NewReplacer("AM", "a. m.", "PM", "p. m.").Replace(dated("time,value", "2006-01-02 3:04 PM", ",")), nil, all("2026-03-02T01:00:00 ")},
		"Java's places":                    {dated("time,value", "2006-01-02T15:04:05+01:00[Europe/Berlin]", ","), nil, all()},
		// series that are not called so
		"a key of texts":   {long2("time,Zone,temp", "TIME,A,VALUE", "TIME,B,50"), nil, want{exitFailed, 2 * small, 1, []string{`rows of the same time differ in column "Zone": each of its values ("A", "B") is a series`, "judged by auto: A"}}},
		"a key of numbers": {long2("time,slave_id,value", "TIME,1,VALUE", "TIME,2,50"), nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: 1"}}},
		"two keys":         {long2("time,Building,Room,temp", "TIME,N,r1,VALUE", "TIME,N,r2,50", "TIME,S,r1,50", "TIME,S,r2,50"), nil, want{exitFailed, 4 * small, 1, []string{"judged by auto: N/r1"}}},
		"one after the other": {"time,Zone,temp\n" + objects("TIME,A,VALUE", "\n") + "\n" + objects("TIME,B,50", "\n") + "\n", nil,
			want{exitFailed, 2 * small, 1, []string{"judged by auto: A"}}},
		"each row twice": {long2("time,value", "TIME,VALUE", "TIME,VALUE"), nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: value"}}},
		"times alone":    {"time\n" + strings.NewReplacer("T", " ", "Z", "").Replace(objects("TIME", "\n")) + "\n", nil, refused("got 1 columns")},
		// what is judged by what
		"one column of several": {row("time,a,b", func(_ int, v float64) string { return fmt.Sprintf(",5,%.3f", v) }), []string{"--columns", "b"}, all("judged by auto: b (no season)\n")},
		"texts among chosen columns": {row("time,mode,temp", func(i int, v float64) string { return fmt.Sprintf(",%s,%.3f", []string{"idle", "run"}[i/5%2], v) }),
			[]string{"--columns", "mode,temp"}, all("judged by auto: mode (states), temp (no season)\n")},
		"texts among chosen columns of a group": {row("time,mode,temp,flow", func(i int, v float64) string {
			return fmt.Sprintf(",%s,%.3f,%d", []string{"idle", "run"}[i/5%2], v, i%7)
		}),
			[]string{"--columns", "mode,temp,flow"}, all("autogroup takes numbers, not the texts of mode: they are judged alone\n", "mode (states)", "all together by autogroup (not judged)")},
		// what is no recording
		// clocks that are set
		"clocks in Berlin":   {clocks("Europe/Berlin", 10*time.Minute, 2026, 3, 29), nil, fall},
		"an hour in Berlin":  {clocks("Europe/Berlin", time.Hour, 2026, 10, 25), nil, fall},
		"clocks in Santiago": {clocks("America/Santiago", 10*time.Minute, 2026, 4, 5), nil, fall},
		"clocks in Beirut":   {clocks("Asia/Beirut", 10*time.Minute, 2026, 3, 29), nil, fall},
		"half an hour":       {clocks("Australia/Lord_Howe", 10*time.Minute, 2026, 4, 5), nil, fall},
		"a gap of an hour":   {strings.Replace(dated("time,value", time.DateTime, ","), "2026-03-01 04:00:00", "# 2026-03-01 04:00:00", 1), nil, want{exitFailed, small - 1, 1, []string{"; 0 rows skipped\njudged"}}},
		// how times are written
		"the time before its day": {lines("zeit;wert", func(_ int, at time.Time, v float64) string { return at.Format("15:04:05 02.01.2006;") + german(v) }), nil, all()},
		"a colon before milliseconds": {lines("zeit;wert", func(_ int, at time.Time, v float64) string {
			return at.Format("02.01.2006 15:04:05") + ":250;" + german(v)
		}), nil, all("2026-03-02T01:00:00")},
		"the day of the year":   {dated("time,value", "2006-002 15:04", ","), nil, all()},
		"Japanese":              {dated("日時,温度", "2006年1月2日 15時04分", ","), nil, all("judged by auto: 温度")},
		"a time of day alone":   {dated("time,value", "15:04:05", ","), nil, refused("a time of day without its day")},
		"no times, said so":     {"value\n" + strings.ReplaceAll(objects("VALUE", "\n"), " ", "") + "\n", []string{"--time-column", "none"}, all(`the rows are counted by column "row"`, "judged by auto: value", "\n150    152 ")},
		"no times and no names": {objects("VALUE", "\n") + "\n", []string{"--time-column", "none"}, all("the rows are counted")},
		"readings alone":        {"value\n" + objects("VALUE", "\n") + "\n", nil, refused("--time-column none counts the rows")},
		// how tables are written
		"blanks between columns": {lines("Date       Time   Temp", func(_ int, at time.Time, v float64) string {
			return at.Format("2006-01-02  15:04  ") + fmt.Sprintf("%8.3f", v)
		}), nil, all("judged by auto: Temp")},
		"quoted as formulas": {row("time,temp", func(_ int, v float64) string { return fmt.Sprintf(`,="%.3f"`, v) }), nil, all("judged by auto: temp")},
		"quoted as in databases": {lines("'time','temp'", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("'%s','%.3f'", at.Format(time.DateTime), v)
		}), nil, all("judged by auto: temp")},
		"names of groups above": {"Boiler 7,,\n,Supply,Return\n" + row("Time,Temp,Flow", func(i int, v float64) string { return fmt.Sprintf(",%.3f,%d", v, i%7) }), nil, all("judged by auto: Temp (no season), Flow", "; 0 rows skipped")},
		"registers for names":   {row("Timestamp,40001,40002", func(i int, v float64) string { return fmt.Sprintf(",%.3f,%d", v, i%7) }), nil, all("judged by auto: 40001 (no season), 40002", "; 0 rows skipped")},
		"tags without a header": {lines("", func(_ int, at time.Time, v float64) string {
			return fmt.Sprintf("TI101.PV,%s,%.3f", at.Format(time.DateTime), v)
		}), nil, all("judged by auto: TI101.PV")},
		"Cyrillic of Excel": {cyrillic(t, lines("Дата;Значение", func(_ int, at time.Time, v float64) string { return at.Format("2006-01-02 15:04;") + german(v) })), nil, all("judged by auto: Значение")},
		"units of a prefix": {row("time,power", func(_ int, v float64) string {
			if v > 20 {
				return fmt.Sprintf(",%.5f kW", v/20)
			}
			return fmt.Sprintf(",%.2f W", v*50)
		}), nil, all(`different units ("W", "kW"): they are taken in W`, " W from ")},
		"identifiers that begin with digits": {lines("", func(i int, at time.Time, v float64) string {
			return fmt.Sprintf(`{"_msgid":"%d%c%c","topic":"boiler","payload":%.3f,"timestamp":%d}`, i, 'a'+i%26, 'a'+i%17, v, at.UnixMilli())
		}), nil, all("judged by auto: boiler (")},
		"0 for good, as Wonderware": {row("DateTime,TagName,Value,Quality", func(_ int, v float64) string { return fmt.Sprintf(",R1,%.3f,0", v) }), nil,
			all(`column "Quality" says of no reading that it is good ("0"): it is left aside`)},
		"two qualities":     {row("DateTime,TagName,Value,Quality,OPCQuality", func(_ int, v float64) string { return fmt.Sprintf(",R1,%.3f,0,192", v) }), nil, all(`column "OPCQuality" says which readings are good`)},
		"labels in French":  {strings.Replace(labelled("non", "oui"), "label", "Anomalie", 1), nil, all("labels: 1 fault, 1 found")},
		"labels of attacks": {strings.Replace(labelled("Normal", "Attack"), "label", "Normal/Attack", 1), nil, all("labels: 1 fault, 1 found")},
		// JSON that is no object a line
		"objects under a key":   {`{"data":[` + objects(`{"time":"TIME","value":VALUE}`, ",") + `]}`, nil, all("judged by auto: value")},
		"objects on lines":      {objects("{\n \"time\": \"TIME\",\n \"value\": VALUE\n}", "\n"), nil, all("judged by auto: value")},
		"ThingsBoard":           {`{"temperature":[` + objects(`{"ts":UNIX,"value":"VALUE"}`, ",") + `],"humidity":[` + objects(`{"ts":UNIX,"value":"50"}`, ",") + `]}`, nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: humidity", "temperature"}}},
		"pairs":                 {`[` + objects(`[UNIX,VALUE]`, ",") + `]`, nil, all("judged by auto: column 2")},
		"Graphite":              {`[{"target":"a","datapoints":[` + objects(`[VALUE,UNIX]`, ",") + `]},{"target":"b","datapoints":[` + objects(`[5,UNIX]`, ",") + `]}]`, nil, want{exitFailed, 2 * small, 1, []string{"judged by auto: a"}}},
		"a list of each column": {`{"time":["` + objects("TIME", `","`) + `"],"value":[` + objects("VALUE", ",") + `]}`, nil, all("judged by auto: value")},
		"InfluxDB 1":            {`{"results":[{"statement_id":0,"series":[{"name":"temp","columns":["time","value"],"values":[` + objects(`["TIME",VALUE]`, ",") + `]}]}]}`, nil, all("judged by auto: value")},
		"Home Assistant's minimal answer": {`[[{"entity_id":"sensor.a","state":"20","last_changed":"2026-02-28T23:00:00Z"},` + objects(`{"state":"VALUE","last_changed":"TIME"}`, ",") + `]]`, nil,
			want{exitFailed, small + 1, 1, []string{"judged by auto: sensor.a (no season)\n"}}},
		"a partial answer": {`{"status":"success","isPartial":true,"warnings":["store x is away"],"data":{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[` + strings.ReplaceAll(objects(`[UNIX,"VALUE"]`, ","), "000,", ",") + `]}]}}`, nil,
			all("the answer of Prometheus is partial", "Prometheus warns: store x is away")},
		"an error of InfluxDB":    {"#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,failed to parse query,897\n", nil, refused("this is an error of InfluxDB: failed to parse query")},
		"an error without a type": {`{"status":"error","error":"query timed out"}`, nil, refused("answer of Prometheus", "query timed out")},
		"an answer of a server":   {`{"code":"unauthorized","message":"unauthorized access"}`, nil, refused(`an answer, not a recording: "unauthorized access"`)},
		"no series":               {`{"status":"success","data":{"resultType":"matrix","result":[]}}`, nil, refused("the answer of Prometheus has no series")},
		"labels of Prometheus":    {`{"status":"success","data":["a","b"]}`, nil, refused("answer of Prometheus", "/api/v1/query_range")},
	} {
		t.Run(name, func(t *testing.T) { c.want.of(t, c.text, c.args...) })
	}
}

func cyrillic(t *testing.T, text string) string {
	t.Helper()
	out, err := charmap.Windows1251.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
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

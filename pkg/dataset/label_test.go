// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

func TestAnomalous(t *testing.T) {
	for label, want := range map[string]bool{
		"": false, " ": false, "0": false, "0.0": false, "NaN": false, "False": false, "no": false, "none": false, "OK": false, "normal": false,
		"1": true, "1.0": true, "true": true, "anomaly": true, "valve stuck": true, "-1": true,
	} {
		if got := dataset.Anomalous(label); got != want {
			t.Errorf("%q: %v, want %v", label, got, want)
		}
	}
}

func TestLabelsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		input string
		opts  dataset.CSVOptions
		want  string
	}{
		"none":         {input: "time,value\n1,2\n", want: "- "},
		"last column":  {input: "time,value,label\n1,2,leak\n2,2,\n", want: "+leak +"},
		"before value": {input: "time,Is_Anomaly,value\n1,1,2\n", want: "+1"},
		"short row":    {input: "time,value,anomaly\n1,2\n", want: "+"},
		"is the value": {input: "time,anomaly\n1,2\n", want: "-"},
		"no header":    {input: "1,2,anomaly\n", want: "-"},
		"change point": {input: "time,value,changepoint\n1,2,1\n", want: "-"},
	} {
		r := dataset.NewCSVReader(strings.NewReader(c.input), c.opts)
		records, _, err := readAll(r)
		var got []string
		for _, rec := range records {
			sign := "-"
			if r.Labelled() {
				sign = "+"
			}
			got = append(got, sign+rec.Label)
		}
		if text := strings.Join(got, " "); err != nil || text != strings.TrimSpace(c.want) {
			t.Errorf("%s: got %q, want %q; error %v", name, text, c.want, err)
		}
	}
	table := dataset.NewTableReader(strings.NewReader("time,a,b,anomaly,label\n1,2,3,1,leak\n"), dataset.TableOptions{})
	row, err := table.Read()
	if err != nil || row.Label != "1" || !table.Labelled() || len(row.Cells) != 2 {
		t.Errorf("table: %+v, error %v", row, err)
	}
}

// An export of recorded readings is read as it is.
func TestExportsAreRead(t *testing.T) {
	const export = "time,namespace,device,property,value,text,severity,score,kind,label\n" +
		"2026-03-01T12:30:00Z,default,light-1,lux,40,,normal,0.5,,\n" +
		"2026-03-01T12:30:00Z,default,light-1,state,,ON,unknown,,,leak\n"
	records, bad, err := readAll(dataset.NewCSVReader(strings.NewReader(export), dataset.CSVOptions{}))
	if err != nil || bad != nil || len(records) != 2 {
		t.Fatalf("%d records, bad rows %q, error %v", len(records), bad, err)
	}
	if r := records[0]; r.Value != 40 || r.Text != "40" || r.Series != "default/light-1/lux" || r.Label != "" {
		t.Errorf("%+v", r)
	}
	if r := records[1]; r.Text != "ON" || r.Value == r.Value || r.Series != "default/light-1/state" || r.Label != "leak" {
		t.Errorf("%+v", r)
	}
}

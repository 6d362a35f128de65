// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package streams_test

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/streams"
	"github.com/kubeedge/edge-anomaly/driver"
)

// A recording of 40 rows with faults in rows 10 to 13 and 30; by hand.
func TestFigures(t *testing.T) {
	const rows = 40
	truth := make([]bool, rows)
	for _, i := range []int{10, 11, 12, 13, 30} {
		truth[i] = true
	}
	for name, c := range map[string]struct {
		anomalous []int
		want      streams.Figures
	}{
		"nothing": {nil, streams.Figures{Hit: 0, Right: math.NaN(), Delay: math.NaN()}},
		// The alert in rows 12 and 13 is the first event's, two rows late; that in row 2 is false, and more than 10 rows before.
		"late, and a false one": {[]int{1, 12, 13}, streams.Figures{
			Hit: 0.5, Right: 0.5, FalseAlerts: 1e4 / 35, Held: 2. / 5, Flagged: 1. / 35, Delay: 2,
		}},
		// Row 23 is ten rows after the first event, row 24 eleven; both and row 34 are one alert that is right.
		"just after":     {[]int{23, 24, 34}, streams.Figures{Hit: 1, Right: 1, Flagged: 1. / 35, Delay: 13}},
		"one row of all": {[]int{30}, streams.Figures{Hit: 0.5, Right: 1, Held: 1. / 5}},
	} {
		t.Run(name, func(t *testing.T) {
			verdicts := make([]streams.Verdict, rows)
			for i := range verdicts {
				verdicts[i].Judged = true
			}
			for _, i := range c.anomalous {
				verdicts[i].Anomalous = true
			}
			var tally streams.Tally
			if err := tally.Add(truth, verdicts); err != nil {
				t.Fatal(err)
			}
			c.want.Set, c.want.Series, c.want.Events = "set", 1, 2
			c.want.KindRight, c.want.Inside, c.want.Width = math.NaN(), math.NaN(), math.NaN()
			got := tally.Figures("set")
			if got.Precision != 5./rows || got.ROC != 0.5 {
				t.Errorf("equal scores: average precision %v and ROC %v, want %v and 0.5", got.Precision, got.ROC, 5./rows)
			}
			got.Precision, got.ROC = 0, 0
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
				t.Errorf("figures (-want +got):\n%s", diff)
			}
		})
	}
}

// Two events of a bias: the first is named a level by most of its rows, the second a spike, a third is not hit.
func TestKinds(t *testing.T) {
	truth, verdicts := make([]bool, 60), make([]streams.Verdict, 60)
	for i, k := range map[int]driver.Kind{5: driver.KindSpike, 6: driver.KindLevel, 7: driver.KindLevel, 30: driver.KindSpike, 50: ""} {
		truth[i] = true
		verdicts[i] = streams.Verdict{Judged: true, Anomalous: k != "", Kind: k}
	}
	var tally streams.Tally
	tally.AddKinds(streams.KindsOf("Node04_light_bias"), truth, verdicts)
	if f := tally.Figures(""); f.KindRight != 0.5 {
		t.Errorf("kind right %v, want 1/2", f.KindRight)
	}
	text, err := json.Marshal(tally.Figures("plant"))
	if err != nil || !strings.Contains(string(text), `{"set":"plant",`) || !strings.Contains(string(text), `"kindRight":0.5,"insideBand":null`) {
		t.Errorf("as JSON %s, %v", text, err)
	}
	if k := streams.KindsOf("Node04_light_mixed"); k != nil {
		t.Errorf("a mixture is named %v", k)
	}
}

// Readings from -1 to 1 about the hour of the day, in a band from -2 to 2 about it but for one row in 100: twice as wide
// as it need be.
func TestBand(t *testing.T) {
	const rows = 4800
	times, values, verdicts := make([]time.Time, rows), make([]float64, rows), make([]streams.Verdict, rows)
	for i := range values {
		times[i] = time.Unix(int64(i)*900, 0).UTC()
		hour := float64(times[i].Hour())
		values[i] = hour + float64(i%5-2)/2
		verdicts[i] = streams.Verdict{Lower: hour - 2, Upper: hour + 2}
		if i%100 == 0 {
			verdicts[i].Lower, verdicts[i].Upper = hour+6, hour+10
		}
	}
	verdicts[0].Lower = math.NaN()
	var tally streams.Tally
	tally.AddBand(times, values, verdicts)
	if f := tally.Figures(""); math.Abs(f.Inside-0.99) > 1e-3 || math.Abs(f.Width-2) > 0.05 {
		t.Errorf("%v inside of a band %v times as wide, want 0.99 and 2", f.Inside, f.Width)
	}
}

// What is not judged ranks last, whatever its score says.
func TestUnjudgedRanksLast(t *testing.T) {
	var tally streams.Tally
	err := tally.Add([]bool{true, false, false}, []streams.Verdict{{Score: 1}, {Score: 0.2, Judged: true}, {Score: 0.1, Judged: true}})
	if err != nil {
		t.Fatal(err)
	}
	if f := tally.Figures(""); f.ROC != 0 || f.Precision != 1./3 || f.Unjudged != 1./3 {
		t.Errorf("got %+v", f)
	}
	if err := tally.Add([]bool{true}, nil); err == nil {
		t.Error("no error for a row without a verdict")
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(path string, data string, zip bool) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if !zip {
			_, err = f.WriteString(data)
		} else {
			z := gzip.NewWriter(f)
			if _, err = z.Write([]byte(data)); err == nil {
				err = z.Close()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("index.tsv", "set\tname\tkind\trows\tfrom\tlabelled\nplant\tpump\tm\t2\t1\t1\nplant\tfan\tu\t1\t0\t0\n", false)
	write("plant/pump.csv.gz", "timestamp,c0,c1,label\n10.5,1,,0\n11,2,3,1\n", true)
	write("plant/fan.csv.gz", "timestamp,value\n1,2\n", true)
	entries, err := streams.Index(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]streams.Entry{{Set: "plant", Name: "pump", From: 1}, {Set: "plant", Name: "fan"}}, entries); diff != "" {
		t.Fatalf("index (-want +got):\n%s", diff)
	}
	got, err := entries[0].Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := &streams.Series{
		Columns: []string{"c0", "c1"}, Times: []time.Time{time.Unix(10, 5e8).UTC(), time.Unix(11, 0).UTC()},
		Rows: [][]float64{{1, math.NaN()}, {2, 3}}, Truth: []bool{false, true},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("recording (-want +got):\n%s", diff)
	}
	if _, err := entries[1].Load(dir); err == nil {
		t.Error("no error for a recording without labels")
	}
}

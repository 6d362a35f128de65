// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package skab_test

import (
	"cmp"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/skab"
)

func TestScore(t *testing.T) {
	const n, y, none = skab.Normal, skab.Anomalous, skab.Unscored
	truth := []bool{true, true, true, false, false, false, false, true, false}
	c, err := skab.Score(truth, []skab.Prediction{y, y, n, y, n, n, n, none, none})
	if err != nil || c != (skab.Count{TP: 2, FN: 1, FP: 1, TN: 3}) {
		t.Fatalf("got %+v, %v", c, err)
	}
	for what, pair := range map[string][2]float64{
		"F1": {c.F1(), 2. / 3}, "FAR": {c.FAR(), 25}, "MAR": {c.MAR(), 100. / 3},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-12 {
			t.Errorf("%s is %v, want %v", what, pair[0], pair[1])
		}
	}
	if c := (skab.Count{}); c.F1() != 0 || c.FAR() != 0 || c.MAR() != 0 {
		t.Error("nothing scored is not 0")
	}
	if _, err := skab.Score(truth, nil); err == nil {
		t.Error("no predictions for some rows: no error")
	}
}

func TestReadPredictions(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "0.csv")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	training := strings.Repeat("1\n", skab.TrainRows)
	for name, text := range map[string]string{
		"all rows": "pred\n" + training + "0\n1.0\nna\n", "scored rows": "pred\n0\n1\n\n", "carriage returns": "pred\r\n0\r\n1\r\n\r\n",
	} {
		got, err := skab.ReadPredictions(write(text), skab.TrainRows+3)
		if err != nil || len(got) != 3 || got[0] != skab.Normal || got[1] != skab.Anomalous || got[2] != skab.Unscored {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for name, text := range map[string]string{"too few": "pred\n0\n", "no number": "pred\n0\n1\nx\n", "half": "pred\n0\n1\n0.5\n", "empty": ""} {
		if got, err := skab.ReadPredictions(write(text), skab.TrainRows+3); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

func datasets(t *testing.T) string {
	dir := cmp.Or(os.Getenv("EDGE_ANOMALY_DATASETS"), filepath.Join("..", "..", "..", "..", "..", "..", "shared", "datasets"))
	if _, err := os.Stat(filepath.Join(dir, "skab")); err != nil {
		t.Skipf("no benchmark data; EDGE_ANOMALY_DATASETS may say where they are: %v", err)
	}
	return dir
}

// The figures are those of the benchmark's own notebooks, computed for the 20 files of the selection.
func TestRecordedPredictions(t *testing.T) {
	dir := datasets(t)
	corpus, err := skab.OpenCorpus(filepath.Join(dir, "skab"))
	if err != nil {
		t.Fatal(err)
	}
	for detector, want := range map[string][3]float64{ // F1, FAR, MAR
		"T2-q": {0.778, 19.8, 25.3}, "MSET": {0.798, 33.9, 13.9}, "Conv_AE": {0.775, 11.6, 30.4},
	} {
		var total skab.Count
		for _, name := range corpus.Names {
			file, err := corpus.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(file.Columns) != 8 {
				t.Fatalf("%s has the members %q, want 8", name, file.Columns)
			}
			p, err := skab.ReadPredictions(filepath.Join(dir, "skab-recorded", detector, filepath.FromSlash(name)), len(file.Rows))
			if err != nil {
				t.Fatal(err)
			}
			c, err := skab.Score(file.Truth[skab.TrainRows:], p)
			if err != nil {
				t.Fatal(err)
			}
			total.Add(c)
		}
		got := [3]float64{total.F1(), total.FAR(), total.MAR()}
		for i, within := range [3]float64{0.0005, 0.05, 0.05} {
			if math.Abs(got[i]-want[i]) > within {
				t.Errorf("%s: F1, FAR and MAR are %.4f, want %.4f", detector, got, want)
				break
			}
		}
	}
}

func TestOpenCorpusRefuses(t *testing.T) {
	if _, err := skab.OpenCorpus(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a copy of the benchmark") {
		t.Errorf("an empty directory: %v", err)
	}
}

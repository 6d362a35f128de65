// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package nab_test

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/nab"
)

func minute(i int) time.Time { return time.Date(2026, time.March, 1, 0, i, 0, 0, time.UTC) }

func minutes(n int) []time.Time {
	times := make([]time.Time, n)
	for i := range times {
		times[i] = minute(i)
	}
	return times
}

// A file of 20 rows, of which the first 3 are probation, with one window of rows 8 to 11. Values of single rows, by
// hand, with s(y) = 2/(1+exp(5y)) − 1: row 5, before the window, is −1; row 8, the first of the window, s(−1)/s(−1) = 1;
// row 10 s(−2/4)/s(−1) = 0.8482836/0.9866143 = 0.8597926; row 13, 2 rows after the window, s(2/3) = −0.9311096; row 19,
// 8 rows after it, s(8/3) = −0.9999968.
func TestScoreByHand(t *testing.T) {
	const fp = 0.11
	window := []nab.Window{{Begin: minute(8), End: minute(11)}}
	for name, c := range map[string]struct {
		flagged   map[int]float64
		raw       float64
		score     float64
		threshold float64
	}{
		// Flagging every row costs 5 rows before the window and 8 after it, which are −7.596856 together: less than a miss.
		"all rows alike":               {nil, 1 - fp*(5+7.596856), 30.71729, 0},
		"first row of the window":      {map[int]float64{8: 1}, 1, 100, 1},
		"later row of the window":      {map[int]float64{10: 1}, 0.8597926, 92.98963, 1},
		"both count once":              {map[int]float64{8: 1, 10: 1}, 1, 100, 1},
		"probation is not scored":      {map[int]float64{2: 1, 8: 0.5}, 1, 100, 0.5},
		"a false alarm before":         {map[int]float64{5: 1, 8: 1}, 1 - fp, 94.5, 1},
		"false alarms after":           {map[int]float64{8: 1, 13: 1, 19: 1}, 1 - fp*(0.9311096+0.9999968), 89.37891, 1},
		"threshold over a false alarm": {map[int]float64{5: 0.7, 8: 0.9}, 1, 100, 0.9},
		"only a false alarm":           {map[int]float64{5: 1}, 1 - fp*(5+7.596856), 30.71729, 0},
	} {
		t.Run(name, func(t *testing.T) {
			scores := make([]float64, 20)
			for i, s := range c.flagged {
				scores[i] = s
			}
			part, err := nab.NewPart(minutes(20), window, scores)
			if err != nil {
				t.Fatal(err)
			}
			got := nab.Best([]nab.Part{part})[0]
			if got.Threshold != c.threshold || math.Abs(got.Raw-c.raw) > 1e-6 || math.Abs(got.Score-c.score) > 1e-4 {
				t.Errorf("got threshold %v, raw %v, score %v; want %v, %v, %v", got.Threshold, got.Raw, got.Score, c.threshold, c.raw, c.score)
			}
			if raw := nab.RawAt([]nab.Part{part}, nab.Profiles[0], got.Threshold); raw != got.Raw {
				t.Errorf("at the best threshold the raw score is %v, want %v", raw, got.Raw)
			}
		})
	}
}

func TestDetectNothingWhereAlarmsCostMore(t *testing.T) {
	part, err := nab.NewPart(minutes(200), []nab.Window{{Begin: minute(150), End: minute(153)}}, make([]float64, 200))
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range nab.Best([]nab.Part{part}) {
		if got.Threshold != 1.1 || got.Score != 0 {
			t.Errorf("%s: score %v at %v, want 0 at a threshold over every score", got.Profile, got.Score, got.Threshold)
		}
	}
}

func TestNewPartRefusesWhatDoesNotFit(t *testing.T) {
	scores := make([]float64, 5)
	for name, f := range map[string]func() error{
		"a score too few": func() error { _, err := nab.NewPart(minutes(5), nil, scores[:4]); return err },
		"not a number": func() error {
			_, err := nab.NewPart(minutes(1), nil, []float64{math.NaN()})
			return err
		},
		"window begins at no row": func() error {
			_, err := nab.NewPart(minutes(5), []nab.Window{{Begin: minute(7), End: minute(9)}}, scores)
			return err
		},
		"window ends at no row": func() error {
			_, err := nab.NewPart(minutes(5), []nab.Window{{Begin: minute(3), End: minute(9)}}, scores)
			return err
		},
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLeaveOneOutChoosesOnTheOthers(t *testing.T) {
	window := []nab.Window{{Begin: minute(8), End: minute(11)}}
	part := func(at8, at5 float64) nab.Part {
		scores := make([]float64, 20)
		scores[8], scores[5] = at8, at5
		p, err := nab.NewPart(minutes(20), window, scores)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// Each file alone is perfect at its own threshold; at the other's, the first misses, the second has a false alarm.
	scores, err := nab.LeaveOneOut([][]nab.Part{{part(0.5, 0)}, {part(0.9, 0.6)}})
	if err != nil {
		t.Fatal(err)
	}
	if want := -1 + 1 - 0.11; math.Abs(scores[0].Raw-want) > 1e-9 {
		t.Errorf("raw score %v, want %v", scores[0].Raw, want)
	}
	if _, err := nab.LeaveOneOut([][]nab.Part{{part(1, 0)}}); err == nil {
		t.Error("one group alone: no error")
	}
}

// The benchmark publishes the outputs of its detectors. Their scores on this selection of files were computed by an
// independent implementation of the protocol that reproduces the published ones on all files.
func TestAccuracyOfTheScorer(t *testing.T) {
	dir := cmp.Or(os.Getenv("EDGE_ANOMALY_DATASETS"), filepath.Join("..", "..", "..", "..", "..", "..", "shared", "datasets"))
	corpus, err := nab.OpenCorpus(filepath.Join(dir, "nab"))
	if err != nil {
		t.Skipf("no benchmark data; EDGE_ANOMALY_DATASETS may say where they are: %v", err)
	}
	for detector, want := range map[string][3]float64{
		"ARTime":           {78.18, 69.71, 83.49},
		"windowedGaussian": {43.60, 25.93, 51.13},
	} {
		t.Run(detector, func(t *testing.T) {
			var parts []nab.Part
			for _, name := range corpus.Names {
				file, err := corpus.Load(name)
				if err != nil {
					t.Fatal(err)
				}
				category, base := path.Split(name)
				recorded := filepath.Join(dir, "nab-recorded", detector, category, detector+"_"+base)
				part, err := nab.NewPart(file.Times(), file.Windows, readScores(t, recorded))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				parts = append(parts, part)
			}
			for i, got := range nab.Best(parts) {
				t.Logf("%s: %.2f at %.6g", got.Profile, got.Score, got.Threshold)
				if math.Abs(got.Score-want[i]) > 0.005 {
					t.Errorf("%s: score %.4f, want %.2f", got.Profile, got.Score, want[i])
				}
			}
		})
	}
}

func readScores(t *testing.T, file string) []float64 {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Skipf("no recorded outputs: %v", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	scores := make([]float64, 0, len(rows))
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		scores = append(scores, v)
	}
	return scores
}

func TestOpenCorpus(t *testing.T) {
	const labels = `{"b/two.csv": [], "a/one.csv": [["2026-03-01 00:01:00.000000", "2026-03-01 00:02:00.000000"]]}`
	const data = "timestamp,value\n2026-03-01 00:00:00,1\n2026-03-01 00:01:00,2\n2026-03-01 00:02:00,3\n"
	write := func(t *testing.T, dir string, files map[string]string) {
		t.Helper()
		for name, text := range files {
			file := filepath.Join(dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the benchmark's repository": {map[string]string{"labels/combined_windows.json": labels, "data/a/one.csv": data}, "[a/one.csv b/two.csv]"},
		"a selection":                {map[string]string{"windows.json": labels, "files.txt": "a/one.csv\n", "a/one.csv": data}, "[a/one.csv]"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, c.files)
			corpus, err := nab.OpenCorpus(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(corpus.Names); got != c.want {
				t.Errorf("files are %v, want %v", got, c.want)
			}
			file, err := corpus.Load("a/one.csv")
			if err != nil {
				t.Fatal(err)
			}
			if len(file.Readings) != 3 || len(file.Windows) != 1 || !file.Windows[0].End.Equal(minute(2)) || file.Category() != "a" {
				t.Errorf("got %+v", file)
			}
		})
	}
	for name, files := range map[string]map[string]string{
		"no labels":         {"a/one.csv": data},
		"labels damaged":    {"windows.json": "{"},
		"window no time":    {"windows.json": `{"a/one.csv": [["yesterday", "today"]]}`},
		"file not labelled": {"windows.json": labels, "files.txt": "c/three.csv\n"},
	} {
		dir := t.TempDir()
		write(t, dir, files)
		if _, err := nab.OpenCorpus(dir); err == nil || strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

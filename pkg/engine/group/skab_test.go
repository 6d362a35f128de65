// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
)

// series is one file of the Skoltech Anomaly Benchmark.
type series struct {
	rows  [][]float64
	truth []bool
}

func skab(t *testing.T) []series {
	t.Helper()
	root := os.Getenv("EDGE_ANOMALY_DATASETS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "..", "shared", "datasets")
	}
	paths, err := filepath.Glob(filepath.Join(root, "skab", "*", "*.csv"))
	if err != nil || len(paths) == 0 {
		t.Skipf("no SKAB files below %s: set EDGE_ANOMALY_DATASETS to where they are", root)
	}
	all := make([]series, len(paths))
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(f)
		r.Comma = ';'
		records, err := r.ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for _, record := range records[1:] {
			v := make([]float64, 9) // eight sensors and the truth, behind the time
			for j := range v {
				if v[j], err = strconv.ParseFloat(record[j+1], 64); err != nil {
					t.Fatalf("%s: %v", path, err)
				}
			}
			all[i].rows = append(all[i].rows, v[:8])
			all[i].truth = append(all[i].truth, v[8] == 1)
		}
	}
	return all
}

// outcome counts rows in SKAB's outlier protocol, over all files.
type outcome struct{ tp, tn, fp, fn float64 }

func (o *outcome) add(truth, alarm bool) {
	switch {
	case truth && alarm:
		o.tp++
	case truth:
		o.fn++
	case alarm:
		o.fp++
	default:
		o.tn++
	}
}

func (o *outcome) f1() float64  { return o.tp / (o.tp + (o.fn+o.fp)/2) }
func (o *outcome) far() float64 { return 100 * o.fp / (o.fp + o.tn) }

// score learns from rows from..to-1 of each file and scores those from row to on.
func score(t *testing.T, files []series, from, to int, see func(row []float64) []float64) outcome {
	t.Helper()
	var o outcome
	for _, f := range files {
		c := group.DefaultConfig()
		c.TrainRows = to - from
		m, err := group.New(len(see(f.rows[0])), c)
		if err != nil {
			t.Fatal(err)
		}
		for i := from; i < len(f.rows); i++ {
			v := m.Observe(see(f.rows[i]), sec(i), nil)
			if i >= to {
				o.add(f.truth[i], v.Alarm)
			}
		}
	}
	return o
}

// TestSKAB keeps the accuracy on the benchmark, and that it rests neither on the number of a row, nor on the rows that
// were learned from, nor on units.
func TestSKAB(t *testing.T) {
	files := skab(t)
	plain := func(row []float64) []float64 { return row }
	units := func(row []float64) []float64 {
		scaled := make([]float64, len(row))
		for j, x := range row {
			scaled[j] = -1000*x + 1e4*float64(j)
		}
		return scaled
	}
	without := func(member int) func([]float64) []float64 {
		return func(row []float64) []float64 {
			return append(append([]float64{}, row[:member]...), row[member+1:]...)
		}
	}
	for _, test := range []struct {
		name     string
		from, to int
		see      func([]float64) []float64
		f1, far  float64 // limits
	}{
		{"as published", 0, 400, plain, 0.84, 12},
		{"other units", 0, 400, units, 0.84, 12},
		{"first 150 rows cut", 150, 550, plain, 0.84, 18},
		{"learned from rows 100 to 499", 100, 500, plain, 0.84, 18},
		{"learned from 250 rows", 150, 400, plain, 0.84, 18},
		{"without an accelerometer", 0, 400, without(0), 0.80, 18},
		{"without the thermocouple", 0, 400, without(5), 0.84, 18},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := score(t, files, test.from, test.to, test.see)
			t.Logf("F1 %.4f, FAR %.2f %%, MAR %.2f %%", o.f1(), o.far(), 100*o.fn/(o.fn+o.tp))
			if o.f1() < test.f1 || o.far() > test.far {
				t.Errorf("F1 %.4f with FAR %.2f %%, want at least %.2f with at most %g %%", o.f1(), o.far(), test.f1, test.far)
			}
		})
	}
}

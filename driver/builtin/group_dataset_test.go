// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// skabFile is one file of the Skoltech Anomaly Benchmark (I. D. Katser, V. O. Kozitsin, 2020): eight sensors of a water
// loop, a row a second, with one incident.
type skabFile struct {
	members []driver.Member
	rows    [][]float64
	truth   []bool
}

func skabFiles(tb testing.TB) []skabFile {
	tb.Helper()
	root := cmp.Or(os.Getenv("EDGE_ANOMALY_DATASETS"), filepath.Join("..", "..", "..", "shared", "datasets"))
	paths, err := filepath.Glob(filepath.Join(root, "skab", "*", "*.csv"))
	if err != nil || len(paths) == 0 {
		tb.Skipf("no data: set EDGE_ANOMALY_DATASETS to a directory with skab (%v)", err)
	}
	files := make([]skabFile, len(paths))
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			tb.Fatal(err)
		}
		r := csv.NewReader(f)
		r.Comma = ';'
		lines, err := r.ReadAll()
		if err := cmp.Or(err, f.Close()); err != nil {
			tb.Fatalf("%s: %v", path, err)
		}
		const sensors = 8 // behind the time, before the truth
		for _, name := range lines[0][1 : 1+sensors] {
			files[i].members = append(files[i].members, driver.Member{Key: driver.Key{Namespace: "skab", Device: "loop", Property: name}})
		}
		for _, line := range lines[1:] {
			row := make([]float64, sensors)
			for j := range row {
				if row[j], err = strconv.ParseFloat(line[1+j], 64); err != nil {
					tb.Fatalf("%s: %v", path, err)
				}
			}
			files[i].rows = append(files[i].rows, row)
			truth, err := strconv.ParseFloat(line[1+sensors], 64)
			if err != nil {
				tb.Fatalf("%s: %v", path, err)
			}
			files[i].truth = append(files[i].truth, truth == 1)
		}
	}
	return files
}

// TestSKAB keeps the accuracy on the benchmark, strictly causal and with defaults, each file learned from its first rows.
func TestSKAB(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	files := skabFiles(t)
	for _, c := range []struct {
		driver    string
		cut, rows int
		f1, far   float64 // limits
	}{
		{autogroupName, 0, 400, 0.84, 18},
		{autogroupName, 150, 400, 0.84, 18}, // the number of a row is no feature
		{autogroupName, 100, 400, 0.84, 18},
		// The others judge row by row, and see only the strongest part of an incident.
		{pcaName, 0, 400, 0.45, 10},
		{iforestName, 0, 400, 0.45, 10},
	} {
		t.Run(fmt.Sprintf("%s from row %d", c.driver, c.cut), func(t *testing.T) {
			var tp, fp, fn, tn float64
			for _, f := range files {
				g := openGroup(t, c.driver, driver.Settings{Members: f.members}, map[string]any{"trainRows": c.rows})
				for i := c.cut; i < len(f.rows); i++ {
					r := g.feed(f.rows[i]...)
					if i < c.cut+c.rows {
						if r.Severity != driver.Unknown {
							t.Fatalf("training row %d is %v", i, r.Severity)
						}
						continue
					}
					switch alarm := r.Severity.Anomalous() || r.Ongoing; {
					case f.truth[i] && alarm:
						tp++
					case f.truth[i]:
						fn++
					case alarm:
						fp++
					default:
						tn++
					}
				}
			}
			f1, far := tp/(tp+(fn+fp)/2), 100*fp/(fp+tn)
			t.Logf("F1 %.4f, FAR %.2f %%, MAR %.2f %%", f1, far, 100*fn/(fn+tp))
			if f1 < c.f1 || far > c.far {
				t.Errorf("F1 %.4f with FAR %.2f %%, want at least %.2f with at most %.0f %%", f1, far, c.f1, c.far)
			}
		})
	}
}

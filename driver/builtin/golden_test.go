// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"bytes"
	"encoding/csv"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenSignals are 600 readings each: 300 in good order, then a fault.
func goldenSignals() map[string]signal {
	const at = 300
	return map[string]signal{
		"spike": plus(gaussian(81), func(i int) float64 {
			if i == at || i == at+100 {
				return 10
			}
			return 0
		}),
		"level":    plus(gaussian(82), func(i int) float64 { return 8 * float64(min(i/at, 1)) }),
		"drift":    plus(gaussian(83), func(i int) float64 { return 0.03 * float64(max(i-at, 0)) }),
		"freeze":   then(rounded(gaussian(84), 0.1), at, constant(20)),
		"light":    light(85),
		"counter":  counter(86),
		"missing":  gappy(rhythm(87)),
		"setpoint": setpoint(88),
	}
}

// TestGolden compares scores with those in testdata/golden, so that a change of scores is seen in review. Run it with
// -update to accept one.
func TestGolden(t *testing.T) {
	var names []string
	for _, f := range univariate() {
		names = append(names, f.Info().Name)
	}
	for signalName, s := range goldenSignals() {
		t.Run(signalName, func(t *testing.T) {
			values := draw(s, 600)
			table := [][]string{append([]string{"value"}, names...)}
			feeders := make([]*feeder, len(names))
			for i, name := range names {
				feeders[i] = newFeeder(open(t, name, nil))
			}
			for _, x := range values {
				line := []string{strconv.FormatFloat(x, 'g', 6, 64)}
				for _, fd := range feeders {
					line = append(line, strconv.FormatFloat(fd.feed(x).Score, 'g', 6, 64))
				}
				table = append(table, line)
			}
			path := filepath.Join("testdata", "golden", signalName+".csv")
			if *update {
				writeGolden(t, path, table)
				return
			}
			compareGolden(t, path, table)
		})
	}
}

func writeGolden(t *testing.T, path string, table [][]string) {
	t.Helper()
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(table); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func compareGolden(t *testing.T, path string, got [][]string) {
	t.Helper()
	const tolerance = 1e-5 // processors round a fused multiply-add differently
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to write it)", err)
	}
	want, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != len(got) || len(want[0]) != len(got[0]) {
		t.Fatalf("%s has %d × %d fields, want %d × %d", path, len(want), len(want[0]), len(got), len(got[0]))
	}
	different := 0
	for i := 1; i < len(got); i++ {
		for k := range got[i] {
			g, errGot := strconv.ParseFloat(got[i][k], 64)
			w, errWant := strconv.ParseFloat(want[i][k], 64)
			if errGot != nil || errWant != nil {
				t.Fatalf("line %d: %v, %v", i+1, errGot, errWant)
			}
			if math.Abs(g-w) > tolerance*max(1, math.Abs(w)) || math.IsNaN(g) != math.IsNaN(w) {
				if different++; different <= 5 {
					t.Errorf("line %d, %s: %v, want %v", i+1, got[0][k], g, w)
				}
			}
		}
	}
	if different > 5 {
		t.Errorf("%d values differ in all", different)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package touchstone_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/touchstone"
)

// distance is the board's NormalDistribution: the norm of a row's deviations from the mean of the newest 100 rows, each
// in standard deviations of that column, in the arithmetic of float32 that the board uses.
func distance(rows [][]float32) []float32 {
	const window = 100
	out := make([]float32, len(rows))
	sum, squares := make([]float32, len(rows[0])), make([]float32, len(rows[0]))
	for t, row := range rows {
		n := float32(min(t, window))
		norm := float32(0)
		for c, x := range row {
			mean := sum[c] / n
			product := float32(n*mean) * mean
			if deviation := float32(math.Sqrt(float64(max((squares[c]-product)/(n-1), 0)))); deviation != 0 {
				z := (x - mean) / deviation
				square := z * z
				norm += square
			}
		}
		if out[t] = float32(math.Sqrt(float64(norm))); n < 2 {
			out[t] = float32(math.NaN())
		}
		for c, x := range row {
			if t >= window {
				old := rows[t-window][c]
				square := old * old
				sum[c] -= old
				squares[c] -= square
			}
			square := x * x
			sum[c] += x
			squares[c] += square
		}
	}
	return out
}

// The scorer gives the figures that the board recorded for a detector that is easily written again.
func TestReproducesTheBoard(t *testing.T) {
	base := os.Getenv("EDGE_ANOMALY_DATASETS")
	if base == "" {
		t.Skip("EDGE_ANOMALY_DATASETS names no directory with benchmark data")
	}
	dir := filepath.Join(base, "touchstone")
	recorded, err := touchstone.Recorded(filepath.Join(dir, "recorded.csv"))
	if err != nil {
		t.Skip(err)
	}
	files, err := touchstone.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		set, err := touchstone.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := recorded["NormalDistribution"][set.Name]
		if !ok {
			t.Fatalf("%s is not among the recorded", set.Name)
		}
		got := touchstone.Score(set.Truth, distance(set.Rows))
		for name, v := range map[string][2]float64{
			"ROC": {got.ROC, want.ROC}, "average precision": {got.Precision, want.Precision},
			"VUS-PR": {got.PRVolume, want.PRVolume}, "VUS-ROC": {got.ROCVolume, want.ROCVolume},
		} {
			if !(math.Abs(v[0]-v[1]) < 1e-9) {
				t.Errorf("%s: %s is %v, recorded %v", set.Name, name, v[0], v[1])
			}
		}
	}
}

// Four rows, of which the second is anomalous and has the highest score; by hand.
func TestScore(t *testing.T) {
	nan := float32(math.NaN())
	got := touchstone.Score([]bool{true, false, true, false, false}, []float32{nan, 0.25, 1, 0.5, 0})
	if got.ROC != 1 || got.Precision != 1 {
		t.Errorf("got %+v, want a perfect ranking: the first row was not judged", got)
	}
	if got := touchstone.Score([]bool{true}, []float32{nan}); !math.IsNaN(got.ROC) {
		t.Errorf("nothing judged: got %+v", got)
	}
	constant := touchstone.Score([]bool{true, false}, []float32{0.3, 0.3})
	if constant.ROC != 0.5 {
		t.Errorf("constant scores: ROC is %v, want 0.5", constant.ROC)
	}
	if m := touchstone.Mean([]touchstone.Figures{{ROC: 1, Precision: 0.5}, {ROC: math.NaN(), Precision: 0.25}}); m.ROC != 0.5 || m.Precision != 0.375 {
		t.Errorf("mean is %+v", m)
	}
}

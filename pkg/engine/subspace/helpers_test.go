// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"math/rand/v2"
	"testing"
)

// plant is n rows of members that follow two common causes, each in its own unit, with noise of a tenth.
func plant(seed uint64, n, members int) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 2))
	rows := make([][]float64, n)
	for i := range rows {
		a, b := r.NormFloat64(), r.NormFloat64()
		rows[i] = make([]float64, members)
		for j := range rows[i] {
			v := a
			if j%2 == 1 {
				v = 0.6*a - 0.8*b
			}
			rows[i][j] = float64(100*j) + float64(1+j)*(v+0.1*r.NormFloat64())
		}
	}
	return rows
}

// models fits one of each.
func models(t testing.TB, rows [][]float64, o Options) map[string]Model {
	t.Helper()
	pca, err := FitPCA(rows, PCAOptions{Options: o})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Model{"PCA": pca}
}

func argmax(v []float64) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

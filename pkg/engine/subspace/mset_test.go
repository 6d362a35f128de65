// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// parabola is rows on a curve that no plane follows.
func parabola(seed uint64, n int) [][]float64 {
	r := rand.New(rand.NewPCG(seed, 5))
	rows := make([][]float64, n)
	for i := range rows {
		x := 4*r.Float64() - 2
		rows[i] = []float64{x + 0.05*r.NormFloat64(), x*x + 0.05*r.NormFloat64(), 3 - x + 0.05*r.NormFloat64()}
	}
	return rows
}

// A fan's power follows the square of its speed, which linear models cannot see.
func ExampleFitMSET() {
	rows := parabola(1, 1000)
	mset, err := FitMSET(rows, MSETOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	pca, err := FitPCA(rows, PCAOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	off := []float64{0, 1.5, 3} // each value is common, and a speed of 0 needs no power
	fmt.Println("MSET:", mset.ScoreTo(nil, off) > 1)
	fmt.Println("PCA:", pca.ScoreTo(nil, off) > 1)
	expected := make([]float64, 3)
	mset.ExpectedTo(expected, []float64{1, math.NaN(), 2})
	fmt.Printf("expected power at speed 1: %.1f\n", expected[1])
	// Output:
	// MSET: true
	// PCA: false
	// expected power at speed 1: 1.0
}

// The estimate of a row that is in memory is that row, nearly: the similarities are inverted, not only averaged.
func TestMSETKnowsItsStates(t *testing.T) {
	m, err := FitMSET(parabola(1, 1000), MSETOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.states() {
		copy(m.z, m.memory[i*3:][:3])
		m.missing = m.missing[:0]
		m.regress()
		for j, v := range m.estimate[1:] { // speed has two signs for one power
			if math.Abs(v-m.z[j+1]) > 0.3 {
				t.Fatalf("state %d %v is estimated as %v", i, m.z, m.estimate)
			}
		}
	}
}

// A member's estimate does not move with the member.
func TestMSETMemberHasNoPartInItsOwnEstimate(t *testing.T) {
	m, err := FitMSET(plant(1, 500, 6), MSETOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]float64, 6), make([]float64, 6)
	for i, row := range plant(2, 60, 6) {
		j := i % 6
		m.ExpectedTo(a, row)
		row[j] += 5 * float64(1+j)
		m.ExpectedTo(b, row)
		if math.Abs(a[j]-b[j]) > 1e-9*math.Abs(a[j]) {
			t.Fatalf("row %d: member %d is expected at %v, with a fault at %v", i, j, a[j], b[j])
		}
	}
}

func TestMemoryHoldsTheExtremes(t *testing.T) {
	z := plant(3, 300, 4)
	scale := []float64{1, 1, 0, 1}
	for _, size := range []int{8, 50, 150} {
		chosen := choose(z, scale, size)
		n := 0
		for _, c := range chosen {
			if c {
				n++
			}
		}
		if n != size {
			t.Errorf("%d states chosen, want %d", n, size)
		}
		for j, s := range scale {
			lo, hi := 0, 0
			for i := range z {
				if z[i][j] < z[lo][j] {
					lo = i
				}
				if z[i][j] > z[hi][j] {
					hi = i
				}
			}
			if s > 0 && (!chosen[lo] || !chosen[hi]) {
				t.Errorf("of %d states none has an extreme of member %d", size, j)
			}
		}
	}
}

func TestMSETRejects(t *testing.T) {
	for _, n := range []int{7, -1, 513} {
		if _, err := FitMSET(plant(1, 100, 3), MSETOptions{Memory: n}); err == nil ||
			!strings.Contains(err.Error(), "want 8 to 512") {
			t.Errorf("Memory %d: %v", n, err)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

func normal(seed uint64, n, dim int) table {
	r := rand.New(rand.NewPCG(seed, 4))
	t := table{rows: make([][]float64, n), dim: dim}
	for i := range t.rows {
		t.rows[i] = make([]float64, dim)
		common := r.NormFloat64()
		for j := range t.rows[i] {
			t.rows[i][j] = 0.8*common + 0.6*r.NormFloat64()
		}
	}
	return t
}

// A fifth of the training rows come from a fault that nobody noticed. A classical covariance would take it for normal.
func ExampleFitMahalanobis() {
	random := rand.New(rand.NewPCG(1, 1))
	var rows [][]float64
	for i := range 500 {
		load := random.NormFloat64()
		row := []float64{50 + 5*load + random.NormFloat64(), 20 + 2*load + 0.4*random.NormFloat64()}
		if i%5 == 0 {
			row = []float64{60 + random.NormFloat64(), 14 + 0.4*random.NormFloat64()}
		}
		rows = append(rows, row)
	}
	fault := []float64{60, 14}
	for _, covariance := range []Covariance{MCD, Shrinkage} {
		m, err := FitMahalanobis(rows, MahalanobisOptions{Covariance: covariance})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("fault seen:", m.ScoreTo(nil, fault) > 1)
	}
	// Output:
	// fault seen: true
	// fault seen: false
}

// Of all subsets of three quarters of the rows, that with the least determinant is found.
func TestMCDFindsTheBestSubset(t *testing.T) {
	for seed := range uint64(5) {
		x := normal(seed, 16, 2)
		for i := range 4 {
			x.rows[i][0] += 3
		}
		least := math.Inf(1)
		for mask := range uint(1 << 16) {
			if bits.OnesCount(mask) != 12 {
				continue
			}
			var rows [][]float64
			for i, row := range x.rows {
				if mask>>i&1 == 1 {
					rows = append(rows, row)
				}
			}
			var sx, sy, sxx, sxy, syy float64
			for _, r := range rows {
				sx, sy = sx+r[0], sy+r[1]
				sxx, sxy, syy = sxx+r[0]*r[0], sxy+r[0]*r[1], syy+r[1]*r[1]
			}
			n := 12.0
			xx, xy, yy := sxx/n-sx*sx/n/n, sxy/n-sx*sy/n/n, syy/n-sy*sy/n/n
			least = min(least, xx*yy-xy*xy)
		}
		c := newConcentrator(x)
		random := rand.New(rand.NewPCG(seed, 0))
		best := math.Inf(1)
		for range mcdStarts {
			best = min(best, c.converge(c.start(random)).logDet)
		}
		if math.Abs(best-math.Log(least)) > 1e-9 {
			t.Errorf("seed %d: determinant %v, the least is %v", seed, math.Exp(best), least)
		}
	}
}

func TestMCDIsConsistentAndRobust(t *testing.T) {
	clean := normal(1, 4000, 3)
	spoilt := normal(1, 4000, 3)
	for i := range 800 {
		spoilt.rows[i*5] = []float64{8, -8, 8 + 0.1*spoilt.rows[i*5][0]}
	}
	for name, x := range map[string]table{"clean": clean, "a fifth spoilt": spoilt} {
		e := fastMCD(x, 1)
		for i := range 3 {
			if math.Abs(e.mean[i]) > 0.08 {
				t.Errorf("%s: mean %.3f, want 0", name, e.mean)
			}
			for j := range 3 {
				want := 0.64
				if i == j {
					want = 1
				}
				if math.Abs(e.cov.At(i, j)-want) > 0.08 {
					t.Errorf("%s: covariance %d,%d is %.3f, want %.2f", name, i, j, e.cov.At(i, j), want)
				}
			}
		}
		again := fastMCD(x, 1)
		if !slices.Equal(e.mean, again.mean) || !mat.Equal(e.cov, again.cov) {
			t.Errorf("%s: the same seed gives another estimate", name)
		}
	}
}

func TestMCDOfRowsOnALine(t *testing.T) {
	x := normal(2, 100, 2)
	for _, row := range x.rows {
		row[1] = row[0]
	}
	e := fastMCD(x, 1)
	if d := e.distance([]float64{1, -1}); !(d > 100) || math.IsInf(d, 1) {
		t.Errorf("a row off the line is at squared distance %v", d)
	}
}

// The terms of Ledoit and Wolf's lemma 3.2 to 3.5, computed as they are defined.
func TestLedoitWolfByDefinition(t *testing.T) {
	for _, size := range [][2]int{{200, 4}, {30, 10}, {12, 25}} {
		x := normal(5, size[0], size[1])
		n, p := size[0], size[1]
		data := mat.NewDense(n, p, nil)
		for i, row := range x.rows {
			data.SetRow(i, row)
		}
		var s mat.SymDense
		stat.CovarianceMatrix(&s, data, nil)
		s.ScaleSym(float64(n-1)/float64(n), &s)
		mu := mat.Trace(&s) / float64(p)
		norm2 := func(a mat.Matrix) float64 { f := mat.Norm(a, 2); return f * f / float64(p) }
		var target, diff mat.Dense
		target.Scale(mu, eye(p))
		diff.Sub(&s, &target)
		d2 := norm2(&diff)
		var b2 float64
		for i := range n {
			row := mat.NewVecDense(p, nil)
			for j := range p {
				row.SetVec(j, data.At(i, j)-stat.Mean(mat.Col(nil, j, data), nil))
			}
			var outer mat.Dense
			outer.Outer(1, row, row)
			outer.Sub(&outer, &s)
			b2 += norm2(&outer) / float64(n*n)
		}
		share := min(b2, d2) / d2
		e := ledoitWolf(x)
		for i := range p {
			for j := range p {
				want := (1-share)*s.At(i, j) + share*target.At(i, j)
				if math.Abs(e.cov.At(i, j)-want) > 1e-9 {
					t.Fatalf("%v: covariance %d,%d is %v, want %v", size, i, j, e.cov.At(i, j), want)
				}
			}
		}
		if math.IsInf(e.logDet, 0) || math.IsNaN(e.logDet) {
			t.Errorf("%v: not positive definite", size)
		}
	}
}

func eye(n int) mat.Matrix {
	d := mat.NewDiagDense(n, nil)
	for i := range n {
		d.SetDiag(i, 1)
	}
	return d
}

// Filling a missing member with its conditional mean leaves the distance that the others have by themselves.
func TestMissingMemberLeavesTheMarginalDistance(t *testing.T) {
	rows := plant(1, 500, 5)
	m, err := FitMahalanobis(rows, MahalanobisOptions{Covariance: Shrinkage})
	if err != nil {
		t.Fatal(err)
	}
	omega := mat.NewDense(5, 5, slices.Clone(m.impute.omega))
	var cov mat.Dense
	if err := cov.Inverse(omega); err != nil {
		t.Fatal(err)
	}
	for _, missing := range [][]int{{0}, {3}, {1, 4}} {
		for _, row := range plant(2, 20, 5) {
			m.Distance(row)
			z := slices.Clone(m.z)
			var present []int
			for j := range 5 {
				if !slices.Contains(missing, j) {
					present = append(present, j)
				} else {
					row[j] = math.NaN()
				}
			}
			sub, v := mat.NewSymDense(len(present), nil), mat.NewVecDense(len(present), nil)
			for a, i := range present {
				v.SetVec(a, z[i])
				for b, j := range present {
					sub.SetSym(a, b, cov.At(i, j))
				}
			}
			var chol mat.Cholesky
			if !chol.Factorize(sub) {
				t.Fatal("singular")
			}
			d := stat.Mahalanobis(v, mat.NewVecDense(len(present), nil), &chol)
			if got := m.Distance(row); math.Abs(got-d*d) > 1e-7*(1+d*d) {
				t.Fatalf("without %v: %v, want %v", missing, got, d*d)
			}
		}
	}
}

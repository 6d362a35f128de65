// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Two pumps in one circuit: each flow is plausible alone, but they no longer move together.
func ExampleFitPCA() {
	random := rand.New(rand.NewPCG(1, 1))
	var normal [][]float64
	for range 500 {
		demand := random.NormFloat64()
		normal = append(normal, []float64{
			30 + 2*demand + 0.1*random.NormFloat64(),
			8 + demand + 0.1*random.NormFloat64(),
			400 - 50*demand + 5*random.NormFloat64(),
		})
	}
	pca, err := FitPCA(normal, PCAOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	blame := make([]float64, 3)
	fmt.Println("together:", pca.ScoreTo(blame, []float64{32, 9, 350}) > 1)
	fmt.Println("apart:", pca.ScoreTo(blame, []float64{32, 7, 350}) > 1)
	fmt.Printf("blame: %.1f\n", blame)
	// Output:
	// together: false
	// apart: true
	// blame: [0.2 0.7 0.2]
}

// standardised is what a PCA with every component sees of rows.
func standardised(p *PCA, rows [][]float64) *mat.Dense {
	x := mat.NewDense(len(rows), p.Members(), nil)
	for i, row := range rows {
		p.load(row)
		x.SetRow(i, p.z)
	}
	return x
}

func TestPCAAgreesWithGonum(t *testing.T) {
	rows := plant(1, 400, 6)
	for k := 1; k <= 6; k++ {
		p, err := FitPCA(rows, PCAOptions{Components: k})
		if err != nil {
			t.Fatal(err)
		}
		x := standardised(p, rows)
		var pc stat.PC
		if !pc.PrincipalComponents(x, nil) {
			t.Fatal("gonum found no components")
		}
		vars := pc.VarsTo(nil)
		var vectors mat.Dense
		pc.VectorsTo(&vectors)
		for i, v := range vars {
			if math.Abs(v-p.values[i]) > 1e-9*vars[0] {
				t.Errorf("variance %d is %v, gonum has %v", i, p.values[i], v)
			}
		}
		for _, row := range plant(2, 50, 6) {
			t2, q := p.Statistics(row)
			var wantT2, wantQ float64
			z := mat.NewVecDense(6, append([]float64{}, p.z...))
			for i, v := range vars {
				s := mat.Dot(z, vectors.ColView(i))
				if i < k {
					wantT2 += s * s / v
				} else {
					wantQ += s * s
				}
			}
			if math.Abs(t2-wantT2) > 1e-8*(1+wantT2) || math.Abs(q-wantQ) > 1e-8*(1+wantQ) {
				t.Fatalf("k=%d: T² %v and Q %v, gonum's components give %v and %v", k, t2, q, wantT2, wantQ)
			}
		}
	}
}

// With every component T² is the squared Mahalanobis distance under the sample covariance.
func TestFullPCAIsMahalanobis(t *testing.T) {
	rows := plant(1, 300, 5)
	p, err := FitPCA(rows, PCAOptions{Components: 5})
	if err != nil {
		t.Fatal(err)
	}
	var cov mat.SymDense
	stat.CovarianceMatrix(&cov, standardised(p, rows), nil)
	var chol mat.Cholesky
	if !chol.Factorize(&cov) {
		t.Fatal("singular")
	}
	origin := mat.NewVecDense(5, nil)
	for _, row := range plant(2, 50, 5) {
		t2, q := p.Statistics(row)
		want := stat.Mahalanobis(mat.NewVecDense(5, append([]float64{}, p.z...)), origin, &chol)
		if math.Abs(t2-want*want) > 1e-8*t2 || q > 1e-12 {
			t.Fatalf("T² %v and Q %v, want %v and 0", t2, q, want*want)
		}
	}
}

func TestVarianceChoosesComponents(t *testing.T) {
	rows := plant(1, 1000, 8) // two causes
	for _, test := range []struct {
		variance   float64
		components int
	}{{0.5, 1}, {0.9, 2}, {1, 8}} {
		p, err := FitPCA(rows, PCAOptions{Variance: test.variance})
		if err != nil {
			t.Fatal(err)
		}
		if p.Components() != test.components || p.Explained() < test.variance-1e-9 {
			t.Errorf("variance %v: %d components explain %v, want %d", test.variance, p.Components(), p.Explained(),
				test.components)
		}
	}
	for want, o := range map[string]PCAOptions{
		"Variance is 1.5": {Variance: 1.5}, "Variance is NaN": {Variance: math.NaN()}, "Components is -1": {Components: -1},
	} {
		if _, err := FitPCA(rows, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestT2Limit(t *testing.T) {
	for _, test := range []struct {
		k, n       int
		confidence float64
		f          float64 // quantile of F(k, n−k) from the usual tables
	}{
		{1, 11, 0.95, 4.965}, {2, 20, 0.95, 3.555}, {2, 20, 0.99, 6.013}, {3, 33, 0.95, 2.922}, {5, 65, 0.99, 3.339},
	} {
		k, n := float64(test.k), float64(test.n)
		want := k * (n*n - 1) / (n * (n - k)) * test.f
		if got := T2Limit(test.k, test.n, test.confidence); math.Abs(got-want) > 1e-3*want {
			t.Errorf("k=%d n=%d: %v, want %v", test.k, test.n, got, want)
		}
	}
	// With many rows it is that of χ².
	want := distuv.ChiSquared{K: 4}.Quantile(0.99)
	if got := T2Limit(4, 1_000_000, 0.99); math.Abs(got-want) > 1e-3 {
		t.Errorf("with a million rows %v, want χ²'s %v", got, want)
	}
	if got := T2Limit(5, 5, 0.99); !math.IsInf(got, 1) {
		t.Errorf("as many rows as components: %v, want +Inf", got)
	}
}

func TestQLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for _, eigenvalues := range [][]float64{{1}, {1, 1, 1, 1}, {0.5, 0.1, 0.05, 0.01}, {3, 2, 1}} {
		q := make([]float64, 200_000)
		for i := range q {
			for _, l := range eigenvalues {
				v := r.NormFloat64()
				q[i] += l * v * v
			}
		}
		for _, confidence := range []float64{0.95, 0.99} {
			want := upperQuantile(q, confidence)
			// It is an approximation, worst where one eigenvalue dominates.
			if got := QLimit(eigenvalues, confidence); math.Abs(got-want) > 0.08*want {
				t.Errorf("%v at %v: %v, simulated %v", eigenvalues, confidence, got, want)
			}
		}
	}
	// Equal eigenvalues make it χ², of which the method is then the Wilson-Hilferty approximation.
	k, c := 6.0, distuv.UnitNormal.Quantile(0.99)
	want := k * math.Pow(c*math.Sqrt(2/(9*k))+1-2/(9*k), 3)
	if got := QLimit([]float64{1, 1, 1, 1, 1, 1}, 0.99); math.Abs(got-want) > 1e-9 {
		t.Errorf("equal eigenvalues: %v, want %v", got, want)
	}
	// One large among many small ones makes h₀ negative.
	heavy := append(make([]float64, 0, 101), 1)
	for range 100 {
		heavy = append(heavy, 0.05)
	}
	if got := QLimit(heavy, 0.99); !(got > 6 && got < 20) {
		t.Errorf("h₀ below 0: %v", got)
	}
	if got := QLimit([]float64{0, 0}, 0.99); got != 0 {
		t.Errorf("no variance: %v", got)
	}
}

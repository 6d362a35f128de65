// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// table is standardised rows, of active members only.
type table struct {
	rows [][]float64
	dim  int
}

func compact(z [][]float64, scale []float64, active int) table {
	t := table{rows: make([][]float64, len(z)), dim: active}
	for i, row := range z {
		t.rows[i] = make([]float64, 0, active)
		for j, v := range row {
			if scale[j] > 0 {
				t.rows[i] = append(t.rows[i], v)
			}
		}
	}
	return t
}

// estimate is a centre and a covariance.
type estimate struct {
	mean []float64
	cov  *mat.SymDense
	kept []bool // rows that entered; nil = all

	lower   []float64 // dim×dim: the Cholesky factor
	logDet  float64
	scratch []float64
}

// moments estimates mean and covariance of rows, without the correction for the mean.
func moments(rows [][]float64, dim int) *estimate {
	x := mat.NewDense(len(rows), dim, nil)
	for i, row := range rows {
		x.SetRow(i, row)
	}
	e := &estimate{mean: make([]float64, dim), cov: mat.NewSymDense(dim, nil)}
	for j := range dim {
		e.mean[j] = stat.Mean(mat.Col(nil, j, x), nil)
	}
	stat.CovarianceMatrix(e.cov, x, nil)
	e.cov.ScaleSym(float64(len(rows)-1)/float64(len(rows)), e.cov)
	return e
}

// factorize prepares distances. It makes the covariance positive definite where rows do not fill the space.
func (e *estimate) factorize() {
	n := e.cov.SymmetricDim()
	e.scratch = make([]float64, n)
	for ridge := 1e-9; ; ridge *= 100 {
		var c mat.Cholesky
		if c.Factorize(e.cov) && c.Cond() < 1e12 {
			var l mat.TriDense
			c.LTo(&l)
			e.lower, e.logDet = l.RawTriangular().Data, c.LogDet()
			return
		}
		for j := range n {
			e.cov.SetSym(j, j, e.cov.At(j, j)*(1+ridge)+ridge)
		}
	}
}

// distance is the squared Mahalanobis distance of a row.
func (e *estimate) distance(row []float64) float64 {
	n := len(e.mean)
	var sum float64
	for i := range n { // forward substitution
		l := e.lower[i*n:][:i+1]
		s := row[i] - e.mean[i]
		for k, v := range e.scratch[:i] {
			s -= l[k] * v
		}
		s /= l[i]
		e.scratch[i] = s
		sum += s * s
	}
	return sum
}

// ledoitWolf shrinks the sample covariance S towards μI, μ the mean variance, as far as makes the expected squared error
// least: the share of μI is min(b²/d², 1) with d² = ‖S−μI‖² and b² the mean of ‖xxᵀ−S‖²/n over the centred rows x, in
// the norm tr(AAᵀ)/p.
//
// Source: O. Ledoit, M. Wolf, A Well-Conditioned Estimator for Large-Dimensional Covariance Matrices, Journal of
// Multivariate Analysis 88(2), 2004, section 3.3.
func ledoitWolf(t table) *estimate {
	e := moments(t.rows, t.dim)
	n, p := float64(len(t.rows)), float64(t.dim)
	mu := mat.Trace(e.cov) / p
	var norm float64 // ‖S‖²·p
	for i := range t.dim {
		for j := range t.dim {
			norm += e.cov.At(i, j) * e.cov.At(i, j)
		}
	}
	d2 := norm/p - mu*mu
	var b2 float64
	x := mat.NewVecDense(t.dim, nil)
	for _, row := range t.rows {
		var square float64
		for j, v := range row {
			x.SetVec(j, v-e.mean[j])
			square += x.AtVec(j) * x.AtVec(j)
		}
		b2 += (square*square - 2*mat.Inner(x, e.cov, x) + norm) / p
	}
	b2 /= n * n
	share := 1.0
	if d2 > 0 {
		share = min(b2/d2, 1)
	}
	e.cov.ScaleSym(1-share, e.cov)
	for j := range t.dim {
		e.cov.SetSym(j, j, e.cov.At(j, j)+share*mu)
	}
	e.factorize()
	return e
}

// The search of FAST-MCD. Three quarters of the rows is the usual compromise between robustness and efficiency.
const (
	mcdShare  = 0.75
	mcdStarts = 100
	mcdBest   = 10
	mcdSteps  = 50
	mcdSearch = 1500 // rows among which the starts are compared
	mcdWeight = 0.975
)

// fastMCD is the minimum covariance determinant estimator: mean and covariance of the three quarters of rows whose
// covariance has the least determinant, made consistent for normal rows, then reweighted once.
//
// Source: P. J. Rousseeuw, K. Van Driessen, A Fast Algorithm for the Minimum Covariance Determinant Estimator,
// Technometrics 41(3), 1999, with 100 starts in place of 500, on one evenly spaced subset in place of nested ones; the
// factor of consistency is that of C. Croux, G. Haesbroeck, Journal of Multivariate Analysis 71(2), 1999.
func fastMCD(t table, seed uint64) *estimate {
	random := rand.New(rand.NewPCG(seed, 0))
	search := table{rows: every(t.rows, mcdSearch), dim: t.dim}
	c := newConcentrator(search)
	var starts []*estimate
	for range mcdStarts {
		e := c.start(random)
		for range 2 {
			e = c.step(e)
		}
		starts = append(starts, e)
	}
	slices.SortStableFunc(starts, func(a, b *estimate) int { return cmp.Compare(a.logDet, b.logDet) })
	best := c.converge(starts[0])
	for _, e := range starts[1:mcdBest] {
		if e = c.converge(e); e.logDet < best.logDet {
			best = e
		}
	}
	if len(search.rows) < len(t.rows) {
		best = newConcentrator(t).converge(best)
	}
	best.inflate(mcdShare)

	// Reweighting regains the efficiency that leaving out a quarter of good rows cost.
	cut := distuv.ChiSquared{K: float64(t.dim)}.Quantile(mcdWeight)
	kept := make([]bool, len(t.rows))
	var rows [][]float64
	for i, row := range t.rows {
		if best.distance(row) <= cut {
			kept[i] = true
			rows = append(rows, row)
		}
	}
	if len(rows) <= 2*t.dim {
		best.kept = nil
		return best
	}
	e := moments(rows, t.dim)
	e.factorize()
	e.inflate(mcdWeight)
	e.kept = kept
	return e
}

// inflate makes the covariance of the nearest share of normal rows that of all of them.
func (e *estimate) inflate(share float64) {
	p := float64(len(e.mean))
	q := distuv.ChiSquared{K: p}.Quantile(share)
	e.cov.ScaleSym(share/distuv.ChiSquared{K: p + 2}.CDF(q), e.cov)
	e.factorize()
}

// concentrator makes C-steps on a table.
type concentrator struct {
	table
	h     int
	order []int
	d     []float64
	rows  [][]float64
}

func newConcentrator(t table) *concentrator {
	c := &concentrator{table: t, h: int(math.Ceil(mcdShare * float64(len(t.rows))))}
	c.order, c.d = make([]int, len(t.rows)), make([]float64, len(t.rows))
	for i := range c.order {
		c.order[i] = i
	}
	return c
}

// start is the estimate of dim+1 random rows.
func (c *concentrator) start(random *rand.Rand) *estimate {
	c.rows = c.rows[:0]
	for i := range c.dim + 1 {
		j := i + random.IntN(len(c.order)-i)
		c.order[i], c.order[j] = c.order[j], c.order[i]
		c.rows = append(c.rows, c.table.rows[c.order[i]])
	}
	e := moments(c.rows, c.dim)
	e.factorize()
	return e
}

// step is the estimate of the h rows nearest to e: its determinant is never greater.
func (c *concentrator) step(e *estimate) *estimate {
	for i, row := range c.table.rows {
		c.d[i] = e.distance(row)
	}
	slices.SortFunc(c.order, func(a, b int) int { return cmp.Or(cmp.Compare(c.d[a], c.d[b]), a-b) })
	c.rows = c.rows[:0]
	for _, i := range c.order[:c.h] {
		c.rows = append(c.rows, c.table.rows[i])
	}
	next := moments(c.rows, c.dim)
	next.factorize()
	return next
}

func (c *concentrator) converge(e *estimate) *estimate {
	for range mcdSteps {
		next := c.step(e)
		if next.logDet >= e.logDet-1e-12 {
			return next
		}
		e = next
	}
	return e
}

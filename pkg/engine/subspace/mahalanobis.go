// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Covariance is how centre and covariance are estimated.
type Covariance uint8

// The estimators.
const (
	// MCD is the minimum covariance determinant: up to a quarter of the training rows may be anomalies.
	MCD Covariance = iota
	// Shrinkage is the sample covariance drawn towards a multiple of the identity: for many members and few rows.
	Shrinkage
)

// MahalanobisOptions is how a Mahalanobis is fitted.
type MahalanobisOptions struct {
	Options
	Covariance Covariance
	Seed       uint64 // of the subsets MCD tries: equal seeds give equal models
}

// Mahalanobis is the distance of a row from the centre under the covariance of normal rows.
type Mahalanobis struct {
	frame
	root     []float64 // members×members: the symmetric square root of the precision matrix; 0 for members left out
	quantile []float64 // of χ² by degrees of freedom
	excess   float64   // how much the limit is above that of normal rows, at least 1

	impute  imputer
	rotated []float64 // scratch
}

// FitMahalanobis fits a Mahalanobis on the complete ones of rows: at least 20, for MCD five times as many as members.
// The limit is the quantile of χ² at Confidence, or that of the training rows' distances where it is higher; with MCD,
// of those rows that its reweighting keeps.
func FitMahalanobis(rows [][]float64, o MahalanobisOptions) (*Mahalanobis, error) {
	f, confidence, err := o.frame()
	if err != nil {
		return nil, err
	}
	if o.Covariance > Shrinkage {
		return nil, fmt.Errorf("subspace: unknown covariance %d", o.Covariance)
	}
	least := 0
	if len(rows) > 0 && o.Covariance == MCD {
		least = 5 * len(rows[0])
	}
	z, err := f.fit(rows, least)
	if err != nil {
		return nil, err
	}
	m := &Mahalanobis{frame: f}
	x := compact(z, f.scale, f.active)
	est := ledoitWolf(x)
	if o.Covariance == MCD {
		est = fastMCD(x, o.Seed)
	}
	if err := m.set(est); err != nil {
		return nil, err
	}
	m.quantile = make([]float64, m.active)
	for k := range m.quantile {
		m.quantile[k] = distuv.ChiSquared{K: float64(k + 1)}.Quantile(confidence)
	}
	m.excess = 1
	var levels []float64
	for i, row := range x.rows {
		if est.kept == nil || est.kept[i] {
			levels = append(levels, est.distance(row)/m.quantile[m.active-1])
		}
	}
	m.excess = max(1, upperQuantile(levels, confidence))
	m.prepareScratch()
	return m, nil
}

// set takes over an estimate over the active members.
func (m *Mahalanobis) set(e *estimate) error {
	members := len(m.centre)
	var eigen mat.EigenSym
	if !eigen.Factorize(e.cov, true) {
		return errors.New("subspace: the eigenvalues of the covariance did not converge")
	}
	values := eigen.Values(nil)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	floor := values[len(values)-1] * 1e-12
	var active []int
	for j, s := range m.scale {
		if s > 0 {
			active = append(active, j)
		}
	}
	m.root = make([]float64, members*members)
	for a, i := range active {
		m.centre[i] += e.mean[a] * m.scale[i]
		for b, j := range active {
			var s float64
			for c, v := range values {
				s += vectors.At(a, c) * vectors.At(b, c) / math.Sqrt(max(v, floor))
			}
			m.root[i*members+j] = s
		}
	}
	return nil
}

func (m *Mahalanobis) prepareScratch() {
	members := len(m.centre)
	root := mat.NewDense(members, members, m.root)
	var omega mat.Dense
	omega.Mul(root, root.T())
	m.impute = newImputer(members, omega.RawMatrix().Data)
	m.rotated = make([]float64, members)
	m.level = math.NaN()
}

// Distance is the squared Mahalanobis distance of a row, of its members present; NaN where it cannot be judged.
func (m *Mahalanobis) Distance(row []float64) float64 {
	if !m.load(row) {
		return math.NaN()
	}
	if len(m.missing) > 0 {
		m.impute.fill(m.z, m.missing)
	}
	members := len(m.z)
	var sum float64
	for i := range m.rotated {
		var s float64
		for j, v := range m.root[i*members:][:members] {
			s += v * m.z[j]
		}
		m.rotated[i] = s
		sum += s * s
	}
	return sum
}

// ScoreTo judges a row by its squared distance relative to the limit for as many members as are present. Contributions
// are the squares of the row decorrelated with the symmetric root, which stays closest to the members (P. H. Garthwaite,
// I. Koch, Evaluating the Contributions of Individual Variables to a Quadratic Form, Australian & New Zealand Journal of
// Statistics 58(1), 2016).
func (m *Mahalanobis) ScoreTo(dst, row []float64) float64 {
	d := m.Distance(row)
	if math.IsNaN(d) {
		clear(dst)
		return d
	}
	m.level = d / (m.quantile[m.active-len(m.missing)-1] * m.excess)
	if dst != nil {
		for j, v := range m.rotated {
			dst[j] = v * v
		}
		m.absolve(dst)
	}
	return m.level
}

// ExpectedTo writes what the other members let expect of each: its conditional mean.
func (m *Mahalanobis) ExpectedTo(dst, row []float64) {
	ok := m.load(row)
	if ok && len(m.missing) > 0 {
		m.impute.fill(m.z, m.missing)
	}
	members := len(m.z)
	for j := range dst {
		dst[j] = math.NaN()
		if !ok || m.scale[j] == 0 {
			continue
		}
		omega := m.impute.omega[j*members:][:members]
		var s float64
		for i, v := range omega {
			s += v * m.z[i]
		}
		dst[j] = m.value(j, m.z[j]-s/omega[j])
	}
}

// EncodeState writes the whole model.
func (m *Mahalanobis) EncodeState(w *state.Writer) {
	m.encode(w)
	w.Floats(m.root)
	w.Floats(m.quantile)
	w.Float(m.excess)
}

// DecodeState reads a whole model, also to a zero Mahalanobis.
func (m *Mahalanobis) DecodeState(r *state.Reader) {
	m.decode(r)
	members := len(m.centre)
	m.root = matrix(r, "root", members, members)
	m.quantile = matrix(r, "quantiles", m.active, 1)
	m.excess = r.Min("excess", 1)
	for _, q := range m.quantile {
		if q <= 0 {
			r.Fail("a quantile is %v, want a positive number", q)
			break
		}
	}
	for j := range members {
		if r.Err() == nil && m.scale[j] > 0 && m.root[j*members+j] <= 0 {
			r.Fail("the root of member %d is %v, want a positive number", j, m.root[j*members+j])
		}
	}
	if r.Err() != nil {
		*m = Mahalanobis{}
		return
	}
	m.prepareScratch()
}

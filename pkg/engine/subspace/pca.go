// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// PCAOptions is how a PCA is fitted.
type PCAOptions struct {
	Options
	Variance   float64 // share of the variance that the components explain, in (0, 1]. Default 0.85
	Components int     // number of components; 0 = as many as Variance asks for
}

// PCA is principal component analysis as a monitor.
//
// Source: T. Kourti, J. F. MacGregor, Process Analysis, Monitoring and Diagnosis, Using Multivariate Projection Methods,
// Chemometrics and Intelligent Laboratory Systems 28(1), 1995.
type PCA struct {
	frame
	n                    int       // rows it was fitted on
	k                    int       // components
	vectors              []float64 // k×members: the components, row by row
	values               []float64 // variances of all components, falling; the first k are those of vectors
	limitT2, limitQ      float64
	impute               imputer
	scores, fitted, part []float64 // scratch
}

// FitPCA fits a PCA on the complete ones of rows, at least 20 and twice as many as members. The limits are those of
// [T2Limit] and [QLimit], or the same quantiles of the training rows where these are higher, as they are when rows are
// not normally distributed.
func FitPCA(rows [][]float64, o PCAOptions) (*PCA, error) {
	f, confidence, err := o.frame()
	if err != nil {
		return nil, err
	}
	if o.Variance == 0 {
		o.Variance = 0.85
	}
	if !(o.Variance > 0 && o.Variance <= 1) {
		return nil, fmt.Errorf("subspace: Variance is %v, want more than 0, at most 1", o.Variance)
	}
	if o.Components < 0 {
		return nil, fmt.Errorf("subspace: Components is %d, want 0 or more", o.Components)
	}
	least := 0
	if len(rows) > 0 {
		least = 2 * len(rows[0])
	}
	z, err := f.fit(rows, least)
	if err != nil {
		return nil, err
	}
	p := &PCA{frame: f, n: len(z)}
	if err := p.decompose(z, o); err != nil {
		return nil, err
	}
	p.prepareScratch()
	t2s, qs := make([]float64, 0, len(rows)), make([]float64, 0, len(rows))
	for _, row := range rows {
		if t2, q := p.Statistics(row); len(p.missing) == 0 {
			t2s, qs = append(t2s, t2), append(qs, q)
		}
	}
	p.limitT2 = max(T2Limit(p.k, p.n, confidence), upperQuantile(t2s, confidence))
	// Without a residual space all there is to see is rounding.
	p.limitQ = max(QLimit(p.values[p.k:], confidence), upperQuantile(qs, confidence), 1e-9*float64(p.active))
	return p, nil
}

// decompose centres the rows at their mean and finds the components.
func (p *PCA) decompose(z [][]float64, o PCAOptions) error {
	members := len(p.centre)
	x := mat.NewDense(len(z), members, nil)
	for j := range members {
		var mean float64
		for i := range z {
			mean += (z[i][j] - mean) / float64(i+1)
		}
		for i := range z {
			x.Set(i, j, z[i][j]-mean)
		}
		p.centre[j] += mean * p.scale[j]
	}
	var svd mat.SVD
	if !svd.Factorize(x, mat.SVDThinV) {
		return errors.New("subspace: the singular value decomposition did not converge")
	}
	p.values = svd.Values(nil)
	var total float64
	for i, s := range p.values {
		p.values[i] = s * s / float64(len(z)-1)
		total += p.values[i]
	}
	rank := 0
	for rank < len(p.values) && p.values[rank] > 1e-10*p.values[0] {
		rank++
	}
	p.k = min(o.Components, rank)
	if o.Components == 0 {
		for sum := 0.0; p.k < rank && sum < o.Variance*total*(1-1e-12); p.k++ {
			sum += p.values[p.k]
		}
	}
	var v mat.Dense
	svd.VTo(&v)
	p.vectors = make([]float64, p.k*members)
	for c := range p.k {
		for j := range members {
			p.vectors[c*members+j] = v.At(j, c)
		}
	}
	return nil
}

// prepareScratch makes what follows from the components: scratch memory, and the precision matrix under which missing
// members are imputed, that of probabilistic PCA (M. E. Tipping, C. M. Bishop, Journal of the Royal Statistical Society
// B 61(3), 1999).
func (p *PCA) prepareScratch() {
	members := len(p.centre)
	p.scores, p.fitted, p.part = make([]float64, p.k), make([]float64, members), make([]float64, members)
	var rest float64
	for _, v := range p.values[p.k:] {
		rest += v
	}
	rest = max(rest/float64(max(1, p.active-p.k)), 1e-6*p.values[0])
	omega := make([]float64, members*members)
	for i := range members {
		for j := range members {
			var s float64
			if i == j {
				s = 1 / rest
			}
			for c := range p.k {
				s += p.vectors[c*members+i] * p.vectors[c*members+j] * (1/p.values[c] - 1/rest)
			}
			omega[i*members+j] = s
		}
	}
	p.impute = newImputer(members, omega)
}

// Components is the number of components.
func (p *PCA) Components() int { return p.k }

// Limits are the limits of T² and Q.
func (p *PCA) Limits() (t2, q float64) { return p.limitT2, p.limitQ }

// Explained is the share of the training rows' variance that the components explain.
func (p *PCA) Explained() float64 {
	var part, total float64
	for i, v := range p.values {
		if i < p.k {
			part += v
		}
		total += v
	}
	return part / total
}

// Statistics are Hotelling's T² and the squared prediction error Q of a row, NaN where it cannot be judged.
func (p *PCA) Statistics(row []float64) (t2, q float64) {
	if !p.load(row) {
		return math.NaN(), math.NaN()
	}
	p.project()
	for c, t := range p.scores {
		t2 += t * t / p.values[c]
	}
	for j, z := range p.z {
		e := z - p.fitted[j]
		q += e * e
	}
	return t2, q
}

// project finds scores and fitted values of the row in hand.
func (p *PCA) project() {
	if len(p.missing) > 0 {
		p.impute.fill(p.z, p.missing)
	}
	members := len(p.z)
	clear(p.fitted)
	for c := range p.scores {
		v := p.vectors[c*members:][:members]
		var t float64
		for j, z := range p.z {
			t += v[j] * z
		}
		p.scores[c] = t
		for j := range p.fitted {
			p.fitted[j] += v[j] * t
		}
	}
}

// ScoreTo judges a row by the larger of T² and Q, each relative to its limit. Contributions are those to that one: to Q
// the squared residuals, to T² the complete decomposition (C. F. Alcala, S. J. Qin, Reconstruction-Based Contribution
// for Process Monitoring, Automatica 45(7), 2009, section 3.1), which is never negative.
func (p *PCA) ScoreTo(dst, row []float64) float64 {
	t2, q := p.Statistics(row)
	t2 /= p.limitT2
	q /= p.limitQ
	p.level = max(t2, q)
	if dst == nil || math.IsNaN(p.level) {
		clear(dst)
		return p.level
	}
	if q >= t2 {
		for j, z := range p.z {
			e := z - p.fitted[j]
			dst[j] = e * e
		}
	} else {
		members := len(p.z)
		clear(p.part)
		for c, t := range p.scores {
			v := p.vectors[c*members:][:members]
			t /= math.Sqrt(p.values[c])
			for j := range p.part {
				p.part[j] += v[j] * t
			}
		}
		for j, v := range p.part {
			dst[j] = v * v
		}
	}
	p.absolve(dst)
	return p.level
}

// ExpectedTo writes the projection of the row on the components.
func (p *PCA) ExpectedTo(dst, row []float64) {
	ok := p.load(row)
	if ok {
		p.project()
	}
	for j := range dst {
		dst[j] = math.NaN()
		if ok {
			dst[j] = p.value(j, p.fitted[j])
		}
	}
}

// EncodeState writes the whole model.
func (p *PCA) EncodeState(w *state.Writer) {
	p.encode(w)
	w.Int(int64(p.n))
	w.Int(int64(p.k))
	w.Floats(p.vectors)
	w.Floats(p.values)
	w.Float(p.limitT2)
	w.Float(p.limitQ)
}

// DecodeState reads a whole model, also to a zero PCA.
func (p *PCA) DecodeState(r *state.Reader) {
	p.decode(r)
	p.n = r.Count("rows", math.MaxInt32)
	members := len(p.centre)
	p.k = r.Count("components", members)
	p.vectors = matrix(r, "components", p.k, members)
	p.values = matrix(r, "variances", members, 1)
	p.limitT2 = positive(r, "limit of T²", true)
	p.limitQ = positive(r, "limit of Q", false)
	for i, v := range p.values {
		if v < 0 || i < p.k && v == 0 || i > 0 && v > p.values[i-1] {
			r.Fail("variance %d is %v, want positive and falling", i, v)
			break
		}
	}
	if r.Err() != nil {
		*p = PCA{}
		return
	}
	p.prepareScratch()
}

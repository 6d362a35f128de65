// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package group

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	ridge        = 0.05 // of a member's variance that the others never explain
	relateMemory = 8000 // rows that the covariance is the mean of
	relateRows   = 8    // for each member, before relations are believed
	relateLeast  = 200
)

// relations expects of each member what the others say: the ridge regression on all others, for all members at once,
// read off the inverse of their covariance (J. Whittaker, Graphical Models in Applied Multivariate Statistics, Wiley,
// 1990, corollary 5.8.2). The covariance is learned row by row and inverted ever more rarely.
type relations struct {
	d         int
	rows      uint64 // learned
	next      uint64 // at which the covariance is inverted again
	cov       []float64
	precision []float64 // empty until the first inversion
	scratch   []float64
}

func newRelations(d int) relations {
	return relations{d: d, next: uint64(max(relateLeast, relateRows*d)), cov: make([]float64, d*d), scratch: make([]float64, d*d)}
}

// residuals writes how far each of z lies from what the others expect, or zeros while nothing is known.
func (l *relations) residuals(dst, z []float64) bool {
	if len(l.precision) == 0 {
		clear(dst)
		return false
	}
	for j := range dst {
		row := l.precision[j*l.d:][:l.d]
		s := 0.0
		for i, v := range z {
			s += row[i] * v
		}
		dst[j] = s / row[j]
	}
	return true
}

func (l *relations) learn(z []float64) {
	l.rows++
	g := max(1/float64(l.rows), 1.0/relateMemory)
	for j, a := range z {
		row := l.cov[j*l.d:][:j+1]
		for i := range row {
			row[i] += g * (a*z[i] - row[i])
		}
	}
	if l.rows < l.next {
		return
	}
	l.next += max(l.next/2, 1)
	l.next = min(l.next, l.rows+relateMemory)
	l.invert()
}

// invert makes the precision matrix, by Cholesky's method in place. A member that does not move is related to none.
func (l *relations) invert() {
	d, a := l.d, l.scratch
	for j := range d {
		for i := range j + 1 {
			a[j*d+i] = l.cov[j*d+i]
		}
		a[j*d+j] += ridge * max(l.cov[j*d+j], 0.1)
	}
	for j := range d { // a = L Lᵀ
		for i := range j + 1 {
			s := a[j*d+i]
			for k := range i {
				s -= a[j*d+k] * a[i*d+k]
			}
			if i < j {
				a[j*d+i] = s / a[i*d+i]
			} else if s > 0 {
				a[j*d+j] = math.Sqrt(s)
			} else {
				return // rounding: what was known before is kept
			}
		}
	}
	for j := range d { // L⁻¹
		a[j*d+j] = 1 / a[j*d+j]
		for i := j + 1; i < d; i++ {
			s := 0.0
			for k := j; k < i; k++ {
				s -= a[i*d+k] * a[k*d+j]
			}
			a[i*d+j] = s / a[i*d+i]
		}
	}
	if len(l.precision) == 0 {
		l.precision = make([]float64, d*d)
	}
	for j := range d { // L⁻ᵀ L⁻¹
		for i := range j + 1 {
			s := 0.0
			for k := j; k < d; k++ {
				s += a[k*d+j] * a[k*d+i]
			}
			l.precision[j*d+i], l.precision[i*d+j] = s, s
		}
	}
}

// EncodeState implements state.Part.
func (l *relations) EncodeState(w *state.Writer) {
	w.Uint(l.rows)
	w.Uint(l.next)
	for j := range l.d {
		for _, v := range l.cov[j*l.d:][:j+1] {
			w.Float(v)
		}
	}
	w.Bool(len(l.precision) > 0)
	if len(l.precision) > 0 {
		w.Floats(l.precision)
	}
}

// DecodeState implements state.Part.
func (l *relations) DecodeState(r *state.Reader) {
	*l = newRelations(l.d)
	l.rows, l.next = r.Readings(), r.Readings()
	for j := range l.d {
		for i := range j + 1 {
			l.cov[j*l.d+i] = r.Finite("covariance")
		}
	}
	if !r.Bool() {
		return
	}
	l.precision = make([]float64, l.d*l.d)
	r.FloatsTo("precision", l.precision)
	for j := range l.d {
		for i, v := range l.precision[j*l.d:][:l.d] {
			if math.IsNaN(v) || math.IsInf(v, 0) || i == j && v <= 0 {
				r.Fail("precision %d, %d is %v, want a finite number, on the diagonal above 0", j, i, v)
				return
			}
		}
	}
}

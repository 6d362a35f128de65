// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import "math"

// imputer replaces missing members by their conditional mean given the others, under a normal model with the precision
// matrix omega. The distance of the completed row then equals that of the observed members alone.
//
// Source: P. R. C. Nelson, P. A. Taylor, J. F. MacGregor, Missing Data Methods in PCA and PLS, Chemometrics and
// Intelligent Laboratory Systems 35(1), 1996 (conditional mean replacement).
type imputer struct {
	n     int
	omega []float64 // n×n, row by row
	a, b  []float64 // scratch: the system of the missing members
}

func newImputer(n int, omega []float64) imputer {
	return imputer{n: n, omega: omega, a: make([]float64, n*n), b: make([]float64, n)}
}

// fill writes the missing members of z, which are 0 on entry. It solves omega_mm z_m = −omega_mo z_o by Cholesky's
// method, in place.
func (m *imputer) fill(z []float64, missing []int) {
	k := len(missing)
	for r, j := range missing {
		row := m.omega[j*m.n : (j+1)*m.n]
		var s float64
		for i, v := range z {
			s -= row[i] * v
		}
		m.b[r] = s
		for c := range r + 1 {
			m.a[r*k+c] = row[missing[c]]
		}
	}
	for r := range k {
		for c := range r + 1 {
			s := m.a[r*k+c]
			for i := range c {
				s -= m.a[r*k+i] * m.a[c*k+i]
			}
			if r != c {
				m.a[r*k+c] = s / m.a[c*k+c]
				continue
			}
			if !(s > 0) {
				return // not positive definite, which only a model that was tampered with is
			}
			m.a[r*k+r] = math.Sqrt(s)
		}
		s := m.b[r]
		for i := range r {
			s -= m.a[r*k+i] * m.b[i]
		}
		m.b[r] = s / m.a[r*k+r]
	}
	for r := k - 1; r >= 0; r-- {
		s := m.b[r]
		for i := r + 1; i < k; i++ {
			s -= m.a[i*k+r] * m.b[i]
		}
		m.b[r] = s / m.a[r*k+r]
	}
	for r, j := range missing {
		z[j] = min(max(m.b[r], -zLimit), zLimit)
	}
}

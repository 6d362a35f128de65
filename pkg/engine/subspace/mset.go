// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package subspace

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// MSETOptions is how an MSET is fitted.
type MSETOptions struct {
	Options
	Memory int // states remembered, 8 to 512. Default 100
}

// MSET is multivariate state estimation: it keeps a matrix of states the group was seen in, estimates each member of a row
// from the other members by way of the states that are like it, and judges the residual. A row unlike every state has
// large residuals too.
//
// The memory is chosen as by R. M. Singer, K. C. Gross, J. P. Herzog, R. W. King, S. Wegerich, Model-Based Nuclear Power
// Plant Monitoring and Fault Detection: Theoretical Foundations, Proc. Intelligent System Applications to Power Systems,
// 1997: the states with the least and the greatest value of each member (min-max), and for the rest states evenly spaced
// in the order of their norm (vector ordering). As with them, the estimate weighs states by their similarity to the row
// times the inverse of the similarities among the states. Unlike with them, the inverse is regularised, so states that
// resemble each other do no harm (kernel ridge regression with a Gaussian similarity); and a member has no part in its own
// estimate, so a faulty one cannot vouch for itself (the spillover that J. W. Hines, D. Garvey, R. Seibert, A. Usynin
// describe, NUREG/CR-6895 vol. 2, 2008). Bandwidth and ridge are those that estimate rows outside the memory best.
type MSET struct {
	frame
	memory    []float64 // states×members, standardised
	gain      []float64 // states×members: what a state adds to the estimate, a unit of similarity
	precision float64   // 1/(2h²) for bandwidth h
	spread    []float64 // of the residuals of normal rows, a member; 0 = left out
	limit     float64   // of the mean squared residual in units of spread

	total             []float64 // scratch, a state
	squares, estimate []float64 // scratch, a member
}

const (
	maxMemory = 512
	maxTrial  = 2000 // rows outside the memory on which it is tried
)

// FitMSET fits an MSET on the complete ones of rows, at least 40. At most half of them are remembered, and up to 2000 of
// the others are what bandwidth, ridge, spread and limit are learned from. The limit is the quantile of the statistic at
// Confidence on these, and at least that of independent normal residuals.
func FitMSET(rows [][]float64, o MSETOptions) (*MSET, error) {
	f, confidence, err := o.frame()
	if err != nil {
		return nil, err
	}
	if o.Memory == 0 {
		o.Memory = 100
	}
	if o.Memory < 8 || o.Memory > maxMemory {
		return nil, fmt.Errorf("subspace: Memory is %d, want 8 to %d", o.Memory, maxMemory)
	}
	z, err := f.fit(rows, 2*minRows)
	if err != nil {
		return nil, err
	}
	m := &MSET{frame: f}
	chosen := choose(z, m.scale, min(o.Memory, len(z)/2))
	var trial [][]float64
	for i, row := range z {
		if chosen[i] {
			m.memory = append(m.memory, row...)
		} else {
			trial = append(trial, row)
		}
	}
	trial = every(trial, maxTrial)
	m.prepareScratch()
	m.gain = make([]float64, len(m.memory))
	if err := m.tune(trial); err != nil {
		return nil, err
	}

	residuals := make([]float64, len(trial))
	m.spread = make([]float64, len(m.centre))
	for j := range m.spread {
		if m.scale[j] == 0 {
			continue
		}
		for i, row := range trial {
			copy(m.z, row)
			m.regress()
			residuals[i] = row[j] - m.estimate[j]
		}
		// A member that the others determine has hardly a residual: the floor keeps rounding from looking like a fault.
		_, scale := robust(residuals)
		m.spread[j] = max(scale, 1e-3)
	}
	levels := make([]float64, len(trial))
	for i, row := range trial {
		copy(m.z, row)
		m.regress()
		levels[i] = m.statistic(nil)
	}
	k := float64(m.active)
	m.limit = max(upperQuantile(levels, confidence), distuv.ChiSquared{K: k}.Quantile(confidence)/k)
	m.level = math.NaN()
	return m, nil
}

// choose marks the size states to remember, or fewer where min-max alone has more than that.
func choose(z [][]float64, scale []float64, size int) []bool {
	chosen := make([]bool, len(z))
	n := 0
	mark := func(i int) {
		if !chosen[i] && n < size {
			chosen[i] = true
			n++
		}
	}
	for j, s := range scale {
		if s == 0 {
			continue
		}
		lo, hi := 0, 0
		for i := range z {
			if z[i][j] < z[lo][j] {
				lo = i
			}
			if z[i][j] > z[hi][j] {
				hi = i
			}
		}
		mark(lo)
		mark(hi)
	}
	var rest []int
	norm := make([]float64, len(z))
	for i, row := range z {
		for _, v := range row {
			norm[i] += v * v
		}
		if !chosen[i] {
			rest = append(rest, i)
		}
	}
	slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(norm[a], norm[b]) })
	for _, i := range every(rest, size-n) {
		mark(i)
	}
	return chosen
}

// every is at most n elements of v, evenly spaced.
func every[T any](v []T, n int) []T {
	if len(v) <= n {
		return v
	}
	some := make([]T, n)
	for i := range some {
		some[i] = v[(2*i+1)*len(v)/(2*n)]
	}
	return some
}

func (m *MSET) states() int { return len(m.memory) / len(m.centre) }

func (m *MSET) prepareScratch() {
	m.total = make([]float64, m.states())
	m.squares, m.estimate = make([]float64, len(m.centre)), make([]float64, len(m.centre))
}

// tune picks bandwidth and ridge: those that estimate rows outside the memory best.
func (m *MSET) tune(trial [][]float64) error {
	trial = every(trial, 200)
	var typical float64 // squared distance between two states
	members, states := len(m.z), m.states()
	for i := 1; i < states; i++ {
		for j := range members {
			d := m.memory[i*members+j] - m.memory[(i*7919)%i*members+j]
			typical += d * d / float64(states-1)
		}
	}
	typical = max(typical, 1e-12)
	least := math.Inf(1)
	var precision float64
	var gain []float64
	for _, h := range [...]float64{0.3, 1, 3} {
		for _, ridge := range [...]float64{1e-4, 1e-3, 1e-2, 1e-1} {
			m.precision = 1 / (2 * h * h * typical)
			if !m.solve(ridge) {
				continue
			}
			var sum float64
			for _, row := range trial {
				copy(m.z, row)
				m.regress()
				for j, v := range m.estimate {
					if m.scale[j] > 0 {
						// Absolute, so that a few rows unlike any state do not decide.
						sum += math.Abs(row[j] - v)
					}
				}
			}
			if sum < least {
				least, precision, gain = sum, m.precision, slices.Clone(m.gain)
			}
		}
	}
	if gain == nil {
		return errors.New("subspace: the states in memory cannot be told apart")
	}
	m.precision, m.gain = precision, gain
	return nil
}

// solve finds the gains: for each member (K + ridge·I)⁻¹ times its values in the states, K the similarities of the states
// in the other members.
func (m *MSET) solve(ridge float64) bool {
	members, states := len(m.z), m.states()
	k := mat.NewSymDense(states, nil)
	values, gains := mat.NewVecDense(states, nil), mat.NewVecDense(states, nil)
	for j := range members {
		if m.scale[j] == 0 {
			continue
		}
		for a := range states {
			values.SetVec(a, m.memory[a*members+j])
			k.SetSym(a, a, 1+ridge)
			for b := range a {
				var s float64
				for c := range members {
					if c != j {
						d := m.memory[a*members+c] - m.memory[b*members+c]
						s += d * d
					}
				}
				k.SetSym(a, b, math.Exp(-s*m.precision))
			}
		}
		var c mat.Cholesky
		if !c.Factorize(k) || c.SolveVecTo(gains, values) != nil {
			return false
		}
		for a := range states {
			m.gain[a*members+j] = gains.AtVec(a)
		}
	}
	return true
}

// complete gives missing members of the row in hand the mean of the states that are like its other members.
func (m *MSET) complete() {
	members := len(m.z)
	nearest := math.Inf(1)
	for i := range m.total {
		state := m.memory[i*members:][:members]
		var s float64
		for j, z := range m.z {
			d := z - state[j]
			s += d * d
		}
		for _, j := range m.missing {
			s -= state[j] * state[j] // z is 0 there
		}
		m.total[i] = max(s, 0)
		nearest = min(nearest, m.total[i])
	}
	clear(m.estimate)
	var sum float64
	for i, s := range m.total {
		// The least is taken off, so that the nearest state has weight 1 however far it is.
		w := math.Exp((nearest - s) * m.precision)
		sum += w
		for _, j := range m.missing {
			m.estimate[j] += w * m.memory[i*members+j]
		}
	}
	for _, j := range m.missing {
		m.z[j] = m.estimate[j] / sum
	}
}

// regress estimates the row in hand, each member from the others.
func (m *MSET) regress() {
	if len(m.missing) > 0 {
		m.complete()
	}
	members := len(m.z)
	clear(m.estimate)
	for i := range m.total {
		state, gain := m.memory[i*members:][:members], m.gain[i*members:][:members]
		var s float64
		for j, z := range m.z {
			d := z - state[j]
			m.squares[j] = d * d
			s += d * d
		}
		for j, a := range gain {
			if a != 0 {
				m.estimate[j] += a * math.Exp((m.squares[j]-s)*m.precision)
			}
		}
	}
}

// statistic is the mean squared residual of the row in hand, in units of spread, of the members present. It writes the
// squares to dst.
func (m *MSET) statistic(dst []float64) float64 {
	for _, j := range m.missing {
		m.z[j] = m.estimate[j]
	}
	var sum float64
	for j, s := range m.spread {
		var e float64
		if s > 0 {
			e = (m.z[j] - m.estimate[j]) / s
		}
		sum += e * e
		if dst != nil {
			dst[j] = e * e
		}
	}
	return sum / float64(m.active-len(m.missing))
}

// ScoreTo judges a row by its mean squared residual relative to the limit. Contributions are squared residuals.
func (m *MSET) ScoreTo(dst, row []float64) float64 {
	if !m.load(row) {
		clear(dst)
		return math.NaN()
	}
	m.regress()
	m.level = m.statistic(dst) / m.limit
	shares(dst)
	return m.level
}

// ExpectedTo writes the estimate of the row.
func (m *MSET) ExpectedTo(dst, row []float64) {
	ok := m.load(row)
	if ok {
		m.regress()
	}
	for j := range dst {
		dst[j] = math.NaN()
		if ok {
			dst[j] = m.value(j, m.estimate[j])
		}
	}
}

// EncodeState writes the whole model.
func (m *MSET) EncodeState(w *state.Writer) {
	m.encode(w)
	w.Int(int64(m.states()))
	w.Floats(m.memory)
	w.Floats(m.gain)
	w.Float(m.precision)
	w.Floats(m.spread)
	w.Float(m.limit)
}

// DecodeState reads a whole model, also to a zero MSET.
func (m *MSET) DecodeState(r *state.Reader) {
	m.decode(r)
	n := r.Count("states", maxMemory)
	m.memory = matrix(r, "memory", n, len(m.centre))
	m.gain = matrix(r, "gain", n, len(m.centre))
	m.precision = positive(r, "precision", false)
	m.spread = matrix(r, "spread", len(m.centre), 1)
	m.limit = positive(r, "limit", false)
	if r.Err() == nil && n == 0 {
		r.Fail("no states")
	}
	for j, s := range m.spread {
		if s < 0 || r.Err() == nil && (s == 0) != (m.scale[j] == 0) {
			r.Fail("spread of member %d is %v, want positive exactly where it is active", j, s)
			break
		}
	}
	if r.Err() != nil {
		*m = MSET{}
		return
	}
	m.prepareScratch()
}

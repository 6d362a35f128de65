// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Calibration is how surprise and conflict were distributed over the training rows, so that both can be read as
// p-values.
type Calibration struct {
	surprise, conflict tail
	node               []float64 // mean surprise of each node given its parents
}

// maxIncomplete bounds the training rows with missing states that are looked at: each takes propagations.
const maxIncomplete = 4096

// Calibrate judges the rows of a table with the engine of a network learned from it. The options are those the Locator
// will have; only the fault priors matter here.
func Calibrate(e *Engine, t *Table, opt Options) (*Calibration, error) {
	if err := e.net.accepts(t); err != nil {
		return nil, err
	}
	cal := &Calibration{node: e.meanSurprise(t)}
	opt.MaxSet, opt.Alpha = 1, 0
	l, err := NewLocator(e, cal, opt)
	if err != nil {
		return nil, err
	}
	incomplete := 0
	t.Each(func(row []uint8, weight float64) bool {
		if slices.Contains(row, Missing) {
			if incomplete++; incomplete > maxIncomplete {
				return true
			}
		}
		v := l.Judge(row)
		cal.surprise.values = append(cal.surprise.values, v.Surprise)
		cal.surprise.weights = append(cal.surprise.weights, weight)
		cal.conflict.values = append(cal.conflict.values, max(v.Conflict, 0))
		cal.conflict.weights = append(cal.conflict.weights, weight)
		return true
	})
	if len(cal.surprise.values) == 0 {
		return nil, fmt.Errorf("%w: no rows to calibrate with", ErrInvalid)
	}
	cal.surprise.condense()
	cal.conflict.condense()
	return cal, nil
}

// meanSurprise is the mean of -log P(state | parents) of each node over the rows that have both; its entropy under the
// network's own table where there are none.
func (e *Engine) meanSurprise(t *Table) []float64 {
	mean := make([]float64, len(e.cards))
	for i := range e.net.Nodes {
		v := &e.net.Nodes[i]
		counts, sum := t.family(nil, i, v.Parents)
		if sum == 0 {
			counts, sum = v.CPT, float64(len(v.CPT)/len(v.States))
		}
		for at, p := range v.CPT {
			mean[i] -= counts[at] / sum * math.Log(max(p, leastProbability))
		}
	}
	return mean
}

// PValue is the share of training rows with at least this surprise or at least this conflict: twice the smaller of the
// two shares, at most 1. Each share counts the row itself, as in conformal prediction. A conflict below 0, where no
// fault is more probable than one, is no evidence.
func (c *Calibration) PValue(surprise, conflict float64) float64 {
	p := c.surprise.share(surprise)
	if conflict > 0 {
		p = min(p, c.conflict.share(conflict))
	}
	return min(1, 2*p)
}

// Rows is the number of training rows behind the calibration.
func (c *Calibration) Rows() float64 {
	if len(c.surprise.weights) == 0 {
		return 0
	}
	return c.surprise.weights[0]
}

// tail is an upper tail: ascending values, and, once condensed, the weight of all rows at or above each.
type tail struct{ values, weights []float64 }

// Values that differ by no more than this come from the same row in another order of summation.
const sameValue = 1e-9

// Sizes of a condensed tail: the top values are kept all, below them those that raise the weight by a hundredth.
const (
	topValues = 256
	maxTail   = 4096
	growth    = 1.01
)

func (t *tail) condense() {
	order := make([]int, len(t.values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case t.values[a] > t.values[b]:
			return -1
		case t.values[a] < t.values[b]:
			return 1
		}
		return a - b
	})
	var values, weights []float64
	sum, kept := 0.0, 0.0
	for k, i := range order {
		sum += t.weights[i]
		last := k+1 == len(order)
		if !last && t.values[order[k+1]] >= t.values[i]-sameValue {
			continue // the weight belongs to the lowest of equal values
		}
		if len(values) < topValues || sum >= growth*kept || last {
			values, weights, kept = append(values, t.values[i]), append(weights, sum), sum
		}
	}
	slices.Reverse(values)
	slices.Reverse(weights)
	t.values, t.weights = values, weights
}

// share is the weight of the rows at or above x. Beyond the last training row it falls to that of a single new row
// within one nat, and from there like e^-x, as the probability of a row does with its surprise.
func (t *tail) share(x float64) float64 {
	n := len(t.values)
	if n == 0 {
		return 1
	}
	lo, hi := 0, n // first value at or above x
	for lo < hi {
		if mid := (lo + hi) / 2; t.values[mid] < x-sameValue {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	total := t.weights[0]
	if lo < n {
		return (t.weights[lo] + 1) / (total + 1)
	}
	beyond := x - t.values[n-1]
	if beyond < 1 {
		return math.Pow(t.weights[n-1]+1, 1-beyond) / (total + 1)
	}
	return math.Exp(1-beyond) / (total + 1)
}

// EncodeState implements [state.Part].
func (c *Calibration) EncodeState(w *state.Writer) {
	for _, t := range []*tail{&c.surprise, &c.conflict} {
		w.Floats(t.values)
		w.Floats(t.weights)
	}
	w.Floats(c.node)
}

// DecodeState implements [state.Part].
func (c *Calibration) DecodeState(r *state.Reader) {
	var d Calibration
	for _, t := range []*tail{&d.surprise, &d.conflict} {
		t.values, t.weights = r.Floats("calibration", maxTail), r.Floats("weights", maxTail)
		if r.Err() != nil {
			return
		}
		if len(t.values) == 0 || len(t.values) != len(t.weights) {
			r.Fail("calibration of %d values with %d weights", len(t.values), len(t.weights))
			return
		}
		for i := range t.values {
			if math.IsNaN(t.values[i]) || math.IsInf(t.values[i], 0) || !(t.weights[i] > 0) || math.IsInf(t.weights[i], 0) ||
				i > 0 && (t.values[i] <= t.values[i-1] || t.weights[i] > t.weights[i-1]) {
				r.Fail("calibration value %d is out of order", i)
				return
			}
		}
	}
	d.node = r.Floats("mean surprise", MaxNodes)
	for _, x := range d.node {
		if !(x >= 0 && x < vast) {
			r.Fail("mean surprise of %v", x)
		}
	}
	if r.Err() == nil {
		*c = d
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bayes

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Discretize are the options of LearnDiscretizer.
type Discretize struct {
	// Categories, if given, are the names of the values 0, 1, 2 … of a categorical member. All other values share a
	// further state, "other".
	Categories []string
	// MaxLevels is the number of distinct values up to which each is a state; 0 means 12.
	MaxLevels int
	// MaxBins bounds the bins of a member with more values; 0 means 8.
	MaxBins int
	// Quantiles asks for bins of equal frequency instead of Bayesian blocks.
	Quantiles bool
}

// Discretizer turns the values of one member into states: categories, levels as they were found, or bins.
type Discretizer struct {
	categories []string
	cuts       []float64 // ascending; a value belongs to the state that is the number of cuts at or below it
	values     []float64 // what stands for each state: the level, or the median of the bin
	levels     bool
}

const otherState = "other"

// LearnDiscretizer learns from training values; NaN is a missing value. Numeric values become levels if there are few
// of them. Otherwise they are binned by Bayesian blocks (Scargle et al. 2013, section 2, with the event data fitness):
// the most probable piecewise constant density, which finds clusters and the gaps between them; with the penalty for a
// block raised until there are at most MaxBins. A density without structure is cut at quantiles.
func LearnDiscretizer(values []float64, opt Discretize) (*Discretizer, error) {
	if opt.MaxLevels == 0 {
		opt.MaxLevels = 12
	}
	if opt.MaxBins == 0 {
		opt.MaxBins = 8
	}
	if opt.MaxLevels < 1 || opt.MaxLevels > MaxStates || opt.MaxBins < 2 || opt.MaxBins > MaxStates {
		return nil, fmt.Errorf("%w: at most %d levels and %d bins, want 1 and 2 to %d", ErrInvalid, opt.MaxLevels, opt.MaxBins, MaxStates)
	}
	if len(opt.Categories) > 0 {
		return newCategories(opt.Categories)
	}
	sorted := make([]float64, 0, len(values))
	for _, v := range values {
		if math.IsInf(v, 0) {
			return nil, fmt.Errorf("%w: an infinite value to discretise", ErrInvalid)
		}
		if !math.IsNaN(v) {
			sorted = append(sorted, v)
		}
	}
	if len(sorted) == 0 {
		return nil, fmt.Errorf("%w: no values to discretise", ErrInvalid)
	}
	slices.Sort(sorted)
	d := &Discretizer{}
	if levels := distinct(sorted, opt.MaxLevels); levels != nil {
		d.levels, d.values = true, levels
		for i := 1; i < len(levels); i++ {
			d.cuts = append(d.cuts, middle(levels[i-1], levels[i]))
		}
		return d, nil
	}
	if !opt.Quantiles {
		d.cuts = blocks(sorted, opt.MaxBins)
	}
	if len(d.cuts) == 0 {
		d.cuts = quantiles(sorted, opt.MaxBins)
	}
	for k := 0; k <= len(d.cuts); k++ {
		from, to := 0, len(sorted)
		if k > 0 {
			from, _ = slices.BinarySearch(sorted, d.cuts[k-1])
		}
		if k < len(d.cuts) {
			to, _ = slices.BinarySearch(sorted, d.cuts[k])
		}
		if from < to {
			d.values = append(d.values, stat.Quantile(0.5, stat.Empirical, sorted[from:to], nil))
		} else { // an empty block between two cuts
			d.values = append(d.values, middle(d.cuts[k-1], d.cuts[k]))
		}
	}
	return d, nil
}

func newCategories(names []string) (*Discretizer, error) {
	if len(names) >= MaxStates {
		return nil, fmt.Errorf("%w: %d categories, want less than %d", ErrInvalid, len(names), MaxStates)
	}
	d := &Discretizer{categories: slices.Clone(names)}
	for i, name := range names {
		if name == "" || name == otherState || len(name) > MaxName || slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%w: category %d %.40q is empty, too long, taken or %q", ErrInvalid, i, name, otherState)
		}
	}
	return d, nil
}

// distinct lists the distinct values, or nothing if there are more than most.
func distinct(sorted []float64, most int) []float64 {
	var levels []float64
	for i, v := range sorted {
		if i == 0 || v != sorted[i-1] {
			if len(levels) == most {
				return nil
			}
			levels = append(levels, v)
		}
	}
	return levels
}

// middle is between a < b and greater than a, also where the floats are next to each other.
func middle(a, b float64) float64 {
	if m := a/2 + b/2; m > a {
		return m
	}
	return b
}

// quantiles cuts into bins of equal frequency, as far as ties allow.
func quantiles(sorted []float64, bins int) []float64 {
	var cuts []float64
	for k := 1; k < bins; k++ {
		c := sorted[k*len(sorted)/bins]
		if c > sorted[0] && (len(cuts) == 0 || c > cuts[len(cuts)-1]) {
			cuts = append(cuts, c)
		}
	}
	return cuts
}

// State is the state of a value: Missing for NaN, and for an infinite value of a member that is not categorical.
func (d *Discretizer) State(v float64) uint8 {
	if math.IsNaN(v) {
		return Missing
	}
	if d.categories != nil {
		if i := int(min(max(v, -1), MaxStates)); float64(i) == v && i >= 0 && i < len(d.categories) {
			return uint8(i)
		}
		return uint8(len(d.categories))
	}
	if math.IsInf(v, 0) {
		return Missing
	}
	s := 0
	for s < len(d.cuts) && d.cuts[s] <= v {
		s++
	}
	return uint8(s)
}

// Len is the number of states.
func (d *Discretizer) Len() int {
	if d.categories != nil {
		return len(d.categories) + 1
	}
	return len(d.values)
}

// Value stands for a state: its index of category, its level, or the median of its bin; NaN for "other" and Missing.
func (d *Discretizer) Value(s uint8) float64 {
	switch {
	case d.categories != nil && int(s) < len(d.categories):
		return float64(s)
	case d.categories == nil && int(s) < len(d.values):
		return d.values[s]
	}
	return math.NaN()
}

// Categories are the names of a categorical member's values, nil for another.
func (d *Discretizer) Categories() []string { return slices.Clone(d.categories) }

// States names the states: categories, levels, or bins as half-open intervals.
func (d *Discretizer) States() []string {
	if d.categories != nil {
		return append(slices.Clone(d.categories), otherState)
	}
	names := make([]string, 0, len(d.values))
	for k, v := range d.values {
		switch {
		case d.levels:
			names = append(names, number(v))
		case len(d.cuts) == 0:
			names = append(names, "any")
		case k == 0:
			names = append(names, "<"+number(d.cuts[0]))
		case k == len(d.cuts):
			names = append(names, ">="+number(d.cuts[k-1]))
		default:
			names = append(names, number(d.cuts[k-1])+".."+number(d.cuts[k]))
		}
	}
	return names
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// EncodeState implements [state.Part].
func (d *Discretizer) EncodeState(w *state.Writer) {
	w.Int(int64(len(d.categories)))
	for _, c := range d.categories {
		w.Text(c)
	}
	w.Bool(d.levels)
	w.Floats(d.cuts)
	w.Floats(d.values)
}

// DecodeState implements [state.Part].
func (d *Discretizer) DecodeState(r *state.Reader) {
	var x Discretizer
	for range r.Count("categories", MaxStates) {
		x.categories = append(x.categories, r.Text("category", MaxName))
	}
	x.levels = r.Bool()
	x.cuts, x.values = r.Floats("cuts", MaxStates), r.Floats("values", MaxStates)
	if r.Err() != nil {
		return
	}
	if x.categories != nil {
		c, err := newCategories(x.categories)
		if err != nil || len(x.cuts)+len(x.values) > 0 {
			r.Fail("categories: %v", err)
			return
		}
		*d = *c
		return
	}
	if len(x.values) != len(x.cuts)+1 {
		r.Fail("%d cuts for %d states", len(x.cuts), len(x.values))
		return
	}
	for _, list := range [][]float64{x.cuts, x.values} {
		for i, v := range list {
			if math.IsNaN(v) || math.IsInf(v, 0) || i > 0 && v <= list[i-1] {
				r.Fail("cut or value %v is out of order", v)
				return
			}
		}
	}
	*d = x
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package touchstone

import (
	"cmp"
	"math"
	"slices"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/bench/rank"
)

// What the board samples.
const (
	vusThresholds = 20
	vusBuffers    = 200
)

// tiny is the smallest difference of scores that the board sees: the machine epsilon of float32.
const tiny = 1.1920929e-07

// span is rows from first to last.
type span struct{ first, last int }

func (s span) rows() float64 { return float64(s.last - s.first + 1) }

// spansWhere are the longest spans of rows for which is holds.
func spansWhere(n int, is func(i int) bool) (spans []span) {
	for i := range n {
		switch {
		case !is(i):
		case len(spans) > 0 && spans[len(spans)-1].last == i-1:
			spans[len(spans)-1].last = i
		default:
			spans = append(spans, span{i, i})
		}
	}
	return spans
}

// widened are the spans with some more rows on both sides, those that meet merged.
func widened(spans []span, by, n int) (wide []span) {
	for _, s := range spans {
		s = span{max(s.first-by, 0), min(s.last+by, n-1)}
		if k := len(wide) - 1; k >= 0 && s.first <= wide[k].last+1 {
			wide[k].last = max(wide[k].last, s.last)
		} else {
			wide = append(wide, s)
		}
	}
	return wide
}

// covered is the mean over spans of what others cover of them, where each overlap counts by the square of its share:
// range-based recall, and precision with the two exchanged, with flat bias and a cardinality factor of the share
// (N. Tatbul et al., Precision and Recall for Time Series, NeurIPS 2018). Both are sorted and disjoint.
func covered(spans, others []span) float64 {
	sum, next := 0.0, 0
	for _, s := range spans {
		for next < len(others) && others[next].last < s.first {
			next++
		}
		for k := next; k < len(others) && others[k].first <= s.last; k++ {
			share := span{max(s.first, others[k].first), min(s.last, others[k].last)}.rows() / s.rows()
			sum += share * share
		}
	}
	return sum / float64(len(spans))
}

// rangePR is the area under the curve of range-based precision over recall, one point for each set of alarms.
func rangePR(truth []span, alarms [][]span) float64 {
	if len(truth) == 0 {
		return math.NaN()
	}
	type point struct{ recall, precision float64 }
	points := make([]point, 0, len(alarms)+2)
	for _, a := range alarms {
		p := point{recall: covered(truth, a)}
		if len(a) > 0 {
			p.precision = covered(a, truth)
		}
		points = append(points, p)
	}
	points = append(points, point{0, 1}, point{1, 0})
	slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.recall, b.recall) })
	area, at := 0.0, points[0]
	for _, p := range points[1:] {
		if p.recall-at.recall < 1e-12 { // of points above one another the first counts
			continue
		}
		area += (p.recall - at.recall) * (p.precision + at.precision) / 2
		at = p
	}
	return area
}

// volumes are the areas under the range-based PR curve and under the ROC curve, each the mean over labels widened by 0
// to 200 rows (J. Paparrizos et al., Volume Under the Surface, VLDB 2022).
func volumes(truth []span, scores []float32, order *rank.Order) (pr, roc float64) {
	n := len(scores)
	var alarms [][]span
	for _, threshold := range thresholds(scores, order) {
		alarms = append(alarms, spansWhere(n, func(i int) bool { return scores[i] >= threshold }))
	}
	var prs, rocs mean
	labels := make([]bool, n)
	for by := 0; by <= vusBuffers; by++ {
		wide := widened(truth, by, n)
		clear(labels)
		for _, s := range wide {
			for i := s.first; i <= s.last; i++ {
				labels[i] = true
			}
		}
		prs.add(rangePR(wide, alarms))
		rocs.add(order.ROC(labels))
	}
	return prs.value(), rocs.value()
}

// thresholds are the distinct scores in ascending order, thinned.
func thresholds(scores []float32, order *rank.Order) (thin []float32) {
	var distinct []float32
	for i := order.Len() - 1; i >= 0; i-- {
		s := scores[order.Row(i)]
		if k := len(distinct); k == 0 || !(s-distinct[k-1] < tiny) {
			distinct = append(distinct, s)
		}
	}
	for i := 0; i < len(distinct); i += max(len(distinct)/vusThresholds, 1) {
		thin = append(thin, distinct[i])
	}
	return thin
}

// mean is that of what is no NaN.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		m.sum += v
		m.n++
	}
}

func (m *mean) value() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return m.sum / float64(m.n)
}

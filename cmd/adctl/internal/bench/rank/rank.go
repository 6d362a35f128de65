// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package rank tells how well scores rank anomalous rows before normal ones, whatever the threshold.
package rank

import (
	"cmp"
	"math"
	"slices"
)

// Order is rows from the highest score to the lowest; rows of equal score keep their order. No score is NaN.
type Order struct {
	rows []int32
	last []bool // whether the next row has a lower score
}

// By orders rows by their scores.
func By(scores []float32) *Order {
	o := &Order{rows: make([]int32, len(scores)), last: make([]bool, len(scores))}
	for i := range o.rows {
		o.rows[i] = int32(i)
	}
	slices.SortStableFunc(o.rows, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	for i := range o.last {
		o.last[i] = i == len(scores)-1 || scores[o.rows[i+1]] != scores[o.rows[i]]
	}
	return o
}

// Len is the number of rows.
func (o *Order) Len() int { return len(o.rows) }

// Row is the i-th row, from 0, the highest.
func (o *Order) Row(i int) int { return int(o.rows[i]) }

// ROC is the area under the receiver operating characteristic: the probability that an anomalous row ranks before a
// normal one, where a tie counts one half. NaN where all rows are of one kind.
func (o *Order) ROC(truth []bool) float64 {
	positive := count(truth)
	negative := len(truth) - positive
	if positive == 0 || negative == 0 {
		return math.NaN()
	}
	area, hits, tied, alarms := 0.0, 0, 0, 0
	for i, row := range o.rows {
		if truth[row] {
			tied++
		} else {
			alarms++
		}
		if o.last[i] {
			area += float64(alarms) * (float64(hits) + float64(tied)/2)
			hits, tied, alarms = hits+tied, 0, 0
		}
	}
	return area / float64(positive) / float64(negative)
}

// AveragePrecision is the mean, over the anomalous rows, of the precision when the row is reached. Rows of equal score
// are reached together, so that their order earns nothing. NaN where no row is anomalous.
func (o *Order) AveragePrecision(truth []bool) float64 {
	return o.averagePrecision(truth, func(i int) bool { return o.last[i] })
}

// AveragePrecisionInOrder is the same with rows of equal score reached one by one, in their order.
func (o *Order) AveragePrecisionInOrder(truth []bool) float64 {
	return o.averagePrecision(truth, func(int) bool { return true })
}

func (o *Order) averagePrecision(truth []bool, reached func(i int) bool) float64 {
	positive := count(truth)
	if positive == 0 {
		return math.NaN()
	}
	sum, hits, before := 0.0, 0, 0
	for i, row := range o.rows {
		if truth[row] {
			hits++
		}
		if reached(i) {
			sum += float64(hits-before) * float64(hits) / float64(i+1)
			before = hits
		}
	}
	return sum / float64(positive)
}

func count(truth []bool) (n int) {
	for _, is := range truth {
		if is {
			n++
		}
	}
	return n
}

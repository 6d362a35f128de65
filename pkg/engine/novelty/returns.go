// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package novelty

import "math"

const stackRows = 32

// returns finds the return period of evidence: a stack of the readings that no later one has matched, strongest first.
// As evidence takes few values, the stack stays short; when full, its newest place is used again.
type returns struct {
	stack [stackRows]mark
	n     int32
}

type mark struct {
	e float32
	t uint32
}

// weigh is the evidence e at time t weighted by its return period.
func (r *returns) weigh(e float64, t uint32) float64 {
	if e <= 0 {
		return 0
	}
	v := float32(e)
	for r.n > 0 && r.stack[r.n-1].e < v {
		r.n--
	}
	period := t + 1
	if r.n > 0 {
		period = t - r.stack[r.n-1].t
	}
	switch {
	case r.n > 0 && r.stack[r.n-1].e == v:
		r.stack[r.n-1].t = t
	case r.n == stackRows:
		r.stack[r.n-1] = mark{v, t}
	default:
		r.stack[r.n] = mark{v, t}
		r.n++
	}
	if t < hideRows || period <= restRows {
		return 0
	}
	return e * math.Sqrt(math.Sqrt(float64(min(period, periodCap))))
}

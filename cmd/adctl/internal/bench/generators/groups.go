// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
)

// groups are tables of several columns.
var groups = []Generator{
	{"four slow columns", "autoregressions of .999 that have nothing to do with each other", slowColumns},
	{"group of two", "two columns of noise, one 8 deviations higher for 120 rows", groupOfTwo},
}

func slowColumns(p *player) []Figure {
	const n = 20_000
	flagged := 0.0
	for seed := range p.seeds {
		r := random(seed)
		columns := make([][]float64, 4)
		for k := range columns {
			s := slow(r, n, .999, 1)
			columns[k] = each(n, func(i int) float64 { return 20 + s[i] })
		}
		flagged += 100 * p.together(columns...).share() / float64(p.seeds)
	}
	return []Figure{{Name: "rows told, %", Value: flagged, Goal: .5, Less: true}}
}

func groupOfTwo(p *player) []Figure {
	const from, to, n = 3000, 3120, 4500
	found, late, after := 0, 0.0, 0
	for seed := range p.seeds {
		r := random(seed)
		a := each(n, func(int) float64 { return 20 + .5*r.NormFloat64() })
		b := each(n, func(int) float64 { return 5 + .2*r.NormFloat64() })
		for i := from; i < to; i++ {
			a[i] += 4
		}
		os := p.together(a, b)
		if os[from : from+30].found() {
			found++
		}
		end := to
		for end < n && os[end].Severity.Anomalous() {
			end++
		}
		late += float64(end-to) / float64(p.seeds)
		after += os[end:].incidents()
	}
	return []Figure{
		{Name: "found within 30 rows", Value: per(found, int(p.seeds)), Goal: .9},
		{Name: "rows that it is told after its end", Value: late, Goal: 15, Less: true, Detail: fmt.Sprintf("%d incidents after", after)},
	}
}

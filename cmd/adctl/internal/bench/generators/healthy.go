// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// healthy are streams without a fault.
var healthy = []Generator{
	{"trend", "a line with noise", quiet(func(r *rand.Rand) []float64 {
		return each(healthyRows, func(i int) float64 { return float64(i)/100 + r.NormFloat64() })
	})},
	{"growing season", "a day's season that grows by 2 % a day, with noise", quiet(func(r *rand.Rand) []float64 {
		return each(healthyRows, func(i int) float64 { return wave(i, 1440, 3*math.Pow(1.02, float64(i)/1440)) + .3*r.NormFloat64() })
	})},
	{"random walk", "sums of noise", quiet(func(r *rand.Rand) []float64 {
		v := 0.0
		return each(healthyRows, func(int) float64 { v += r.NormFloat64(); return v })
	})},
	{"recurring setpoints", "six levels, each for 200 to 2,000 readings, with noise", quiet(func(r *rand.Rand) []float64 {
		v, left := 0.0, 0
		return each(healthyRows, func(int) float64 {
			if left--; left < 0 {
				v, left = float64(3*r.IntN(6)), 200+r.IntN(1800)
			}
			return v + .1*r.NormFloat64()
		})
	})},
	{"noise", "noise", quiet(func(r *rand.Rand) []float64 {
		return each(healthyRows, func(int) float64 { return r.NormFloat64() })
	})},
	{"slow noise", "an autoregression of .99", quiet(func(r *rand.Rand) []float64 { return slow(r, healthyRows, .99, 1) })},
	{"season", "a day's season with noise", quiet(func(r *rand.Rand) []float64 {
		return each(healthyRows, func(i int) float64 { return wave(i, 1440, 3) + .3*r.NormFloat64() })
	})},
}

const healthyRows = 10_000

func quiet(of func(r *rand.Rand) []float64) func(p *player) []Figure {
	return func(p *player) []Figure {
		rows, alerts, flagged := 0, 0, 0
		for seed := range p.seeds {
			os := p.play(stream{x: of(random(seed))})[1000:]
			rows += len(os)
			alerts += os.incidents()
			flagged += os.count(told)
		}
		return []Figure{{
			Name: "alerts in 10,000 readings", Value: 1e4 * per(alerts, rows), Goal: 2.5, Less: true,
			Detail: fmt.Sprintf("%.2f %% of the readings", 100*per(flagged, rows)),
		}}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// extremes are readings far out of any range.
var extremes = []Generator{
	{"a spike and a step", "one reading of 15 more in a season of a day at 5 minutes, a step of 8 four days later, after a gap or none", spikeAndStep},
	{"a reading of any size", "one of ±1e12 to ±1.7e308 in noise, 30 deviations more 1,000 readings later", anySize},
}

func spikeAndStep(p *player) []Figure {
	wide, steps, held, of := 0.0, 0, 0.0, 0
	for seed := range p.seeds {
		for _, gap := range []int{0, 100} {
			r := random(seed)
			var s stream
			for i := range 3000 {
				v := 20 + wave(i, 288, 4) + .3*r.NormFloat64()
				if i == 1500 {
					v += 15
				}
				if i >= 2652 {
					v += 8
				}
				if i < 2500 || i >= 2500+gap {
					s.x, s.at = append(s.x, v), append(s.at, time.Duration(i)*5*minute)
				}
			}
			os := p.play(s)
			for i := 1520; i < 2500; i++ {
				wide = max(wide, (os[i].Upper-os[i].Lower)/2)
			}
			at := 2652 - gap
			of++
			if os[at : at+3].found() {
				steps++
			}
			held += os[at : at+100].share()
		}
	}
	return []Figure{
		{Name: "half the band, from 20 readings after the spike on", Value: wide, Goal: 1.5, Less: true},
		{Name: "steps told within 3 readings", Value: per(steps, of), Goal: .9},
		{Name: "of the step's first 100 readings told", Value: held / float64(max(of, 1)), Goal: .9},
	}
}

func anySize(p *player) []Figure {
	var figures []Figure
	for _, name := range []string{"auto", "ewma", "mad", "forecast"} {
		found, of, critical := 0, 0, 0
		for seed := range min(p.seeds, 3) {
			for _, size := range []float64{1e12, -1e12, 1e155, -1e155, 3.4e38, -3.4e38, 1.7e308, -1.7e308} {
				r := random(seed)
				os := p.play(stream{x: each(2600, func(i int) float64 {
					switch {
					case i == 1500:
						return size
					case i >= 2500:
						return 35 + .5*r.NormFloat64()
					}
					return 20 + .5*r.NormFloat64()
				})}, by(name))
				of++
				if os[2500:2510].found() {
					found++
				}
				critical += os[1502:2500].count(func(o *replayOutcome) bool { return o.Severity == driver.Critical })
			}
		}
		figures = append(figures, Figure{
			Name: "found by " + name + " after it", Value: per(found, of), Goal: 1, Detail: fmt.Sprintf("%d critical between", critical),
		})
	}
	return figures
}

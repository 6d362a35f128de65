// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
)

type replayOutcome = replay.Outcome

// stuck are sensors, switches and counters that stop, and those that stood and move.
var stuck = []Generator{
	{"coarse sensor stuck", "a day's season and slow noise read to half a degree, one value for a day", one(.9, 9000, 10440, func(r *rand.Rand) stream {
		s := slow(r, 12000, .999, .3)
		x := each(12000, func(i int) float64 { return math.Round(2*(20+wave(i, 1440, 2)+s[i])) / 2 })
		for i := 9000; i < 10440; i++ {
			x[i] = x[9000]
		}
		return stream{x: x}
	})},
	{"switch stuck", "on a third of the time, on for 600 readings", one(.9, 4500, 5100, func(r *rand.Rand) stream {
		s := slow(r, 6000, .98, 1)
		return stream{x: each(6000, func(i int) float64 {
			if s[i] > .5 || i >= 4500 && i < 5100 {
				return 1
			}
			return 0
		})}
	})},
	{"counter at half its rate", "10 a reading, then 5", one(.91, 4500, 4560, func(r *rand.Rand) stream {
		v := 0.0
		return stream{x: each(6000, func(i int) float64 {
			if v += 10 + r.NormFloat64(); i >= 4500 {
				v -= 5
			}
			return v
		})}
	})},
	{"rare events that stop", "a one among a hundred readings, none among 1,000", one(.91, 4500, 5500, func(r *rand.Rand) stream {
		return stream{x: each(6000, func(i int) float64 {
			if r.Float64() < .01 && (i < 4500 || i >= 5500) {
				return 1
			}
			return 0
		})}
	})},
	{"a day without sun", "sun and clouds every 5 minutes; then all dark: told by noon", one(.9, 11*288, 11*288+144, func(r *rand.Rand) stream {
		return sunny(r, 0)
	})},
	{"one value day and night", "the same, then 37 by day and night: told by noon", one(.9, 11*288, 11*288+144, func(r *rand.Rand) stream {
		return sunny(r, 37)
	})},
	{"a constant that jumps", "one value for 3,000 readings, then another for good", one(1, 3000, 3010, func(r *rand.Rand) stream {
		by := .1 * float64(1+r.IntN(100))
		return stream{x: each(3200, func(i int) float64 {
			if i >= 3000 {
				return 21.5 + by
			}
			return 21.5
		})}
	})},
	{"a state never met", "four states, each for some 60 readings, 4,000 readings, then a fifth", one(.9, 4000, 4060, func(r *rand.Rand) stream {
		v := 0.0
		return stream{x: each(4100, func(i int) float64 {
			if r.IntN(60) == 0 {
				v = float64(r.IntN(4))
			}
			if i >= 4000 && i < 4060 {
				return 7
			}
			return v
		})}
	})},
	{"losses", "a season of 5 with noise of .5 every 5 minutes, some readings lost at random; 230 readings without the season", losses},
}

// one measures a fault that is to be found between two readings.
func one(goal float64, from, to int, of func(r *rand.Rand) stream) func(p *player) []Figure {
	return func(p *player) []Figure {
		found, before := 0, 0
		for seed := range p.seeds {
			os := p.play(of(random(seed)))
			if os[from:to].found() {
				found++
			}
			before += os[1500:from].incidents()
		}
		return []Figure{
			{Name: "found", Value: per(found, int(p.seeds)), Goal: goal, Detail: fmt.Sprintf("%d of %d, %d alerts before", found, p.seeds, before)},
		}
	}
}

// sunny is what the sun gives on eleven days, and one value for a twelfth.
func sunny(r *rand.Rand, last float64) stream {
	const n = 12 * 288
	cloud := slow(r, n, .95, .3)
	return stream{at: spaced(n, 5*minute), x: each(n, func(i int) float64 {
		if i >= 11*288 {
			return last
		}
		return math.Round(100 * max(0, -math.Cos(2*math.Pi*float64(i)/288)) * math.Exp(-math.Abs(cloud[i])))
	})}
}

func losses(p *player) []Figure {
	worst, detail := 1.0, ""
	marked := 0.0
	for _, lost := range []float64{0, .02, .05, .1, .2} {
		found := 0
		for seed := range p.seeds {
			r := random(seed)
			var s stream
			for i := 0; len(s.x) < 6000; i++ {
				v := 20 + .5*r.NormFloat64()
				if k := len(s.x); k < 4500 || k >= 4730 {
					v += wave(i, 288, 5)
				}
				if r.Float64() >= lost {
					s.x, s.at = append(s.x, v), append(s.at, time.Duration(i)*5*minute)
				}
			}
			os := p.play(s)
			if os[4500:4730].found() {
				found++
			}
			marked = max(marked, float64(os.count(func(o *replayOutcome) bool { return o.Severity.Anomalous() && !told(o) }))/6000)
		}
		worst = min(worst, per(found, int(p.seeds)))
		detail += fmt.Sprintf("%d ", found)
	}
	return []Figure{
		{Name: "least share found, 0 to 20 % lost", Value: worst, Goal: .9, Detail: fmt.Sprintf("%sof %d at 0, 2, 5, 10, 20 %%", detail, p.seeds)},
		{Name: "most readings missing or late", Value: marked, Goal: .01, Less: true},
	}
}

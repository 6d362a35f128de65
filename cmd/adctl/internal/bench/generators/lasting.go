// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/kubeedge/edge-anomaly/driver"
)

// lasting are faults that come again, and that last.
var lasting = []Generator{
	{"drift again and again", "twelve ramps of 6 over 150 readings in a day's season and slow noise, 1,000 readings apart", func(p *player) []Figure {
		return p.again(12, 2000, 1000, 150, .9, func(r *rand.Rand, n int) []float64 {
			s := slow(r, n, .999, .5)
			return each(n, func(i int) float64 { return 20 + wave(i, 1440, 3) + s[i] })
		}, func(i int) float64 { return 6 * float64(i) / 149 })
	}},
	{"short again and again", "six faults of 5 readings, 5 deviations high, in noise, 300 readings apart, from reading 1,000 on", func(p *player) []Figure {
		return p.again(6, 1000, 300, 5, .8, func(r *rand.Rand, n int) []float64 {
			return each(n, func(int) float64 { return 20 + .5*r.NormFloat64() })
		}, func(int) float64 { return 2.5 })
	}},
	{"lasting level", "6 deviations higher for 2,000 readings, in noise", lastingLevel},
	{"drift in a season", "a degree, or three, a day on a day's season of 3 with noise of .3", driftInSeason},
	{"early drift", "a drift of .8, 1.2, 2 and 4 deviations a reading, for 60 readings, after 100 to 300 readings of noise", earlyDrift},
	{"simple detectors hold", "a level of 8 deviations for 1,500 readings, which ewma, mad and forecast may not accept", simpleHold},
}

// again measures a fault that comes several times in a stream: in how many streams each is found, and of all those in how
// many the same is found where it comes alone.
func (p *player) again(times, first, every, length int, goal float64, quiet func(r *rand.Rand, n int) []float64, fault func(i int) float64) []Figure {
	n := first + every*times
	found, alone := make([]int, times), 0
	for seed := range p.seeds {
		x := quiet(random(seed), n)
		all := slices.Clone(x)
		for k := range times {
			at := first + every*k
			one := slices.Clone(x[:at+length])
			for i := range length {
				all[at+i] += fault(i)
				one[at+i] += fault(i)
			}
			if p.play(stream{x: one})[at:].found() {
				alone++
			}
		}
		os := p.play(stream{x: all})
		for k := range times {
			if at := first + every*k; os[at : at+length].found() {
				found[k]++
			}
		}
	}
	sum := 0
	for _, k := range found {
		sum += k
	}
	return []Figure{
		{Name: "least share found", Value: per(slices.Min(found), int(p.seeds)), Goal: goal, Detail: fmt.Sprintf("%v of %d", found, p.seeds)},
		{Name: "found, of those found alone", Value: per(sum, alone), Goal: .9, Detail: fmt.Sprintf("%d of %d", sum, alone)},
	}
}

func lastingLevel(p *player) []Figure {
	untilAccepted, never, returns, incidents := 0.0, 0.0, 0, 0
	for seed := range p.seeds {
		r := random(seed)
		x := each(6000, func(i int) float64 {
			if i >= 3000 && i < 5000 {
				return 23 + .5*r.NormFloat64()
			}
			return 20 + .5*r.NormFloat64()
		})
		os := p.play(stream{x: x}, acceptNever)
		never += os[3000:5000].share() / float64(p.seeds)
		incidents += os[3000:].incidents()
		returns += os[5000:].incidents()
		os = p.play(stream{x: x})
		accepted := 3000 + slices.IndexFunc(os[3000:5000], func(o replayOutcome) bool { return o.Incident.Phase == driver.NewNormal })
		if accepted < 3000 {
			accepted = 5000
		}
		untilAccepted += os[3000:accepted].share() / float64(p.seeds)
	}
	return []Figure{
		{Name: "readings told until accepted", Value: untilAccepted, Goal: .95},
		{Name: "readings told, accept never", Value: never, Goal: .95},
		{Name: "incidents a fault", Value: per(incidents, int(p.seeds)), Goal: 1.1, Less: true},
		{Name: "alerts at the return and after", Value: per(returns, int(p.seeds)), Goal: .1, Less: true},
	}
}

func driftInSeason(p *player) []Figure {
	const begin, day = 7 * 1440, 1440
	var figures []Figure
	for _, rate := range []float64{1, 3} {
		inTime, right, days := 0, 0, 0.0
		for seed := range p.seeds {
			r := random(seed)
			os := p.play(stream{x: each(10*day, func(i int) float64 {
				return 20 + wave(i, day, 3) + .3*r.NormFloat64() + rate*max(0, float64(i-begin))/day
			})})[begin:]
			d := os.delay()
			if d >= 0 && d <= 3*day/2 {
				inTime++
			}
			if d < 0 {
				d = len(os)
			}
			days += float64(d) / day / float64(p.seeds)
			if os[:min(d+2*day, len(os))].kind() == driver.KindDrift {
				right++
			}
		}
		figures = append(figures,
			Figure{Name: fmt.Sprintf("told within 1.5 days, %v° a day", rate), Value: per(inTime, int(p.seeds)), Goal: .9, Detail: fmt.Sprintf("%.2f days in the mean", days)},
			Figure{Name: fmt.Sprintf("called drift, %v° a day", rate), Value: per(right, int(p.seeds)), Goal: .9})
	}
	return figures
}

func earlyDrift(p *player) []Figure {
	var figures []Figure
	for _, slope := range []float64{.8, 1.2, 2, 4} {
		found, of := 0, 0
		for seed := range p.seeds {
			for _, begin := range []int{110, 150, 200, 300} {
				r := random(seed)
				os := p.play(stream{x: each(begin+60, func(i int) float64 {
					return 20 + .5*(r.NormFloat64()+slope*max(0, float64(i-begin)))
				})})
				of++
				if os[begin:].found() {
					found++
				}
			}
		}
		figures = append(figures, Figure{
			Name: fmt.Sprintf("found, %v a reading", slope), Value: per(found, of), Goal: .9, Detail: fmt.Sprintf("%d of %d", found, of),
		})
	}
	return figures
}

func simpleHold(p *player) []Figure {
	var figures []Figure
	for _, name := range []string{"ewma", "mad", "forecast"} {
		held, worst := 0.0, math.Inf(1)
		for seed := range p.seeds {
			r := random(seed)
			os := p.play(stream{x: each(5000, func(i int) float64 {
				if i >= 2000 && i < 3500 {
					return 24 + .5*r.NormFloat64()
				}
				return 20 + .5*r.NormFloat64()
			})}, by(name), acceptNever)
			s := os[2000:3500].share()
			held, worst = held+s/float64(p.seeds), min(worst, s)
		}
		figures = append(figures, Figure{Name: "readings told by " + name + ", accept never", Value: held, Goal: .95, Detail: fmt.Sprintf("%.2f at worst", worst)})
	}
	return figures
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package generators

import (
	"fmt"
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// seasons are faults in a season, and what a season does that is none.
var seasons = []Generator{
	{"hourly fault", "a reading an hour, a day's season of 5 with noise of .5; 8 higher for 10 hours on day 40", hourlyFault},
	{"clock set back", "a timer by the clock of Berlin, on from 6 to 22, every 15 minutes; the last Sunday of October", clockSet},
	{"season off by some", "a day's season of 3 with noise of .3 at a minute, 1,438 to 1,443 readings long", seasonOff},
}

func hourlyFault(p *player) []Figure {
	const from, length, n = 40 * 24, 10, 55 * 24
	late, found, echoes := 0.0, 0, 0
	for seed := range p.seeds {
		r := random(seed)
		x := each(n, func(i int) float64 { return 20 + wave(i, 24, 5) + .5*r.NormFloat64() })
		for i := range length {
			x[from+i] += 8
		}
		os := p.play(stream{x: x, at: spaced(n, time.Hour)})
		if os[from : from+length].found() {
			found++
		}
		end := from + length
		for end < n && os[end].Severity.Anomalous() {
			end++
		}
		late += float64(end-from-length) / float64(p.seeds)
		echoes += os[end:].incidents()
	}
	return []Figure{
		{Name: "found", Value: per(found, int(p.seeds)), Goal: .9},
		{Name: "hours that it is told after its end", Value: late, Goal: 3, Less: true},
		{Name: "incidents in the 14 days after", Value: per(echoes, int(p.seeds)), Goal: .2, Less: true},
	}
}

func clockSet(p *player) []Figure {
	place, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		p.err = err
		return nil
	}
	set := time.Date(2026, time.October, 25, 1, 0, 0, 0, time.UTC)
	const before, n = 28 * 96, 42 * 96
	from := set.Add(-before * 15 * minute)
	var figures []Figure
	for _, told := range []*time.Location{place, nil} {
		incidents, patterns, worst := 0, 0, 0
		for seed := range p.seeds {
			r := random(seed)
			os := p.play(stream{place: told, start: from, at: spaced(n, 15*minute), x: each(n, func(i int) float64 {
				x := 18 + .3*r.NormFloat64()
				if h := from.Add(time.Duration(i) * 15 * minute).In(place).Hour(); h >= 6 && h < 22 {
					x += 4
				}
				return x
			})})[before-1:]
			k := os.incidents()
			incidents += k
			worst = max(worst, k)
			patterns += os.count(func(o *replayOutcome) bool { return o.Incident.Phase == driver.Began && o.Kind == driver.KindPattern })
		}
		name := "incidents in the 14 days after, times with a place"
		if told == nil {
			name = "the same, times of UTC"
		}
		figures = append(figures, Figure{
			Name: name, Value: per(incidents, int(p.seeds)), Goal: 1, Less: true,
			Detail: fmt.Sprintf("%d at worst, %d of pattern in all", worst, patterns),
		})
	}
	return figures
}

// seasonOff counts alerts, and the error of the forecast over that of one who knows.
func seasonOff(p *player) []Figure {
	const n = 12 * 1440
	rows, alerts, worst := 0, 0, 0.0
	for seed := range p.seeds {
		r := random(seed)
		period := 1438 + float64(seed%6)
		x := each(n, func(i int) float64 { return 20 + wave(i, period, 3) + .3*r.NormFloat64() })
		os := p.play(stream{x: x})[6*1440:]
		rows += len(os)
		alerts += os.incidents()
		off := 0.0
		for i := range os {
			off += math.Abs(os[i].Expected-20-wave(i+6*1440, period, 3)) / float64(len(os))
		}
		worst = max(worst, off/.3)
	}
	return []Figure{
		{Name: "alerts in 10,000 readings", Value: 1e4 * per(alerts, rows), Goal: 2.5, Less: true},
		{Name: "forecast off, in deviations of the noise", Value: worst, Goal: .5, Less: true},
	}
}

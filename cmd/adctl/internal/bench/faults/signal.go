// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"math"
	"math/rand/v2"
	"time"
)

const (
	cycle = time.Minute
	day   = 1440 // readings
)

// effect is what a fault does to a signal at one reading. Sizes are in units of the signal's own noise.
type effect struct {
	offset float64 // added to the reading
	drift  float64 // added to the reading; to the rate of a counter
	noise  float64 // factor of the noise
	pace   float64 // factor of the speed of the rhythm
}

var noEffect = effect{noise: 1, pace: 1}

// process makes the readings of a signal, one a cycle.
type process func(e effect) float64

// Signal is a kind of sensor.
type Signal struct {
	Name string
	Doc  string
	make func(rng *rand.Rand) process
}

// Signals are the sensors of the suite.
var Signals = []Signal{
	{"constant", "21.5 all the time, read to 0.1, which counts as its noise", newConstant},
	{"noisy", "normal noise of deviation 1 around 50", newNoisy},
	{"seasonal", "a daily sine of amplitude 5, noise of deviation 0.3", newSeasonal},
	{"binary", "on twice a day by schedule, give or take ten minutes", newBinary},
	{"counter", "10 more a reading with a deviation of 1, starting anew at 20,000", newCounter},
	{"multi-mode", "10, 50 or 80 for 20 to 90 readings each, noise of deviation 1", newMultiMode},
}

// resolve rounds to the resolution of a sensor.
func resolve(v, resolution float64) float64 { return math.Round(v/resolution) * resolution }

func newConstant(rng *rand.Rand) process {
	const unit = 0.1
	return func(e effect) float64 {
		v := 21.5 + unit*(e.offset+e.drift)
		if e.noise > 1 {
			v += unit * e.noise * rng.NormFloat64()
		}
		return resolve(v, unit)
	}
}

func newNoisy(rng *rand.Rand) process {
	return func(e effect) float64 {
		return resolve(50+e.offset+e.drift+e.noise*rng.NormFloat64(), 0.01)
	}
}

func newSeasonal(rng *rand.Rand) process {
	const unit = 0.3
	phase := rng.Float64()
	return func(e effect) float64 {
		phase += e.pace / day
		v := 20 + 5*math.Sin(2*math.Pi*phase) + unit*(e.offset+e.drift+e.noise*rng.NormFloat64())
		return resolve(v, 0.01)
	}
}

// newBinary is a light: on in the morning and in the evening. Each change comes up to ten minutes early or late.
func newBinary(rng *rand.Rand) process {
	changes := [...]float64{6.5 * 60, 8.5 * 60, 17 * 60, 22.5 * 60}
	minute := day * rng.Float64()
	var today [len(changes)]float64
	plan := func() {
		for i, c := range changes {
			today[i] = c + 20*rng.Float64() - 10
		}
	}
	plan()
	return func(e effect) float64 {
		if minute += e.pace; minute >= day {
			minute -= day
			plan()
		}
		past := 0
		for _, c := range today {
			if minute >= c {
				past++
			}
		}
		return float64(past % 2)
	}
}

func newCounter(rng *rand.Rand) process {
	const most = 20_000
	total := most * rng.Float64()
	return func(e effect) float64 {
		total = math.Mod(total+max(10+e.drift+e.noise*rng.NormFloat64(), 0), most)
		return resolve(math.Mod(total+e.offset+most, most), 0.01)
	}
}

func newMultiMode(rng *rand.Rand) process {
	modes := [...]float64{10, 50, 80}
	mode, left := rng.IntN(len(modes)), 0.0
	return func(e effect) float64 {
		if left -= e.pace; left < 0 {
			mode = (mode + 1 + rng.IntN(len(modes)-1)) % len(modes) // another one
			left = 20 + 70*rng.Float64()
		}
		return resolve(modes[mode]+e.offset+e.drift+e.noise*rng.NormFloat64(), 0.01)
	}
}

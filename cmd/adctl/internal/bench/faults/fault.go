// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// Fault is a way in which readings go wrong.
type Fault struct {
	Name     string
	Doc      string
	Kinds    []driver.Kind            // that name it rightly
	Also     map[string][]driver.Kind // further ones for a signal
	Signals  []string                 // that it makes sense for
	Readings map[string]int           // that it lasts, by signal; "" is any other
	// effect is what it does to the i-th of n readings; sign is ±1, the same for all of an episode.
	effect func(i, n int, sign float64) effect
	hold   bool // readings repeat the one before the fault
	// deliver spoils the times or the delivery of readings that are right themselves; first is the first that shows it.
	deliver func(readings []dataset.Reading, rng *rand.Rand) (spoiled []dataset.Reading, first int)
}

// The sizes of faults, in units of the signal's noise.
const (
	spikeSize  = 10
	levelSize  = 8
	driftSize  = 8
	noiseTimes = 5
	paceTimes  = 4
)

var (
	everySignal = []string{"constant", "noisy", "seasonal", "binary", "counter", "multi-mode"}
	analogue    = []string{"constant", "noisy", "seasonal", "counter", "multi-mode"}
)

// Faults are the faults of the suite. A kind is right only where it says what the fault is; the few faults with two
// right names have them because either is true as package driver defines the kinds:
//   - a level shift is a jump at its beginning and a new level from there;
//   - the state of a switch that does not change any more has an improbable dwell time, and stands still;
//   - the rhythm of a signal of states is that of its dwell times.
//
// What is left out: sizes make no sense for a binary signal, so it has no spike, level shift, drift or noise; what
// stands still anyway cannot freeze; and without a rhythm there is no pattern to change: constant, noisy and counter.
var Faults = []Fault{
	{
		Name: "spike", Doc: "one reading is off by 10 deviations",
		Kinds: []driver.Kind{driver.KindSpike}, Signals: analogue, Readings: map[string]int{"": 1},
		effect: func(_, _ int, sign float64) effect { return effect{offset: sign * spikeSize, noise: 1, pace: 1} },
	},
	{
		Name: "level shift", Doc: "all readings are off by 8 deviations, for 4 hours",
		Kinds: []driver.Kind{driver.KindLevel, driver.KindJump}, Signals: analogue, Readings: map[string]int{"": 240},
		effect: func(_, _ int, sign float64) effect { return effect{offset: sign * levelSize, noise: 1, pace: 1} },
	},
	{
		Name: "drift", Doc: "readings depart steadily, by 8 deviations in 6 hours; those of a counter in their rate",
		Kinds: []driver.Kind{driver.KindDrift}, Signals: analogue, Readings: map[string]int{"": 360},
		effect: func(i, n int, sign float64) effect {
			return effect{drift: sign * driftSize * float64(i+1) / float64(n), noise: 1, pace: 1}
		},
	},
	{
		Name: "freeze", Doc: "the last reading stands for 2 hours; for 36 hours where a schedule rests for long anyway",
		Kinds: []driver.Kind{driver.KindFreeze}, Also: map[string][]driver.Kind{"binary": {driver.KindState}},
		Signals:  []string{"noisy", "seasonal", "binary", "counter", "multi-mode"},
		Readings: map[string]int{"": 120, "binary": 36 * 60},
		effect:   func(int, int, float64) effect { return noEffect },
		hold:     true,
	},
	{
		Name: "noise burst", Doc: "the noise is 5 times as strong for 2 hours",
		Kinds: []driver.Kind{driver.KindNoise}, Signals: analogue, Readings: map[string]int{"": 120},
		effect: func(int, int, float64) effect { return effect{noise: noiseTimes, pace: 1} },
	},
	{
		Name: "pattern change", Doc: "the rhythm is 4 times as fast for 12 hours",
		Kinds: []driver.Kind{driver.KindPattern},
		Also: map[string][]driver.Kind{
			"binary": {driver.KindState}, "multi-mode": {driver.KindState},
		},
		Signals: []string{"seasonal", "binary", "multi-mode"}, Readings: map[string]int{"": 720},
		effect: func(int, int, float64) effect { return effect{noise: 1, pace: paceTimes} },
	},
	{
		Name: "missing", Doc: "no reading arrives for up to an hour, or six of ten are lost",
		Kinds: []driver.Kind{driver.KindMissing}, Signals: everySignal, Readings: map[string]int{"": 60},
		deliver: lose,
	},
	{
		Name: "late", Doc: "each of 30 readings is taken half a cycle to one and a half too late",
		Kinds: []driver.Kind{driver.KindLate}, Signals: everySignal, Readings: map[string]int{"": 30},
		deliver: delay,
	},
	{
		Name: "duplicate", Doc: "20 readings are sent again, all at once or one by one",
		Kinds: []driver.Kind{driver.KindDuplicate}, Signals: everySignal, Readings: map[string]int{"": 20},
		deliver: repeat,
	},
	{
		Name: "out of order", Doc: "30 readings arrive shuffled, five by five",
		Kinds: []driver.Kind{driver.KindOutOfOrder}, Signals: everySignal, Readings: map[string]int{"": 30},
		deliver: shuffle,
	},
}

// names reports whether the kind names the fault rightly on the signal.
func (f *Fault) names(kind driver.Kind, signal string) bool {
	return slices.Contains(f.Kinds, kind) || slices.Contains(f.Also[signal], kind)
}

// lasts is the number of readings of the fault on the signal.
func (f *Fault) lasts(signal string) int {
	if n, ok := f.Readings[signal]; ok {
		return n
	}
	return f.Readings[""]
}

func lose(readings []dataset.Reading, rng *rand.Rand) ([]dataset.Reading, int) {
	if rng.IntN(2) == 0 {
		const least = 10
		return readings[least+rng.IntN(len(readings)-least):], 0
	}
	// The first one is lost in any case, so that the fault begins where it is said to.
	return slices.DeleteFunc(readings[1:], func(dataset.Reading) bool { return rng.Float64() < 0.6 }), 0
}

func delay(readings []dataset.Reading, rng *rand.Rand) ([]dataset.Reading, int) {
	late := time.Duration(0)
	for i := range readings {
		late += time.Duration((0.5 + rng.Float64()) * float64(cycle))
		readings[i].At = readings[i].At.Add(late)
	}
	return readings, 0
}

func repeat(readings []dataset.Reading, rng *rand.Rand) ([]dataset.Reading, int) {
	if rng.IntN(2) == 0 {
		return append(readings, readings...), len(readings)
	}
	var twice []dataset.Reading
	for _, r := range readings {
		twice = append(twice, r, r)
	}
	return twice, 1
}

func shuffle(readings []dataset.Reading, rng *rand.Rand) ([]dataset.Reading, int) {
	inOrder := slices.Clone(readings)
	for block := range slices.Chunk(readings, 5) {
		rng.Shuffle(len(block), func(i, j int) { block[i], block[j] = block[j], block[i] })
	}
	first := 0
	for first < len(readings)-1 && readings[first] == inOrder[first] {
		first++
	}
	return readings, first
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// multiMode rests on 10, 50 or 80, with noise, for 20 to 90 readings each.
func multiMode(seed uint64) signal {
	rng, mode, left := rand.New(rand.NewPCG(seed, 6)), 0, 0
	return func(int) float64 {
		if left--; left < 0 {
			mode, left = (mode+1+rng.IntN(2))%3, 20+rng.IntN(70)
		}
		return []float64{10, 50, 80}[mode] + rng.NormFloat64()
	}
}

// schedule is on from 7 to 9 and from 17 to 22 at one reading a minute, give or take ten minutes.
func schedule(seed uint64) signal {
	rng, on, left, at := rand.New(rand.NewPCG(seed, 7)), 0.0, 0, 0
	dwell := []int{600, 120, 480, 240}
	return func(int) float64 {
		if left--; left < 0 {
			left, on = dwell[at%4]+rng.IntN(20)-10, float64(at%2)
			at++
		}
		return on
	}
}

// TestAutoNamesFaults injects faults into streams after five days at a reading a minute and holds auto to what it
// promises: all are found, most readings that are told have the right kind, and before the fault nothing is told from
// the third day on, but for one alarm in 10,000 readings.
func TestAutoNamesFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const begin, judgedFrom, episodes = 7200, 4320, 3
	type effect func(i int, x float64) float64
	offset := func(d float64) effect { return func(_ int, x float64) float64 { return x + d } }
	drift := func(slope float64) effect { return func(i int, x float64) float64 { return x + slope*float64(i) } }
	rest := math.NaN()
	hold := func(i int, x float64) float64 {
		if i == 0 {
			rest = x
		}
		return rest
	}
	noise := func(sd float64) effect {
		rng := rand.New(rand.NewPCG(1, 1))
		return func(_ int, x float64) float64 { return x + sd*rng.NormFloat64() }
	}
	streams := map[string]func(seed uint64) signal{
		"constant": func(uint64) signal { return constant(21.5) },
		"noise":    gaussian, "season": rhythm, "modes": multiMode, "schedule": schedule, "counter": counter,
	}
	normal, alarms := 0, 0
	for _, c := range []struct {
		fault, stream string
		effect        effect
		readings      int
		kind          driver.Kind
	}{
		{"spike", "constant", offset(1), 1, driver.KindSpike},
		{"spike", "noise", offset(-10), 1, driver.KindSpike},
		{"spike", "season", offset(3), 1, driver.KindSpike},
		{"spike", "modes", offset(10), 1, driver.KindSpike},
		{"level", "constant", offset(0.8), 240, driver.KindLevel},
		{"level", "noise", offset(8), 240, driver.KindLevel},
		{"level", "season", offset(-2.7), 240, driver.KindLevel},
		{"level", "modes", offset(8), 240, driver.KindLevel},
		{"drift", "noise", drift(0.022), 360, driver.KindDrift},
		{"drift", "season", drift(0.0075), 360, driver.KindDrift},
		{"drift", "modes", drift(-0.022), 360, driver.KindDrift},
		{"freeze", "noise", hold, 120, driver.KindFreeze},
		{"freeze", "season", hold, 120, driver.KindFreeze},
		{"freeze", "modes", hold, 120, driver.KindFreeze},
		{"freeze", "counter", hold, 120, driver.KindFreeze},
		{"stuck", "schedule", hold, 2160, driver.KindState},
		{"noise", "noise", noise(5), 120, driver.KindNoise},
		{"noise", "season", noise(1.5), 120, driver.KindNoise},
		{"noise", "modes", noise(5), 120, driver.KindNoise},
		{"peak that fails to come", "season", func(i int, x float64) float64 {
			return x - 4*math.Sin(2*math.Pi*float64(begin+i)/1440)
		}, 720, driver.KindPattern},
		{"turned upside down", "season", func(i int, x float64) float64 {
			return x - 8*math.Sin(2*math.Pi*float64(begin+i)/1440)
		}, 720, driver.KindPattern},
	} {
		found, right := 0, 0
		var all []driver.Kind
		for seed := range uint64(episodes) {
			s, fd := streams[c.stream](seed+90), newFeeder(open(t, autoName, nil))
			told, quiet := map[driver.Kind]int{}, 0
			for i := range begin + c.readings {
				x := s(i)
				if i >= begin {
					x = c.effect(i-begin, x)
				}
				r := fd.feed(x)
				switch anomalous := r.Severity.Anomalous(); {
				case i >= begin && anomalous:
					told[r.Kind]++
				case i >= judgedFrom && i < begin:
					normal++
					if anomalous && quiet > 10 {
						alarms++
					}
					if quiet++; anomalous {
						quiet = 0
					}
				}
			}
			most := driver.KindNone
			for k, n := range told {
				if n > told[most] {
					most = k
				}
			}
			if len(told) > 0 {
				found++
			}
			if most == c.kind {
				right++
			}
			all = append(all, most)
		}
		if found < episodes || right < episodes-1 {
			t.Errorf("%s on %s: found %d of %d, kinds %q, want %q", c.fault, c.stream, found, episodes, all, c.kind)
		}
	}
	t.Logf("%d false alarms in %d readings", alarms, normal)
	if alarms > 1+normal/10_000 {
		t.Errorf("%d false alarms in %d readings, want at most one in 10,000", alarms, normal)
	}
}

func TestAutoIsIndifferentToScaleAndClock(t *testing.T) {
	streams := map[string]signal{"noise": gaussian(61), "season": rhythm(62), "modes": multiMode(63), "counter": counter(64)}
	for name, s := range streams {
		x := draw(s, 6000)
		x[5000] += 30
		want := newFeeder(open(t, autoName, nil))
		type variant struct {
			a, b  float64
			clock time.Duration
		}
		variants := []variant{{-1, 0, time.Second}, {1000, -7, time.Second}, {0.25, 3, time.Millisecond}} // under a day in all: what lasts is accepted by the clock
		feeders := make([]*feeder, len(variants))
		for i := range feeders {
			feeders[i] = newFeeder(open(t, autoName, nil))
		}
		for i, v := range x {
			w := want.feed(v)
			for k, c := range variants {
				f := feeders[k]
				row := driver.Row{{At: start.Add(time.Duration(i) * c.clock), Value: c.a*v + c.b}}
				f.out.Reset(row)
				f.out.Threshold = driver.DefaultThreshold
				f.d.Detect(row, &f.out)
				// Shapes are held in single precision: among windows that are all but the same, rounding ranks.
				if math.Abs(f.out.Score-w.Score) > 0.05 && max(f.out.Score, w.Score) > 0.5 || f.out.Kind != w.Kind {
					t.Fatalf("%s: reading %d of %+v scores %v %q, want %v %q", name, i, c, f.out.Score, f.out.Kind, w.Score, w.Kind)
				}
			}
		}
	}
}

// TestAutoKeepsToItsNominalRate runs streams in good order of more kinds than those of TestNoFalseAlarm. All together
// they stay within twice the rate that a threshold stands for: they are chosen to be hard.
func TestAutoKeepsToItsNominalRate(t *testing.T) {
	noise := func(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 71)) }
	slow, slowly, logs, uniform, counts := 0.0, noise(1), noise(2), noise(3), noise(4)
	over, n := map[float64]int{}, 0
	for _, s := range []struct {
		name   string
		signal signal
	}{
		{"slow noise", func(int) float64 { slow = 0.99*slow + slowly.NormFloat64(); return slow }},
		{"lognormal", func(int) float64 { return math.Exp(logs.NormFloat64()) }},
		{"uniform", func(int) float64 { return uniform.Float64() }},
		{"season", rhythm(72)},
		{"modes", multiMode(73)},
		{"schedule", schedule(74)},
		{"light", light(75)},
		{"setpoint", setpoint(76)},
		{"counts", func(int) float64 { return math.Floor(counts.ExpFloat64() * 3) }},
	} {
		fd, alarms, last := newFeeder(open(t, autoName, nil)), 0, map[float64]int{0.9: -100, 0.95: -100}
		for i := range 20_000 {
			r := fd.feed(s.signal(i))
			if i < 2000 {
				continue
			}
			n++
			for _, threshold := range []float64{0.9, 0.95} {
				if r.Score >= threshold { // scores are dense: what lasts is as unusual in each reading, and one alert
					if i-last[threshold] > 10 {
						over[threshold]++
					}
					last[threshold] = i
				}
			}
			if r.Severity.Anomalous() {
				alarms++
			}
		}
		t.Logf("%s: %d readings anomalous", s.name, alarms)
	}
	for threshold, k := range over {
		nominal := driver.TailProbability(threshold) * float64(n)
		t.Logf("%d of %d readings reach %v, nominally %.0f", k, n, threshold, nominal)
		if float64(k) > 2*nominal {
			t.Errorf("%d of %d readings reach %v, want at most twice %.0f", k, n, threshold, nominal)
		}
	}
}

// Example_auto finds and names a fault without any configuration.
func Example_auto() {
	d, err := driver.Open("auto", driver.Settings{Members: []driver.Member{{Minimum: math.NaN(), Maximum: math.NaN()}}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fd, s := newFeeder(d), gaussian(1)
	last := driver.KindNone
	for i := range 3000 {
		x := s(i)
		if i >= 2500 {
			x += 12
		}
		if r := fd.feed(x); r.Severity.Anomalous() && r.Confidence == 1 && r.Kind != last {
			last = r.Kind
			fmt.Printf("reading %d: %s, expected about %.0f\n", i, r.Kind, r.Expected)
		}
	}
	// Output:
	// reading 2500: spike, expected about 20
	// reading 2504: level, expected about 20
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"encoding"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// families are the drivers of this package that learn a distribution, a season, shapes or states.
var families = []string{forecastName, knnName, statesName}

// seasonal is a sine of that many readings a cycle, with noise a fifth of its amplitude.
func seasonal(seed uint64, period int) signal { return sine(seed, period, 5) }

func sine(seed uint64, period int, amplitude float64) signal {
	noise := gaussian(seed)
	return func(i int) float64 { return noise(i) + amplitude*math.Sin(2*math.Pi*float64(i)/float64(period)) }
}

// peaks is a cycle of 288 readings, every five minutes of a day, with a peak in the middle unless it is the day without.
func peaks(seed uint64, without int) signal {
	noise := gaussian(seed)
	return func(i int) float64 {
		x := noise(i)
		if day, phase := i/288, i%288; day != without && phase >= 120 && phase < 160 {
			x += 6
		}
		return x
	}
}

// machine passes through three modes, off → idle → run → idle → off, which last 40, 10 and 60 readings give or take a
// tenth.
func machine(seed uint64) signal {
	rng := rand.New(rand.NewPCG(seed, 9))
	modes := [...]struct{ value, dwell float64 }{{0, 40}, {1, 10}, {2, 60}, {1, 10}}
	mode, left := 0, 40.0
	return func(int) float64 {
		if left--; left < 0 {
			mode = (mode + 1) % len(modes)
			left = math.Round(modes[mode].dwell * (0.9 + 0.2*rng.Float64()))
		}
		return modes[mode].value
	}
}

// slowNoise depends on what came before: an autoregression of the first order.
func slowNoise(seed uint64) signal {
	noise, x := gaussian(seed), 0.0
	return func(i int) float64 { x = 0.8*x + noise(i) - 20; return 20 + x }
}

// TestFalseAlarmRate feeds streams in good order, 20,000 readings of each for several seeds, and counts incidents: runs of
// anomalous readings. Readings of one incident are not independent for drivers that look at windows. The nominal rate
// of threshold 0.95 is 1.25 in 10,000; drivers stay below 1, early readings included.
func TestFalseAlarmRate(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const n, seeds = 20_000, 3
	for _, name := range families {
		for stream, make := range map[string]func(seed uint64) signal{
			"noise":      gaussian,
			"slow noise": slowNoise,
			"hourly":     func(seed uint64) signal { return seasonal(seed, 24) },
			"daily":      func(seed uint64) signal { return seasonal(seed, 288) },
			"machine":    machine,
		} {
			if name == statesName && stream != "machine" {
				continue // there are no states in noise
			}
			alarms, incidents := 0, 0
			for seed := range uint64(seeds) {
				s, fd, was := make(100+seed), newFeeder(open(t, name, nil)), false
				for i := range n {
					is := fd.feed(s(i)).Severity.Anomalous()
					if is {
						alarms++
						if !was {
							incidents++
						}
					}
					was = is
				}
			}
			const scale = 1e4 / (n * seeds)
			t.Logf("%-12s %-10s per 10,000 readings: %.2f incidents, %.2f anomalous readings",
				name, stream, float64(incidents)*scale, float64(alarms)*scale)
			if float64(incidents)*scale > 1.5 { // 1 and the chance of another 3 in 60,000
				t.Errorf("%s, %s: %d incidents in %d readings", name, stream, incidents, n*seeds)
			}
		}
	}
}

// TestWhatFamiliesSee injects a fault after 5,760 readings, which is 20 cycles of 288, and tells which drivers see it
// within how many readings.
func TestWhatFamiliesSee(t *testing.T) {
	const at = 5760
	for _, c := range []struct {
		fault  string
		stream signal
		within int
		sees   map[string]driver.Kind
	}{
		{"spike", plus(gaussian(111), pulse(at, 1, 8)), 1, map[string]driver.Kind{
			forecastName: driver.KindSpike, knnName: driver.KindPattern,
		}},
		{"spike downwards", plus(gaussian(112), pulse(at, 1, -8)), 1, map[string]driver.Kind{
			forecastName: driver.KindSpike, knnName: driver.KindPattern,
		}},
		{"spike within the range of a season", plus(seasonal(113, 288), pulse(at+72, 1, -9)), 100, map[string]driver.Kind{
			forecastName: driver.KindSpike, knnName: driver.KindPattern,
		}},
		{"level", plus(gaussian(114), pulse(at, 1<<20, 5)), 60, map[string]driver.Kind{
			forecastName: driver.KindSpike, knnName: driver.KindPattern,
		}},
		{"missing daily peak", peaks(117, at/288), 288, map[string]driver.Kind{forecastName: driver.KindPattern}},
		{"twice the rhythm", then(sine(118, 24, 25), at, sine(119, 12, 25)), 48, map[string]driver.Kind{
			forecastName: driver.KindPattern, knnName: driver.KindPattern,
		}},
		{"unseen state", then(machine(120), at, constant(7)), 1, map[string]driver.Kind{statesName: driver.KindState}},
		{"improbable transition", then(machine(121), at, func(i int) float64 { return float64(2 * (i & 1)) }), 2, map[string]driver.Kind{
			statesName: driver.KindState,
		}},
		{"too long a dwell", then(machine(122), at, constant(2)), 150, map[string]driver.Kind{statesName: driver.KindState}},
		{"flapping", then(machine(123), at, func(i int) float64 { return float64(i / 3 & 1) }), 40, map[string]driver.Kind{
			statesName: driver.KindState,
		}},
	} {
		t.Run(c.fault, func(t *testing.T) {
			stream := draw(c.stream, at+c.within)
			for _, name := range families {
				fd := newFeeder(open(t, name, nil))
				var kinds []driver.Kind
				alarms, delay := 0, -1
				for i, x := range stream {
					r := fd.feed(x)
					if i >= at && r.Severity.Anomalous() {
						alarms++
						if delay < 0 {
							delay = i - at
						}
						if !slices.Contains(kinds, r.Kind) {
							kinds = append(kinds, r.Kind)
						}
					}
				}
				want, must := c.sees[name]
				if must && !slices.Contains(kinds, want) {
					t.Errorf("%s sees %q within %d readings, want %q", name, kinds, c.within, want)
				}
				if delay >= 0 {
					t.Logf("%-12s sees %q after %d readings, %d times", name, kinds, delay, alarms)
				}
			}
		})
	}
}

// pulse is a disturbance of that height for some readings.
func pulse(at, length int, height float64) signal {
	return func(i int) float64 {
		if i >= at && i < at+length {
			return height
		}
		return 0
	}
}

// TestScoresDoNotDependOnUnits: a·x + b is the same stream. Powers of two, so that nothing is rounded but b.
func TestScoresDoNotDependOnUnits(t *testing.T) {
	for _, c := range []struct{ a, b float64 }{{4, 0}, {-1, 0}, {-0.25, 0}, {8, 1024}} {
		for _, name := range families {
			s := draw(plus(seasonal(131, 24), pulse(3000, 30, 12)), 4000)
			plain, moved := newFeeder(open(t, name, nil)), newFeeder(open(t, name, nil))
			different := 0
			for _, x := range s {
				x = math.Round(x*(1<<20)) / (1 << 20) // leaves room for b
				w, g := plain.feed(x), moved.feed(c.a*x+c.b)
				if math.IsNaN(w.Score) != math.IsNaN(g.Score) || math.Abs(w.Score-g.Score) > 1e-6 {
					different++
				}
			}
			if different > 0 {
				t.Errorf("%s: %d of %d scores differ for %v·x + %v", name, different, len(s), c.a, c.b)
			}
		}
	}
}

// TestScoresDoNotDependOnTheClock: where the cycle is not known, only the order of readings counts.
func TestScoresDoNotDependOnTheClock(t *testing.T) {
	for _, name := range families {
		s := draw(seasonal(132, 24), 3000)
		settings := driver.Settings{Members: make([]driver.Member, 1)}
		a, err := driver.Open(name, settings, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := driver.Open(name, settings, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range s {
			var want, got driver.Result
			for d, out := range map[driver.Detector]*driver.Result{a: &want, b: &got} {
				row := driver.Row{{Value: x, At: start.Add(time.Duration(i) * time.Second)}}
				if d == b {
					row[0].At = start.Add(time.Duration(i*i%977) * time.Hour)
				}
				out.Reset(row)
				out.Threshold = driver.DefaultThreshold
				d.Detect(row, out)
			}
			if got.Score != want.Score && !math.IsNaN(want.Score) {
				t.Fatalf("%s: reading %d scores %v, with another clock %v", name, i, want.Score, got.Score)
			}
		}
	}
}

// TestGapsKeepThePhase drops readings of a stream whose cycle is known: the season goes on meanwhile.
func TestGapsKeepThePhase(t *testing.T) {
	s := draw(peaks(133, -1), 12_000)
	fd := newFeeder(open(t, forecastName, nil))
	alarms := 0
	for i, x := range s {
		if i > 6000 && i%700 < 100 { // 100 readings missing
			fd.n++
			continue
		}
		if fd.feed(x).Severity.Anomalous() && i > 6000 {
			alarms++
		}
	}
	if alarms > 3 {
		t.Errorf("%d alarms in %d readings with gaps", alarms, 6000)
	}
}

// TestGroupOfNeighbors: a group is unusual where its members contradict each other, though each is as usual.
func TestGroupOfNeighbors(t *testing.T) {
	f, err := driver.Default.Lookup(knnName)
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Check(t, f, drivertest.Members(4))
	d, err := f.Open(driver.Settings{Members: make([]driver.Member, 2)}, map[string]any{"lag": 2})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(134, 0))
	row := make(driver.Row, 2)
	var out driver.Result
	for i := range 5000 {
		v := math.Sin(float64(i) / 10)
		row[0].Value, row[1].Value = v+0.05*rng.NormFloat64(), 1000*v+50*rng.NormFloat64()
		if i == 4999 {
			row[1].Value = -row[1].Value
		}
		out.Reset(row)
		out.Threshold = driver.DefaultThreshold
		d.Detect(row, &out)
	}
	if !out.Severity.Anomalous() {
		t.Errorf("a contradiction scores %v", out.Score)
	}
}

// TestSnapshotsAreSmall bounds the learned state of one stream with the defaults.
func TestSnapshotsAreSmall(t *testing.T) {
	for name, most := range map[string]int{
		forecastName: 24 << 10, knnName: 24 << 10, statesName: 16 << 10,
	} {
		fd, s := newFeeder(open(t, name, nil)), seasonal(135, 288)
		for i := range 10_000 {
			fd.feed(s(i))
		}
		data, err := fd.d.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes", name, len(data))
		if len(data) > most {
			t.Errorf("%s: %d bytes of learned state, want at most %d", name, len(data), most)
		}
	}
}

// TestStatesOfText: readings that are no numbers are states by their text.
func TestStatesOfText(t *testing.T) {
	d := open(t, statesName, nil)
	row := make(driver.Row, 1)
	var out driver.Result
	judge := func(text string) {
		row[0] = driver.Sample{Value: math.NaN(), Text: text, Flags: driver.Unparsable}
		out.Reset(row)
		out.Threshold = driver.DefaultThreshold
		d.Detect(row, &out)
	}
	for i := range 2000 {
		judge([]string{"open", "closed"}[i/40%2])
		if out.Severity.Anomalous() {
			t.Fatalf("reading %d is %v", i, out.Severity)
		}
	}
	judge("jammed")
	if why := d.(driver.Explainer).Explain(&out, driver.English); out.Kind != driver.KindState || why != "is this state, a state that was never met before" {
		t.Errorf("a state never met is %v %q: %s", out.Severity, out.Kind, why)
	}
}

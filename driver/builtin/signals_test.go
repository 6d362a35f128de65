// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

var start = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// open opens a driver for a property without limits, except that range gets some.
func open(tb testing.TB, name string, config map[string]any) driver.Detector {
	tb.Helper()
	m := driver.Member{
		Key:     driver.Key{Namespace: "default", Device: "sensor", Property: "temperature"},
		Minimum: math.NaN(), Maximum: math.NaN(), Cycle: time.Second,
	}
	if name == rangeName && config == nil {
		config = map[string]any{"lower": -1000, "upper": 1000}
	}
	d, err := driver.Open(name, driver.Settings{Members: []driver.Member{m}}, config)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// feeder hands readings to a detector, one a second.
type feeder struct {
	d   driver.Detector
	row driver.Row
	out driver.Result
	n   int
}

func newFeeder(d driver.Detector) *feeder { return &feeder{d: d, row: make(driver.Row, 1)} }

// feed returns the verdict on x; it is valid until the next call.
func (f *feeder) feed(x float64) *driver.Result {
	f.row[0] = driver.Sample{
		Key: driver.Key{Namespace: "default", Device: "sensor", Property: "temperature"},
		At:  start.Add(time.Duration(f.n) * time.Second), Value: x,
	}
	f.n++
	f.out.Reset(f.row)
	f.out.Threshold = driver.DefaultThreshold
	f.d.Detect(f.row, &f.out)
	return &f.out
}

// signal yields the i-th reading of a stream.
type signal func(i int) float64

func gaussian(seed uint64) signal {
	rng := rand.New(rand.NewPCG(seed, 0))
	return func(int) float64 { return 20 + rng.NormFloat64() }
}

// rounded makes a stream of multiples of step.
func rounded(s signal, step float64) signal {
	return func(i int) float64 { return math.Round(s(i)/step) * step }
}

// then switches to another signal at reading at.
func then(first signal, at int, second signal) signal {
	return func(i int) float64 {
		x := first(i) // drawn all the time, so that the noise does not depend on at
		if i < at {
			return x
		}
		return second(i)
	}
}

// plus adds a disturbance to a stream.
func plus(s, disturbance signal) signal { return func(i int) float64 { return s(i) + disturbance(i) } }

func constant(x float64) signal { return func(int) float64 { return x } }

// light is switched at random, every 300 readings on average.
func light(seed uint64) signal {
	rng, on := rand.New(rand.NewPCG(seed, 1)), 0.0
	return func(int) float64 {
		if rng.IntN(300) == 0 {
			on = 1 - on
		}
		return on
	}
}

// setpoint is moved to one of a few levels now and then.
func setpoint(seed uint64) signal {
	rng, x := rand.New(rand.NewPCG(seed, 2)), 20.0
	levels := []float64{16, 18, 20, 21.5, 22, 23}
	return func(int) float64 {
		if rng.IntN(200) == 0 {
			x = levels[rng.IntN(len(levels))]
		}
		return x
	}
}

// counter counts up by 3 to 7 and starts anew every 3,000 readings.
func counter(seed uint64) signal {
	rng, x := rand.New(rand.NewPCG(seed, 3)), 0.0
	return func(i int) float64 {
		if i%3000 == 2999 {
			x = 0
		}
		x += float64(3 + rng.IntN(5))
		return x
	}
}

// gappy misses every tenth reading.
func gappy(s signal) signal {
	return func(i int) float64 {
		if x := s(i); i%10 != 9 {
			return x
		}
		return math.NaN()
	}
}

// rhythm is a day of 1,440 readings with noise.
func rhythm(seed uint64) signal {
	noise := gaussian(seed)
	return func(i int) float64 { return noise(i)*0.3 + 4*math.Sin(2*math.Pi*float64(i)/1440) }
}

// coarse is a slow random walk about 20 in steps of 0.1, which moves about once in 60 readings.
func coarse(seed uint64) signal {
	rng, x := rand.New(rand.NewPCG(seed, 4)), 200
	return func(int) float64 {
		if rng.IntN(60) == 0 {
			if rng.Float64() < 0.5+float64(200-x)/100 {
				x++
			} else {
				x--
			}
		}
		return float64(x) / 10
	}
}

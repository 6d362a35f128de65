// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forecast

import (
	"fmt"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/dsp/fourier"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

func feed(m *Model, n int, x func(i int) float64) (last Prediction) {
	for i := range n {
		last = m.Next(x(i), 1)
	}
	return last
}

// TestPeriodIsFound checks streams with a rhythm and streams without.
func TestPeriodIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	var rng *rand.Rand // of the case and run
	walk, slow := 0.0, 0.0
	for name, c := range map[string]struct {
		period float64
		n      int
		x      func(i int) float64
	}{
		"short":         {7, 1000, func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/7) + 0.2*rng.NormFloat64() }},
		"hourly, a day": {24, 1000, func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/24) + 0.3*rng.NormFloat64() }},
		"square wave":   {50, 2000, func(i int) float64 { return float64(i%50/25) + 0.1*rng.NormFloat64() }},
		"peaks": {288, 6000, func(i int) float64 {
			x := 0.3 * rng.NormFloat64()
			if i%288 < 30 {
				x += 3
			}
			return x
		}},
		"fractional": {100.5, 6000, func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/100.5) + 0.3*rng.NormFloat64() }},
		"daily, every minute": {1440, 14_000, func(i int) float64 {
			return 20 + 5*math.Sin(2*math.Pi*float64(i)/1440) + rng.NormFloat64()
		}},
		"with trend": {60, 4000, func(i int) float64 {
			return 0.01*float64(i) + math.Sin(2*math.Pi*float64(i)/60) + 0.2*rng.NormFloat64()
		}},
		"with spikes": {48, 4000, func(i int) float64 {
			x := math.Sin(2*math.Pi*float64(i)/48) + 0.2*rng.NormFloat64()
			if i%331 == 0 {
				x += 50
			}
			return x
		}},
		"noise":       {0, 20_000, func(int) float64 { return rng.NormFloat64() }},
		"random walk": {0, 20_000, func(int) float64 { walk += rng.NormFloat64(); return walk }},
		"slow noise":  {0, 20_000, func(int) float64 { slow = 0.95*slow + rng.NormFloat64(); return slow }},
		"constant":    {0, 5000, func(int) float64 { return 7 }},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(10) {
				rng = rand.New(rand.NewPCG(seed, 1))
				var m Model
				feed(&m, c.n, c.x)
				if got := m.Period(); math.Abs(got-c.period) > 0.02*c.period {
					t.Errorf("run %d: period is %v, want %v", seed, got, c.period)
				}
			}
		})
	}
}

// TestPeriodIsFoundAnew changes the rhythm.
func TestPeriodIsFoundAnew(t *testing.T) {
	var m Model
	rng := rand.New(rand.NewPCG(2, 2))
	feed(&m, 3000, func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/24) + 0.1*rng.NormFloat64() })
	feed(&m, 3000, func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/37) + 0.1*rng.NormFloat64() })
	if got := m.Period(); math.Abs(got-37) > 0.5 {
		t.Errorf("period is %v after the rhythm changed to 37", got)
	}
	feed(&m, 3000, func(int) float64 { return rng.NormFloat64() })
	if got := m.Period(); got != 0 {
		t.Errorf("period is %v after the rhythm ended", got)
	}
}

// TestSeasonForecasts: with a season, errors come down to the noise, and a gap moves the phase on.
func TestSeasonForecasts(t *testing.T) {
	var m Model
	rng := rand.New(rand.NewPCG(3, 3))
	x := func(i int) float64 { return 10 + 5*math.Sin(2*math.Pi*float64(i)/96) + 0.5*rng.NormFloat64() }
	sum, n, at := 0.0, 0.0, 0
	for k := range 6000 {
		step := 1
		if k > 3000 && k%50 == 0 {
			step = 41 // readings are missing
		}
		at += step
		v := x(at)
		p := m.Next(v, step)
		if k > 3000 {
			if !p.Seasonal {
				t.Fatalf("no season at reading %d", k)
			}
			sum += p.SeasonalResidual * p.SeasonalResidual
			n++
			if want := v - p.SeasonalExpected; p.SeasonalResidual != want || v-p.Expected != p.Residual {
				t.Fatalf("residuals %v, %v do not belong to what was expected", p.SeasonalResidual, p.Residual)
			}
		}
	}
	if rms := math.Sqrt(sum / n); rms > 0.62 {
		t.Errorf("errors of the season have size %v, want about that of the noise, 0.5", rms)
	}
}

// TestSigmaVariesOverTheSeason: noise by day, none by night.
func TestSigmaVariesOverTheSeason(t *testing.T) {
	var m Model
	rng := rand.New(rand.NewPCG(4, 4))
	var day, night Prediction
	for i := range 6000 {
		x := 3 * math.Sin(2*math.Pi*float64(i)/48)
		if i%48 < 24 {
			x += rng.NormFloat64()
		} else {
			x += 0.1 * rng.NormFloat64()
		}
		switch p := m.Next(x, 1); i % 48 {
		case 12:
			day = p
		case 36:
			night = p
		}
	}
	if day.SeasonalSigma < 2.5*night.SeasonalSigma {
		t.Errorf("scale by day is %v, by night %v", day.SeasonalSigma, night.SeasonalSigma)
	}
}

// TestSmootherFollows checks closed forms: a constant and a line are forecast without error in the end, but for the
// damping of the trend.
func TestSmootherFollows(t *testing.T) {
	var s Smoother
	for range 100 {
		s.Add(42, 1)
	}
	if got := s.Forecast(1); math.Abs(got-42) > 1e-9 {
		t.Errorf("forecast of a constant is %v", got)
	}
	var line Smoother
	for i := range 500 {
		line.Add(2*float64(i), 1)
	}
	if got := line.Forecast(1); math.Abs(got-1000) > 2 {
		t.Errorf("forecast of a line is %v, want 1000 within a step", got)
	}
	if got, want := dampedSteps(3), 0.9+0.81+0.729; math.Abs(got-want) > 1e-12 {
		t.Errorf("damped steps are %v, want %v", got, want)
	}
}

func TestScaleIsThatOfTheNoise(t *testing.T) {
	var s Scale
	rng := rand.New(rand.NewPCG(5, 5))
	for i := range 20_000 {
		x := 3 * rng.NormFloat64()
		if i%100 == 0 {
			x = 1e9 // outliers
		}
		s.Add(x, 0.001)
	}
	if got := s.Sigma(); got < 2.7 || got > 3.6 {
		t.Errorf("scale is %v, want about 3", got)
	}
}

// TestAutocorrelation checks the transform of the finder against the definition.
func TestAutocorrelation(t *testing.T) {
	x := make([]float64, padded)
	rng := rand.New(rand.NewPCG(6, 6))
	for i := range padded / 2 {
		x[i] = rng.NormFloat64()
	}
	fft := fourier.NewFFT(padded)
	c := fft.Coefficients(nil, x)
	for i := range c {
		c[i] = complex(math.Pow(cmplx.Abs(c[i]), 2), 0)
	}
	got := fft.Sequence(nil, c)
	for lag := range padded / 2 {
		want := 0.0
		for i := lag; i < padded/2; i++ {
			want += x[i] * x[i-lag]
		}
		if math.Abs(got[lag]/padded-want) > 1e-9 {
			t.Fatalf("lag %d: %v, want %v", lag, got[lag]/padded, want)
		}
	}
}

// TestModelTakesAnything: the model neither panics nor turns to NaN for good.
func TestModelTakesAnything(t *testing.T) {
	values := []float64{0, 1, math.NaN(), math.Inf(1), math.Inf(-1), 1e308, -1e308, 5e-324, 20, 1e150, -1e150, 1e-300}
	rng := rand.New(rand.NewPCG(7, 7))
	var m Model
	for range 20_000 {
		m.Next(values[rng.IntN(len(values))], rng.IntN(70)-3)
	}
	p := feed(&m, 200, func(int) float64 { return 1 })
	if math.IsNaN(p.Expected) || math.IsInf(p.Expected, 0) {
		t.Errorf("expects %v", p.Expected)
	}
}

func TestModelSurvivesRestart(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	x := func(i int) float64 { return math.Sin(2*math.Pi*float64(i)/24) + 0.1*rng.NormFloat64() }
	for _, n := range []int{0, 10, 150, 2345} {
		var a, b Model
		feed(&a, n, x)
		if err := state.Restore(&b, state.Bytes(&a)); err != nil {
			t.Fatal(err)
		}
		for i := range 500 {
			v := x(n + i)
			if p, q := a.Next(v, 1), b.Next(v, 1); fmt.Sprint(p) != fmt.Sprint(q) {
				t.Fatalf("after %d readings: %+v, after a restart %+v", n, p, q)
			}
		}
	}
}

func FuzzModelState(f *testing.F) {
	var a Model
	feed(&a, 600, func(i int) float64 { return float64(i % 24) })
	var w state.Writer
	a.EncodeState(&w)
	f.Add(w.Bytes)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Model
		r := state.NewReader(data)
		m.DecodeState(r)
		if r.Close() != nil {
			return
		}
		feed(&m, 300, func(i int) float64 { return float64(i % 12) })
	})
}

func TestModelDoesNotAllocate(t *testing.T) {
	var m Model
	feed(&m, 2000, func(i int) float64 { return math.Sin(2 * math.Pi * float64(i) / 24) })
	i := 2000
	if n := testing.AllocsPerRun(5000, func() { m.Next(math.Sin(2*math.Pi*float64(i)/24), 1); i++ }); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

func ExampleModel() {
	var m Model
	for i := range 2000 {
		m.Next(20+5*math.Sin(2*math.Pi*float64(i)/24), 1)
	}
	p := m.Next(20, 1) // at 2000 mod 24 = 8 o'clock
	fmt.Printf("period %.0f, expected %.1f\n", m.Period(), p.SeasonalExpected)
	// Output: period 24, expected 24.3
}

func BenchmarkModel(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 9))
	x := make([]float64, 1440)
	for i := range x {
		x[i] = 5*math.Sin(2*math.Pi*float64(i)/1440) + rng.NormFloat64()
	}
	var m Model
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		m.Next(x[i%1440], 1)
		i++
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/forecast"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const forecastName = "forecast"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name: forecastName,
		Summary: "predicts the next reading by exponential smoothing with a damped trend and a season it finds itself; " +
			"finds spikes, new levels, and patterns that fail to come",
		Source: "R. J. Hyndman et al., Forecasting with Exponential Smoothing, Springer, 2008, section 2.5; " +
			"M. Vlachos et al., On periodicity detection and structural similarity, SDM 2005",
		Kinds: []driver.Kind{driver.KindSpike, driver.KindLevel, driver.KindPattern},
	}, func() forecastConfig {
		return forecastConfig{Season: true, Memory: 10_000, WarmUp: 100}
	}, func(s driver.Settings, c forecastConfig) (driver.Detector, error) {
		return newSingle(forecastName, s, newForecast(s, c))
	}))
}

type forecastConfig struct {
	Season bool `param:"season" doc:"whether to compare with the same time of earlier seasons, once one is found"`
	Memory int  `param:"memory" min:"200" max:"10000000" doc:"readings that the distribution of forecast errors is learned from"`
	WarmUp int  `param:"warmUp" min:"32" max:"1000000" doc:"readings before the first verdict"`
}

type forecastDetector struct {
	needed    uint64
	n         uint64
	threshold float64
	level     float64 // tail probability at the threshold
	seasonal  bool
	pace      pace
	model     forecast.Model
	step      moments.Resolution
	short     quantile.Tail // standardised forecast errors
	long      quantile.Tail // standardised departures from the season
	run       excursion
	glitches  glitches
	season    inSeason
	hold      hold
}

// inSeason is since when the readings follow a season.
type inSeason struct {
	n      uint64  // readings
	period float64 // of the season that long was learned with
	smooth float64 // smoothed standardised departure from the season
}

func newForecast(s driver.Settings, c forecastConfig) forecastDetector {
	d := forecastDetector{
		needed: uint64(c.WarmUp), threshold: s.Threshold, level: driver.TailProbability(s.Threshold), seasonal: c.Season,
		pace:  pace{cycle: s.Members[0].Cycle},
		hold:  holdOf(s),
		short: quantile.NewTail(tailShare, float64(c.Memory)),
		long:  quantile.NewTail(tailShare, float64(c.Memory)),
	}
	d.short.SetFloor(0.1) // standard deviations
	d.long.SetFloor(0.1)
	return d
}

const (
	tailShare    = 0.02 // of the readings, whose excesses the tail of a distribution is fitted to
	patternGain  = 0.25 // weight of the newest departure from the season
	patternLimit = 10   // standard deviations that a departure counts at most
)

func (d *forecastDetector) assess(x float64, s *driver.Sample) assessment {
	step := d.pace.next(s.At)
	if d.glitches.is(x) {
		d.model.Next(math.NaN(), step) // the season goes on
		return glitch(driver.KindSpike, d.n, d.needed)
	}
	d.n++
	d.step.Update(x)
	floor := d.step.Floor()
	p := d.model.Predict(x, step)
	if math.IsNaN(p.Residual) || math.IsNaN(p.Expected) {
		d.model.Learn(x, step)
		return unknown(d.n, d.needed)
	}
	sigma := max(p.Sigma, floor)
	z := math.Abs(p.Residual) / sigma
	shortP := d.short.Probability(z)
	half := d.short.Level(d.level) * sigma

	seasonP, zs := 1.0, math.NaN()
	if d.seasonal && p.Seasonal {
		period := d.model.Period()
		if math.Abs(period-d.season.period) > 0.05*period { // another season, not the same one known better
			d.season.n, d.season.smooth = 0, 0
		}
		d.season.period = period
		d.season.n++
		// Smoothed, because what fails to come does so for a while; what is off for a reading or two is no pattern.
		zs = min(max(p.SeasonalResidual/max(p.SeasonalSigma, floor), -patternLimit), patternLimit)
		d.season.smooth += patternGain * (zs - d.season.smooth)
		zs = math.Abs(d.season.smooth)
		if d.season.n > max(d.needed, uint64(d.season.period)) { // a cycle shows how far it usually is off
			seasonP = d.long.Probability(zs)
		}
	} else {
		d.season.period = 0
	}
	tests := 1.0
	if p.Seasonal && d.seasonal {
		tests = 2
	}
	score := driver.TailScore(min(min(shortP, seasonP)*tests, 1))
	if d.n <= d.needed || d.hold.learns(score >= d.threshold, z*z <= winsor2, s.At) {
		d.model.Learn(x, step)
		d.short.Add(z)
		d.long.Add(zs)
	}
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	a := assessment{
		score: score, confidence: confidence(d.n, d.needed),
		kind:     d.run.kind(score >= d.threshold, x > p.Expected),
		expected: p.Expected, lower: p.Expected - half, upper: p.Expected + half,
	}
	if seasonP < shortP {
		a.kind, a.expected = driver.KindPattern, p.SeasonalExpected
		half = d.long.Level(d.level) / patternGain * max(p.SeasonalSigma, floor)
		a.lower, a.upper = a.expected-half, a.expected+half
	}
	return a
}

func (d *forecastDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.season, &d.pace, &d.model, &d.step, &d.short, &d.long, &d.run, &d.glitches, &d.hold}
}

// EncodeState implements state.Part.
func (s *inSeason) EncodeState(w *state.Writer) {
	w.Uint(s.n)
	w.Float(s.period)
	w.Float(s.smooth)
}

// DecodeState implements state.Part.
func (s *inSeason) DecodeState(r *state.Reader) {
	s.n, s.period, s.smooth = r.Readings(), r.Min("period", 0), r.Finite("departure from the season")
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const ewmaName = "ewma"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    ewmaName,
		Summary: "finds spikes and new levels, in units of an exponentially weighted standard deviation",
		Source:  "S. W. Roberts, Control Chart Tests Based on Geometric Moving Averages, Technometrics 1(3), 1959; variance after T. Finch, 2009, section 9",
		Kinds:   []driver.Kind{driver.KindSpike, driver.KindLevel},
	}, func() ewmaConfig {
		return ewmaConfig{Window: 100, Alpha: math.NaN(), WarmUp: 50}
	}, func(s driver.Settings, c ewmaConfig) (driver.Detector, error) {
		return newSingle(ewmaName, s, newEWMA(s, c))
	}))
}

type ewmaConfig struct {
	Window int     `param:"window" min:"20" max:"1000000" doc:"readings remembered: alpha is 2/(window+1)"`
	Alpha  float64 `param:"alpha" min:"0.000001" max:"0.1" doc:"weight of the newest reading; overrides window"`
	WarmUp int     `param:"warmUp" min:"10" max:"1000000" doc:"readings before the first verdict"`
}

type ewmaDetector struct {
	threshold float64
	limit2    float64 // squared deviate at the threshold
	needed    uint64
	base      moments.EWMA
	step      moments.Resolution
	run       excursion
	glitches  glitches
	hold      hold
}

func newEWMA(s driver.Settings, c ewmaConfig) ewmaDetector {
	alpha := c.Alpha
	if math.IsNaN(alpha) {
		alpha = 2 / (float64(c.Window) + 1)
	}
	return ewmaDetector{
		threshold: s.Threshold, limit2: deviate2(s.Threshold), needed: uint64(c.WarmUp), base: moments.NewEWMA(alpha),
		hold: holdOf(s),
	}
}

func (d *ewmaDetector) parts() state.Parts {
	return state.Parts{&d.base, &d.step, &d.run, &d.glitches, &d.hold}
}

func (d *ewmaDetector) assess(x float64, s *driver.Sample) assessment {
	if d.glitches.is(x) {
		return glitch(driver.KindSpike, d.base.Count(), d.needed)
	}
	d.step.Update(x)
	forecast := d.base.Predict(d.step.Floor())
	z2 := forecast.Z2(x)
	n := d.base.Count() + 1
	switch {
	case n > d.needed && !d.hold.learns(z2 >= d.limit2, z2 <= winsor2, s.At):
	case z2 > winsor2:
		d.base.Update(forecast.Winsorize(x, winsor2))
	default:
		d.base.Update(x)
	}
	if n <= d.needed {
		return unknown(n, d.needed)
	}
	return judgeForecast(forecast, x, z2, d.limit2, d.threshold, &d.run, confidence(n, d.needed))
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/change"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const pageHinkleyName = "pagehinkley"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    pageHinkleyName,
		Summary: "finds a departure from the mean since the last change, slow or sudden, and starts anew: one finding a change",
		Source:  "E. S. Page, Biometrika 41, 1954; D. V. Hinkley, Biometrika 58, 1971",
		Kinds:   []driver.Kind{driver.KindDrift},
	}, func() pageHinkleyConfig {
		return pageHinkleyConfig{Memory: 1000, Slack: 0.5, WarmUp: 100}
	}, func(s driver.Settings, c pageHinkleyConfig) (driver.Detector, error) {
		return newSingle(pageHinkleyName, s, pageHinkleyDetector{
			needed: uint64(c.WarmUp),
			test:   change.NewPageHinkley(c.Slack, float64(c.Memory), driver.TailProbability(s.Threshold)),
		})
	}))
}

type pageHinkleyConfig struct {
	Memory int     `param:"memory" min:"50" max:"10000000" doc:"readings by which the usual size of the sums is learned"`
	Slack  float64 `param:"slack" min:"0.1" max:"2" doc:"departure in standard deviations that is always normal"`
	WarmUp int     `param:"warmUp" min:"20" max:"1000000" doc:"readings before the first verdict"`
}

type pageHinkleyDetector struct {
	needed uint64
	n      uint64
	test   change.PageHinkley
	step   moments.Resolution
}

func (d *pageHinkleyDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.test, &d.step}
}

func (d *pageHinkleyDetector) assess(x float64, _ *driver.Sample) assessment {
	d.n++
	d.step.Update(x)
	v := d.test.Update(x, d.step.Floor())
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(v.P), kind: driver.KindDrift, confidence: confidence(d.n, d.needed),
		expected: v.Baseline.Mean, lower: nan, upper: nan,
	}
}

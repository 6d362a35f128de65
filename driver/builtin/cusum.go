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

const cusumName = "cusum"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    cusumName,
		Summary: "finds drifts that are too slow to see in a single reading",
		Source:  "E. S. Page, Continuous inspection schemes, Biometrika 41, 1954; self-starting after D. M. Hawkins, The Statistician 36, 1987",
		Kinds:   []driver.Kind{driver.KindDrift},
	}, func() cusumConfig {
		return cusumConfig{Memory: 500, Slack: 0.5, WarmUp: 100}
	}, func(s driver.Settings, c cusumConfig) (driver.Detector, error) {
		return newSingle(cusumName, s, cusumDetector{needed: uint64(c.WarmUp), sum: change.NewSelfStarting(c.Slack, float64(c.Memory))})
	}))
}

type cusumConfig struct {
	Memory int     `param:"memory" min:"50" max:"10000000" doc:"readings that the level is learned from; drifts of less than slack standard deviations in that time pass for normal"`
	Slack  float64 `param:"slack" min:"0.1" max:"2" doc:"departure in standard deviations that is always normal"`
	WarmUp int     `param:"warmUp" min:"20" max:"1000000" doc:"readings before the first verdict"`
}

type cusumDetector struct {
	needed uint64
	sum    change.SelfStarting
	step   moments.Resolution
}

func (d *cusumDetector) parts() state.Parts {
	return state.Parts{&d.sum, &d.step}
}

func (d *cusumDetector) assess(x float64, _ *driver.Sample) assessment {
	d.step.Update(x)
	v := d.sum.Update(x, d.step.Floor())
	n := d.sum.Count()
	if n <= d.needed {
		return unknown(n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(v.P), kind: driver.KindDrift, confidence: confidence(n, d.needed),
		expected: v.Baseline.Mean, lower: nan, upper: nan,
	}
}

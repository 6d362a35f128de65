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

const adwinName = "adwin"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    adwinName,
		Summary: "keeps a window as long as its mean has not changed, and tells when it has",
		Source:  "A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007: ADWIN2",
		Kinds:   []driver.Kind{driver.KindLevel},
	}, func() adwinConfig {
		return adwinConfig{Memory: 1000, WarmUp: 100}
	}, func(s driver.Settings, c adwinConfig) (driver.Detector, error) {
		return newSingle(adwinName, s, adwinDetector{
			needed: uint64(c.WarmUp), test: change.NewADWIN(driver.TailProbability(s.Threshold), float64(c.Memory)),
		})
	}))
}

type adwinConfig struct {
	Memory int `param:"memory" min:"50" max:"10000000" doc:"readings by which it is learned how far the parts of a window usually differ"`
	WarmUp int `param:"warmUp" min:"20" max:"1000000" doc:"readings before the first verdict"`
}

type adwinDetector struct {
	needed uint64
	test   change.ADWIN
	step   moments.Resolution
}

func (d *adwinDetector) parts() state.Parts {
	return state.Parts{&d.test, &d.step}
}

func (d *adwinDetector) assess(x float64, _ *driver.Sample) assessment {
	d.step.Update(x)
	c := d.test.Update(x, d.step.Floor())
	n := d.test.Count()
	if n <= d.needed {
		return unknown(n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(c.P), kind: driver.KindLevel, confidence: confidence(n, d.needed),
		expected: c.Before, lower: nan, upper: nan,
	}
}

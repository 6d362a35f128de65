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

const jumpName = "jump"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    jumpName,
		Summary: "finds steps from one reading to the next that are larger than the stream usually makes",
		Source:  "first differences in units of their winsorised standard deviation: P. J. Huber, Robust Statistics, Wiley, 1981",
		Kinds:   []driver.Kind{driver.KindJump},
	}, func() jumpConfig {
		return jumpConfig{Window: 100, WarmUp: 50}
	}, func(s driver.Settings, c jumpConfig) (driver.Detector, error) {
		return newSingle(jumpName, s, jumpDetector{
			limit2: deviate2(s.Threshold), needed: uint64(c.WarmUp), steps: change.NewJump(float64(c.Window)),
		})
	}))
}

type jumpConfig struct {
	Window int `param:"window" min:"20" max:"1000000" doc:"steps remembered, those of size zero left out"`
	WarmUp int `param:"warmUp" min:"10" max:"1000000" doc:"readings before the first verdict"`
}

type jumpDetector struct {
	limit2   float64 // squared deviate at the threshold
	needed   uint64
	n        uint64
	steps    change.Jump
	step     moments.Resolution
	glitches glitches
}

func (d *jumpDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.steps, &d.step, &d.glitches}
}

func (d *jumpDetector) assess(x float64, s *driver.Sample) assessment {
	if d.glitches.is(x) {
		return glitch(driver.KindJump, d.n, d.needed)
	}
	d.n++
	d.step.Update(x)
	if s.Flags&driver.Gap != 0 { // how far the stream moved meanwhile is no step
		d.steps.Skip(x)
		return unknown(d.steps.Steps(), d.needed)
	}
	forecast, step := d.steps.Update(x, d.step.Floor())
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	a := assessment{
		kind: driver.KindJump, confidence: confidence(d.steps.Steps(), d.needed), expected: forecast.Mean,
	}
	a.lower, a.upper = bounds(forecast, d.limit2)
	if step != 0 { // standing still is never a jump, however steadily the stream has moved
		a.score = normalScore(math.Sqrt(forecast.Z2(x)))
	}
	return a
}

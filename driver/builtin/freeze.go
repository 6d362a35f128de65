// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/stillness"
)

const freezeName = "freeze"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    freezeName,
		Summary: "finds values that stand still longer than the stream ever did, where it usually moves",
		Source:  "record of the lengths of runs; geometric runs after A. Wald, J. Wolfowitz, Annals of Mathematical Statistics 11(2), 1940",
		Kinds:   []driver.Kind{driver.KindFreeze},
	}, func() freezeConfig {
		return freezeConfig{Repeats: 5, Movement: 0.1, WarmUp: 50}
	}, func(s driver.Settings, c freezeConfig) (driver.Detector, error) {
		return newSingle(freezeName, s, freezeDetector{
			needed: uint64(c.WarmUp), rests: stillness.Detector{MinMovement: c.Movement, MinRepeats: c.Repeats},
		})
	}))
}

type freezeConfig struct {
	Repeats  int     `param:"repeats" min:"2" max:"1000000" doc:"equal readings in succession that are always normal"`
	Movement float64 `param:"movement" min:"0.001" max:"1" doc:"least share of readings that differ from the one before; a stream that moves less is never frozen"`
	WarmUp   int     `param:"warmUp" min:"10" max:"1000000" doc:"readings before the first verdict"`
}

type freezeDetector struct {
	needed uint64
	n      uint64
	rests  stillness.Detector
}

func (d *freezeDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.rests}
}

func (d *freezeDetector) assess(x float64, _ *driver.Sample) assessment {
	d.n++
	p := d.rests.Update(x)
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	nan := math.NaN()
	a := assessment{kind: driver.KindFreeze, score: driver.TailScore(p), expected: nan, lower: nan, upper: nan}
	if d.rests.Moves() { // else normal for want of evidence, in which there is no confidence
		a.confidence = confidence(d.n, d.needed)
	}
	return a
}

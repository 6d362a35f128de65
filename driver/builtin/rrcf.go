// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/forest"
	"github.com/kubeedge/edge-anomaly/pkg/engine/neighbor"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const rrcfName = "rrcf"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    rrcfName,
		Summary: "isolates unusual runs of readings with a robust random cut forest",
		Source:  "S. Guha et al., Robust random cut forest based anomaly detection on streams, ICML 2016",
		Kinds:   []driver.Kind{driver.KindPattern},
	}, func() rrcfConfig {
		return rrcfConfig{Trees: 8, Sample: 64, Lag: 2, Reach: 4096, Memory: 10_000, WarmUp: 100}
	}, func(s driver.Settings, c rrcfConfig) (driver.Detector, error) {
		return newSingle(rrcfName, s, newRRCF(s, c))
	}))
}

type rrcfConfig struct {
	Trees  int `param:"trees" min:"1" max:"100" doc:"trees in the forest"`
	Sample int `param:"sample" min:"16" max:"256" doc:"points that a tree is grown from"`
	Lag    int `param:"lag" min:"1" max:"32" doc:"readings in a point"`
	Reach  int `param:"reach" min:"256" max:"1000000" doc:"readings that the samples are drawn from, thinning out"`
	Memory int `param:"memory" min:"200" max:"10000000" doc:"readings that the distribution of forest scores is learned from"`
	WarmUp int `param:"warmUp" min:"100" max:"1000000" doc:"readings before the first verdict"`
}

type rrcfDetector struct {
	needed uint64
	n      uint64
	window neighbor.Window
	trees  forest.RandomCut
	scores quantile.Tail
}

func newRRCF(s driver.Settings, c rrcfConfig) rrcfDetector {
	d := rrcfDetector{
		needed: uint64(c.WarmUp), window: neighbor.NewWindow(c.Lag, 1),
		trees:  forest.NewRandomCut(c.Trees, c.Sample, c.Lag, float64(c.Reach), s.Seed),
		scores: quantile.NewTail(tailShare, float64(c.Memory), quantile.PWM),
	}
	d.scores.SetFloor(0.05) // bits
	return d
}

func (d *rrcfDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.window, &d.trees, &d.scores}
}

func (d *rrcfDetector) assess(x float64, _ *driver.Sample) assessment {
	d.n++
	p := 1.0
	if d.window.Push([]float64{x}) {
		point := d.window.Values()
		if s := d.trees.Score(point); !math.IsNaN(s) {
			p = d.scores.Probability(s)
			d.scores.Add(s)
		}
		d.trees.Learn(point)
	}
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(p), kind: driver.KindPattern, confidence: confidence(d.n, d.needed),
		expected: nan, lower: nan, upper: nan,
	}
}

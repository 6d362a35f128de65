// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/novelty"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const noveltyName = "novelty"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    noveltyName,
		Summary: "finds readings and shapes stranger than any before, by several views of the stream at once",
		Source:  "record ranks of distances to stored prototypes: B. C. Arnold et al., Records, Wiley, 1998; S. Marsland et al., Neural Networks 15, 2002",
		Kinds:   []driver.Kind{driver.KindPattern},
	}, func() noveltyConfig {
		return noveltyConfig{WarmUp: 100}
	}, func(s driver.Settings, c noveltyConfig) (driver.Detector, error) {
		return newSingle(noveltyName, s, noveltyDetector{needed: uint64(c.WarmUp)})
	}))
}

type noveltyConfig struct {
	WarmUp int `param:"warmUp" min:"100" max:"1000000" doc:"readings before the first verdict"`
}

type noveltyDetector struct {
	needed   uint64
	engine   novelty.Detector
	glitches glitches
}

func (d *noveltyDetector) parts() state.Parts {
	return state.Parts{&d.engine, &d.glitches}
}

func (d *noveltyDetector) assess(x float64, _ *driver.Sample) assessment {
	if d.glitches.is(x) {
		return glitch(driver.KindPattern, d.engine.Count(), d.needed)
	}
	raw := d.engine.Next(x)
	n := d.engine.Count()
	nan := math.NaN()
	a := assessment{confidence: learned(n), young: young(n), score: nan, expected: nan, lower: nan, upper: nan}
	if n > d.needed {
		a.score, a.kind = driver.TailScore(novelty.TailProbability(raw)), driver.KindPattern
	}
	return a
}

// young is how many times as frequent a score is by chance after n readings as after 2,000, measured roughly.
func young(n uint64) float64 { return 1 / max(learned(n), 1e-3) }

// learned is the confidence in what ranks readings among those before: 1 from 2,000 readings on, where the measured
// rate of false alarms is that of the score.
func learned(n uint64) float64 {
	const enough = 2000
	return min(float64(n)/enough, 1)
}

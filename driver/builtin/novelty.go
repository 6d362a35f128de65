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
		return &noveltyDetector{teller: tellerOf(s), needed: uint64(c.WarmUp)}, nil
	}))
}

type noveltyConfig struct {
	WarmUp int `param:"warmUp" min:"100" max:"1000000" doc:"readings before the first verdict"`
}

type noveltyDetector struct {
	teller
	needed   uint64
	engine   novelty.Detector
	glitches glitches
}

// Detect implements driver.Detector.
func (d *noveltyDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = noveltyName
	if x, ok := reading(row); ok {
		a := d.assess(x)
		a.deliver(out)
	}
}

func (d *noveltyDetector) assess(x float64) assessment {
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

// EncodeState implements state.Part.
func (d *noveltyDetector) EncodeState(w *state.Writer) {
	d.engine.EncodeState(w)
	d.glitches.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *noveltyDetector) DecodeState(r *state.Reader) {
	d.engine.DecodeState(r)
	d.glitches.DecodeState(r)
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *noveltyDetector) MarshalBinary() ([]byte, error) { return save(noveltyName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *noveltyDetector) UnmarshalBinary(data []byte) error { return restore(noveltyName, d, data) }

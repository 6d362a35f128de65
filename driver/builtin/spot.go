// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const spotName = "spot"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    spotName,
		Summary: "finds extreme values, by the tails of the stream's own distribution; with a depth, against its moving average",
		Source:  "A. Siffer et al., Anomaly detection in streams with extreme value theory, KDD 2017: SPOT, with a depth DSPOT, two-sided",
		Kinds:   []driver.Kind{driver.KindSpike, driver.KindLevel},
	}, func() spotConfig {
		return spotConfig{Memory: 10_000, Share: tailShare, Fit: "pwm", WarmUp: 100}
	}, func(s driver.Settings, c spotConfig) (driver.Detector, error) {
		return newSingle(spotName, s, newSPOT(s, c))
	}))
}

type spotConfig struct {
	Depth  int     `param:"depth" min:"0" max:"1000" doc:"readings of the moving average that is taken off (DSPOT); 0 is none (SPOT)"`
	Memory int     `param:"memory" min:"200" max:"10000000" doc:"readings that the distribution is learned from"`
	Share  float64 `param:"share" min:"0.001" max:"0.1" doc:"share of the readings in each tail, once enough are known"`
	Fit    string  `param:"fit" enum:"pwm,grimshaw" doc:"probability-weighted moments, or maximum likelihood by Grimshaw's method"`
	WarmUp int     `param:"warmUp" min:"32" max:"1000000" doc:"readings before the first verdict"`
}

type spotDetector struct {
	needed       uint64
	n            uint64
	threshold    float64
	level        float64 // tail probability of one side at the threshold
	above, below quantile.Tail
	step         moments.Resolution
	run          excursion
	average      average
}

// average is that of the last readings.
type average struct {
	recent []float64 // ring
	next   int
	filled int
}

func newSPOT(s driver.Settings, c spotConfig) spotDetector {
	fit := quantile.PWM
	if c.Fit == "grimshaw" {
		fit = quantile.Grimshaw
	}
	return spotDetector{
		needed: uint64(c.WarmUp + c.Depth), threshold: s.Threshold, level: driver.TailProbability(s.Threshold) / 2,
		above: quantile.NewTail(c.Share, float64(c.Memory), fit), below: quantile.NewTail(c.Share, float64(c.Memory), fit),
		average: average{recent: make([]float64, c.Depth)},
	}
}

func (d *spotDetector) assess(x float64, _ *driver.Sample) assessment {
	d.n++
	d.step.Update(x)
	d.above.SetFloor(d.step.Floor() / 2)
	d.below.SetFloor(d.step.Floor() / 2)
	base, ok := d.average.of()
	if !ok {
		d.average.remember(x)
		return unknown(d.n, d.needed)
	}
	y := x - base
	p := min(2*min(d.above.Probability(y), d.below.Probability(-y)), 1)
	a := assessment{
		score: driver.TailScore(p), confidence: confidence(d.n, d.needed), expected: base + d.above.Median(),
		lower: base - d.below.Level(d.level), upper: base + d.above.Level(d.level),
	}
	d.above.Add(y)
	d.below.Add(-y)
	// An extreme value would pull the average after it; the paper leaves it out, here it counts as the bound.
	if a.score >= d.threshold && a.lower < a.upper {
		d.average.remember(min(max(x, a.lower), a.upper))
	} else {
		d.average.remember(x)
	}
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	a.kind = d.run.kind(a.score >= d.threshold, x > a.expected)
	return a
}

func (d *spotDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.above, &d.below, &d.step, &d.run, &d.average}
}

// of is the moving average, 0 where it is one of no readings.
func (a *average) of() (float64, bool) {
	if len(a.recent) == 0 {
		return 0, true
	}
	sum := 0.0
	for _, v := range a.recent[:a.filled] {
		sum += v
	}
	return sum / float64(max(a.filled, 1)), a.filled == len(a.recent)
}

func (a *average) remember(x float64) {
	if len(a.recent) == 0 {
		return
	}
	a.recent[a.next] = x
	a.next = (a.next + 1) % len(a.recent)
	a.filled = min(a.filled+1, len(a.recent))
}

// EncodeState implements state.Part.
func (a *average) EncodeState(w *state.Writer) {
	w.Int(int64(a.next))
	w.Int(int64(a.filled))
	w.Floats(a.recent)
}

// DecodeState implements state.Part.
func (a *average) DecodeState(r *state.Reader) {
	a.next = r.Count("next reading", max(len(a.recent)-1, 0))
	a.filled = r.Count("readings of the average", len(a.recent))
	recent := make([]float64, len(a.recent)) // the old ones are shared with a copy
	r.FloatsTo("recent readings", recent)
	for _, v := range recent {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.Fail("a recent reading is %v", v)
		}
	}
	a.recent = recent
}

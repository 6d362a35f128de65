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
		d := newSPOT(s, c)
		d.teller = tellerOf(s)
		return &d, nil
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
	teller
	needed       uint64
	n            uint64
	threshold    float64
	level        float64 // tail probability of one side at the threshold
	above, below quantile.Tail
	step         moments.Resolution
	run          excursion

	recent []float64 // ring of the last depth readings
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
		recent: make([]float64, c.Depth),
	}
}

// Detect implements driver.Detector.
func (d *spotDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = spotName
	if x, ok := reading(row); ok {
		a := d.assess(x)
		a.deliver(out)
	}
}

func (d *spotDetector) assess(x float64) assessment {
	d.n++
	d.step.Update(x)
	d.above.SetFloor(d.step.Floor() / 2)
	d.below.SetFloor(d.step.Floor() / 2)
	base, ok := d.base()
	if !ok {
		d.remember(x)
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
		d.remember(min(max(x, a.lower), a.upper))
	} else {
		d.remember(x)
	}
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	a.kind = d.run.kind(a.score >= d.threshold, x > a.expected)
	return a
}

// base is the moving average, 0 without one.
func (d *spotDetector) base() (float64, bool) {
	if len(d.recent) == 0 {
		return 0, true
	}
	sum := 0.0
	for _, v := range d.recent[:d.filled] {
		sum += v
	}
	return sum / float64(max(d.filled, 1)), d.filled == len(d.recent)
}

func (d *spotDetector) remember(x float64) {
	if len(d.recent) == 0 {
		return
	}
	d.recent[d.next] = x
	d.next = (d.next + 1) % len(d.recent)
	d.filled = min(d.filled+1, len(d.recent))
}

// EncodeState implements state.Part.
func (d *spotDetector) EncodeState(w *state.Writer) {
	w.Uint(d.n)
	d.above.EncodeState(w)
	d.below.EncodeState(w)
	d.step.EncodeState(w)
	d.run.EncodeState(w)
	w.Int(int64(d.next))
	w.Int(int64(d.filled))
	w.Floats(d.recent)
}

// DecodeState implements state.Part.
func (d *spotDetector) DecodeState(r *state.Reader) {
	d.n = r.Readings()
	d.above.DecodeState(r)
	d.below.DecodeState(r)
	d.step.DecodeState(r)
	d.run.DecodeState(r)
	d.next = r.Count("next reading", max(len(d.recent)-1, 0))
	d.filled = r.Count("readings of the average", len(d.recent))
	recent := make([]float64, len(d.recent)) // the old ones are shared with a copy
	r.FloatsTo("recent readings", recent)
	for _, v := range recent {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			r.Fail("a recent reading is %v", v)
		}
	}
	d.recent = recent
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *spotDetector) MarshalBinary() ([]byte, error) { return save(spotName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *spotDetector) UnmarshalBinary(data []byte) error { return restore(spotName, d, data) }

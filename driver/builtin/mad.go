// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const madName = "mad"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    madName,
		Summary: "finds spikes and new levels, against the median and the median absolute deviation of a window",
		Source:  "F. R. Hampel, The Influence Curve and its Role in Robust Estimation, JASA 69, 1974",
		Kinds:   []driver.Kind{driver.KindSpike, driver.KindLevel},
	}, func() madConfig {
		return madConfig{Window: 120, WarmUp: 60}
	}, func(s driver.Settings, c madConfig) (driver.Detector, error) {
		return newSingle(madName, s, madDetector{
			threshold: s.Threshold, limit2: deviate2(s.Threshold), needed: uint64(min(c.WarmUp, c.Window)),
			window: moments.NewRolling(c.Window), hold: holdOf(s),
		})
	}))
}

type madConfig struct {
	Window int `param:"window" min:"50" max:"10000" doc:"readings in the window; each takes 16 bytes"`
	WarmUp int `param:"warmUp" min:"50" max:"10000" doc:"readings before the first verdict; at most the window"`
}

// madEfficiency is the asymptotic efficiency of the MAD as an estimate of the scale of normal readings: the MAD of n
// readings knows as much as the standard deviation of 0.37 n (P. J. Rousseeuw, C. Croux, Alternatives to the Median
// Absolute Deviation, JASA 88, 1993, section 1).
const madEfficiency = 0.3675

type madDetector struct {
	threshold float64
	limit2    float64 // squared deviate at the threshold
	needed    uint64
	window    moments.Rolling
	step      moments.Resolution
	run       excursion
	stretch   stretch
	hold      hold
}

func (d *madDetector) parts() state.Parts {
	return state.Parts{&d.window, &d.step, &d.run, &d.stretch, &d.hold}
}

func (d *madDetector) assess(x float64, s *driver.Sample) assessment {
	d.step.Update(x)
	n := uint64(d.window.Len())
	if n < d.needed {
		d.window.Push(x)
		return unknown(n+1, d.needed)
	}
	// The MAD of rounded readings is known to half a step only; the median is itself in error, by π/(2n) of the variance.
	scale := d.window.Scale() + moments.NormalMAD*d.step.Step()/2
	scale = max(scale*math.Sqrt(1+math.Pi/2/float64(n)), d.step.Floor()) * d.stretch.factor()
	forecast := moments.NewPrediction(d.window.Median(), scale, madEfficiency*float64(n))
	z2 := forecast.Z2(x)
	a := judgeForecast(forecast, x, z2, d.limit2, d.threshold, &d.run, confidence(n, d.needed))
	if d.hold.learns(z2 >= d.limit2, z2 <= winsor2, s.At) {
		d.window.Push(x)
		d.stretch.learn(&d.run, driver.TailProbability(d.threshold))
	}
	return a
}

// stretch widens the scale of a window of a stream that wanders or swings within it: there the next reading is farther from
// the median than those in the window are from each other. It grows with each anomalous reading and shrinks with the rate
// that the threshold stands for, so that in the long run no more are found than that, whatever the stream is like
// (I. Gibbs, E. Candès, Adaptive Conformal Inference Under Distribution Shift, NeurIPS 2021). It is the logarithm.
type stretch float64

const (
	stretchBy   = 0.15 // growth with an anomalous reading
	stretchRun  = 3    // readings of an excursion that count: a level that stays is one event
	stretchMost = 1.4  // four times as wide
)

func (s stretch) factor() float64 { return math.Exp(float64(s)) }

// learn takes the excursion after a reading, and the rate of anomalous ones that the threshold stands for.
func (s *stretch) learn(run *excursion, rate float64) {
	if n := max(*run, -*run); n > 0 && n <= stretchRun {
		*s = min(*s+stretchBy, stretchMost)
	} else {
		*s = max(*s-stretch(stretchBy*rate), 0)
	}
}

// EncodeState implements state.Part.
func (s *stretch) EncodeState(w *state.Writer) { w.Float(float64(*s)) }

// DecodeState implements state.Part.
func (s *stretch) DecodeState(r *state.Reader) {
	if *s = stretch(r.Min("stretch", 0)); *s > stretchMost {
		r.Fail("stretch %v, want at most %v", float64(*s), stretchMost)
	}
}

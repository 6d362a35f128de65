// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/incident"
	"github.com/kubeedge/edge-anomaly/pkg/engine/novelty"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/stillness"
)

const autoName = "auto"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    autoName,
		Summary: "finds and names what is unusual, by what the stream shows: a season, modes, states, a counter or none of these",
		Source:  "record novelty beside statistics of the residual, each held against its own extremes (S. Coles, An Introduction to Statistical Modeling of Extreme Values, Springer, 2001)",
		Kinds: []driver.Kind{
			driver.KindRange, driver.KindFreeze, driver.KindSpike, driver.KindLevel, driver.KindDrift, driver.KindNoise,
			driver.KindPattern, driver.KindState,
		},
	}, func() autoConfig {
		return autoConfig{WarmUp: 100, Season: true}
	}, func(s driver.Settings, c autoConfig) (driver.Detector, error) {
		return newAuto(s, c), nil
	}))
}

type autoConfig struct {
	WarmUp int  `param:"warmUp" min:"100" max:"1000000" doc:"readings before the first verdict"`
	Season bool `param:"season" doc:"whether to look for a season and to expect it"`
	Period int  `param:"period" min:"0" max:"60000" doc:"readings of a season that is known; 0 finds it"`
}

// autoDetector is three members that learn all the time: one for how strange a reading is, one for incidents that have
// a name, one for rests. The limits of the DeviceModel come before them all.
type autoDetector struct {
	threshold float64
	needed    uint64
	limits    limits
	season    bool
	period    int
	n         uint64
	clock     steps
	novelty   novelty.Detector
	watch     incident.Watch
	rests     stillness.Detector
	frozen    int // readings of the present rest that were told as a freeze
}

// justUnder the threshold a score makes no alarm.
const justUnder = 0.99

// frozenFor is for how many readings a freeze is told: it is one incident, as long as it lasts.
const frozenFor = 4

func newAuto(s driver.Settings, c autoConfig) *autoDetector {
	return &autoDetector{
		threshold: s.Threshold,
		needed:    uint64(c.WarmUp),
		limits:    limitsOf(s.Members[0], rangeConfig{Lower: math.NaN(), Upper: math.NaN()}),
		season:    c.Season,
		period:    c.Period,
		rests:     stillness.Detector{MinMovement: 0.1, MinRepeats: 5},
	}
}

// Detect implements driver.Detector.
func (d *autoDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = autoName
	if x, ok := reading(row); ok {
		a := d.assess(x, d.clock.next(row[0].At.UnixNano()))
		a.deliver(out)
		out.Ongoing = d.frozen > 0 && out.Severity == driver.Normal
	}
}

// assess judges x, which comes step readings after the one before.
func (d *autoDetector) assess(x float64, step int) assessment {
	d.n++
	tail := novelty.TailProbability(d.novelty.Next(x))
	rest := d.freeze(x)
	resting := d.rests.Moves() && d.rests.Repeats() >= 1
	v := d.watch.Next(x, step, resting, d)

	a := assessment{confidence: learned(d.n), expected: v.Expected, lower: v.Lower, upper: v.Upper}
	if d.limits.broken(x) {
		a.score, a.kind, a.confidence = 1, driver.KindRange, 1
		a.lower, a.upper = d.limits.lower, d.limits.upper
		return a
	}
	if d.n <= d.needed {
		a.score = math.NaN()
		return a
	}
	if v.Regime == incident.Modal {
		tail = min(2*tail, 1) // two judges of the same structure: each gets half of the alarms
	}
	strange := driver.TailScore(tail)
	// How strange a value is says nothing of a counter, and little of a stream of states, of which any may be the first
	// of its kind: there the watch alone makes alarms.
	switch v.Regime {
	case incident.Counting:
		strange = 0
	case incident.Discrete:
		strange = min(strange, justUnder*d.threshold)
	}
	a.score = strange
	switch {
	case rest > 0:
		a.score, a.kind = max(a.score, rest), driver.KindFreeze
	case v.Kind != incident.None:
		a.score, a.kind = max(a.score, watchScore(v.Tail)), kindOf[v.Kind]
	default:
		a.kind, a.young = d.kindOfStrange(x, &v), young(d.n)
	}
	return a
}

// freeze is the score of the present rest while it is news, else 0. A rest is held to the tail probability of incidents,
// as all of its readings are judged.
func (d *autoDetector) freeze(x float64) float64 {
	tail := d.rests.Update(x)
	if d.rests.Repeats() == 0 {
		d.frozen = 0
	}
	if d.n <= d.needed || tail > incident.AlarmTail || d.frozen == frozenFor {
		return 0
	}
	d.frozen++
	return watchScore(tail)
}

// watchScore is the score of an incident: the tail probability that makes one is that of the default threshold.
func watchScore(tail float64) float64 {
	return driver.TailScore(tail * driver.TailProbability(driver.DefaultThreshold) / incident.AlarmTail)
}

// kindOf names incidents.
var kindOf = [...]driver.Kind{
	incident.Spike:   driver.KindSpike,
	incident.Level:   driver.KindLevel,
	incident.Drift:   driver.KindDrift,
	incident.Noise:   driver.KindNoise,
	incident.Pattern: driver.KindPattern,
	incident.State:   driver.KindState,
}

// kindOfStrange names what is strange without making an incident, or while one is going on.
func (d *autoDetector) kindOfStrange(x float64, v *incident.Verdict) driver.Kind {
	switch k := d.watch.Going(); {
	case k != incident.None:
		return kindOf[k]
	case v.Regime == incident.Discrete:
		return driver.KindState
	case x < v.Lower || x > v.Upper:
		return driver.KindSpike
	}
	return driver.KindPattern
}

// Period implements incident.History.
func (d *autoDetector) Period() (readings int, trusted bool) {
	switch {
	case !d.season:
		return 0, false
	case d.period > 0:
		return d.period, true
	}
	return d.novelty.Period()
}

// Fold implements incident.History.
func (d *autoDetector) Fold(period int, profile []float64) (left, all float64, ok bool) {
	return d.novelty.Fold(period, profile)
}

// EncodeState implements state.Part.
func (d *autoDetector) EncodeState(w *state.Writer) {
	w.Uint(d.n)
	w.Int(int64(d.frozen))
	for _, m := range d.parts() {
		m.EncodeState(w)
	}
}

// DecodeState implements state.Part.
func (d *autoDetector) DecodeState(r *state.Reader) {
	d.n = r.Readings()
	d.frozen = r.Count("readings of a freeze", frozenFor)
	for _, m := range d.parts() {
		m.DecodeState(r)
	}
}

func (d *autoDetector) parts() [4]state.Part {
	return [...]state.Part{&d.clock, &d.novelty, &d.watch, &d.rests}
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *autoDetector) MarshalBinary() ([]byte, error) { return save(autoName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *autoDetector) UnmarshalBinary(data []byte) error { return restore(autoName, d, data) }

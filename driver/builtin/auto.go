// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/watch"
)

const autoName = "auto"

// autoLeast is how long a fault lasts at least that begins soon after the warm-up: readings may come every second.
const autoLeast = 30 * time.Minute

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    autoName,
		Summary: "finds, names and follows what is unusual until it is over, by what the stream shows: a season, modes, states, a counter or none of these",
		Source:  "moves over 1 to 128 readings and structure, each held against the tail of its own past (I. Weissman, JASA 73, 1978), and record novelty",
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

// autoDetector is a watched stream behind the limits of the DeviceModel.
type autoDetector struct {
	needed uint64
	limits limits
	member driver.Member
	n      uint64
	stream watch.Stream
	clock  steady // of this process
	zone   zone

	verdict  watch.Verdict // on the newest reading, to explain
	forecast watch.Forecast
}

func newAuto(s driver.Settings, c autoConfig) *autoDetector {
	d := &autoDetector{
		needed: uint64(c.WarmUp),
		limits: limitsOf(s.Members[0], rangeConfig{Lower: math.NaN(), Upper: math.NaN()}),
		member: s.Members[0],
	}
	d.stream.Configure(watch.Config{Begin: driver.TailProbability(s.Threshold), Accept: s.Accept, Least: autoLeast})
	d.stream.Season, d.stream.Period = c.Season, c.Period
	return d
}

// Unranked leaves out what ranks readings and begins no incident: for who replays a recording and wants incidents alone.
func (d *autoDetector) Unranked() { d.stream.Unranked = true }

// kindOf names what package watch finds.
var kindOf = [...]driver.Kind{
	watch.None: driver.KindNone, watch.Spike: driver.KindSpike, watch.Level: driver.KindLevel, watch.Drift: driver.KindDrift,
	watch.Noise: driver.KindNoise, watch.Freeze: driver.KindFreeze, watch.Pattern: driver.KindPattern, watch.State: driver.KindState,
}

// Detect implements driver.Detector.
func (d *autoDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = autoName
	x, ok := reading(row)
	if !ok {
		return
	}
	d.n++
	if by := d.zone.set(row[0].At); by != 0 {
		d.stream.ClockSet(by)
	}
	v, f := d.stream.Next(x, d.clock.ns(row[0].At))
	d.verdict, d.forecast = v, f
	out.Confidence = learned(d.n)
	out.Expected, out.Lower, out.Upper = f.Expected, f.Lower, f.Upper
	if d.limits.broken(x) {
		out.Confidence, out.Onset, out.Ongoing = 1, 1, true
		out.Lower, out.Upper = d.limits.lower, d.limits.upper
		out.Judge(1, driver.KindRange)
		return
	}
	if d.n <= d.needed || !v.Judged {
		out.Judge(math.NaN(), driver.KindNone)
		return
	}
	out.Onset, out.Ongoing, out.Accepted = driver.TailScore(v.Onset), v.Open, v.Accepted
	out.Judge(driver.TailScore(v.Tail), kindOf[v.Kind])
}

// EncodeState implements state.Part.
func (d *autoDetector) EncodeState(w *state.Writer) {
	w.Uint(d.n)
	d.stream.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *autoDetector) DecodeState(r *state.Reader) {
	d.n = r.Readings()
	d.stream.DecodeState(r)
	d.verdict, d.forecast = watch.Verdict{}, watch.Forecast{}
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *autoDetector) MarshalBinary() ([]byte, error) { return save(autoName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *autoDetector) UnmarshalBinary(data []byte) error { return restore(autoName, d, data) }

// learned is the confidence in what ranks readings among those before: 1 from 2,000 readings on, where the measured
// rate of false alarms is that of the score.
func learned(n uint64) float64 {
	const enough = 2000
	return min(float64(n)/enough, 1)
}

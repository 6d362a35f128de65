// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/discrete"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const statesName = "states"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name: statesName,
		Summary: "finds states never met, transitions that do not belong, states that last too long or too short, and flapping, " +
			"in streams of switches, modes and enumerations",
		Source: "semi-Markov chain: transitions by the Dirichlet estimator (R. Krichevsky, V. Trofimov, IEEE Trans. Inf. Theory 27, 1981), " +
			"dwell times by a gamma distribution fitted to log moments; flapping by R. A. Fisher's method",
		Kinds: []driver.Kind{driver.KindState},
	}, func() statesConfig {
		return statesConfig{Prior: 0.05, WarmUp: 100}
	}, func(s driver.Settings, c statesConfig) (driver.Detector, error) {
		return &statesDetector{
			teller: tellerOf(s), needed: uint64(c.WarmUp), pace: pace{cycle: s.Members[0].Cycle}, chain: discrete.NewChain(c.Prior),
		}, nil
	}))
}

type statesConfig struct {
	Prior  float64 `param:"prior" min:"0.0001" max:"10" doc:"how many times all that was never met counts as met; less makes new states and transitions more suspicious, earlier"`
	WarmUp int     `param:"warmUp" min:"20" max:"1000000" doc:"readings before the first verdict"`
}

type statesDetector struct {
	teller
	needed uint64
	n      uint64
	pace   pace
	chain  discrete.Chain
	event  discrete.Event // of the last verdict
}

// Detect implements driver.Detector.
func (d *statesDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = statesName
	d.event = discrete.Nothing
	if x, ok := symbol(row); ok {
		a := d.assess(x, d.pace.next(row[0].At))
		a.deliver(out)
	}
}

func (d *statesDetector) assess(x float64, step int) assessment {
	d.n++
	likely := d.chain.Likely()
	v := d.chain.Next(x, step)
	if d.n <= d.needed {
		return unknown(d.n, d.needed)
	}
	nan := math.NaN()
	a := assessment{
		score: driver.TailScore(v.Probability), kind: driver.KindState, confidence: confidence(d.n, d.needed),
		expected: nan, lower: nan, upper: nan,
	}
	d.event = v.Event
	if v.Event != discrete.Nothing {
		a.expected = likely
	}
	return a
}

func (d *statesDetector) parts() state.Parts {
	return state.Parts{(*state.Readings)(&d.n), &d.pace, &d.chain}
}

// EncodeState implements state.Part.
func (d *statesDetector) EncodeState(w *state.Writer) { d.parts().EncodeState(w) }

// DecodeState implements state.Part.
func (d *statesDetector) DecodeState(r *state.Reader) { d.parts().DecodeState(r) }

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *statesDetector) MarshalBinary() ([]byte, error) { return save(statesName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *statesDetector) UnmarshalBinary(data []byte) error { return restore(statesName, d, data) }

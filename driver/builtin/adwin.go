// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/change"
	"github.com/kubeedge/edge-anomaly/pkg/engine/moments"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const adwinName = "adwin"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    adwinName,
		Summary: "keeps a window as long as its mean has not changed, and tells when it has",
		Source:  "A. Bifet, R. Gavaldà, Learning from time-changing data with adaptive windowing, SDM 2007: ADWIN2",
		Kinds:   []driver.Kind{driver.KindLevel},
	}, func() adwinConfig {
		return adwinConfig{Memory: 1000, WarmUp: 100}
	}, func(s driver.Settings, c adwinConfig) (driver.Detector, error) {
		return &adwinDetector{
			teller: tellerOf(s),
			needed: uint64(c.WarmUp), test: change.NewADWIN(driver.TailProbability(s.Threshold), float64(c.Memory)),
		}, nil
	}))
}

type adwinConfig struct {
	Memory int `param:"memory" min:"50" max:"10000000" doc:"readings by which it is learned how far the parts of a window usually differ"`
	WarmUp int `param:"warmUp" min:"20" max:"1000000" doc:"readings before the first verdict"`
}

type adwinDetector struct {
	teller
	needed uint64
	test   change.ADWIN
	step   moments.Resolution
}

// Detect implements driver.Detector.
func (d *adwinDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = adwinName
	if x, ok := reading(row); ok {
		a := d.assess(x)
		a.deliver(out)
	}
}

func (d *adwinDetector) assess(x float64) assessment {
	d.step.Update(x)
	c := d.test.Update(x, d.step.Floor())
	n := d.test.Count()
	if n <= d.needed {
		return unknown(n, d.needed)
	}
	nan := math.NaN()
	return assessment{
		score: driver.TailScore(c.P), kind: driver.KindLevel, confidence: confidence(n, d.needed),
		expected: c.Before, lower: nan, upper: nan,
	}
}

// EncodeState implements state.Part.
func (d *adwinDetector) EncodeState(w *state.Writer) {
	d.test.EncodeState(w)
	d.step.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *adwinDetector) DecodeState(r *state.Reader) {
	d.test.DecodeState(r)
	d.step.DecodeState(r)
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *adwinDetector) MarshalBinary() ([]byte, error) { return save(adwinName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *adwinDetector) UnmarshalBinary(data []byte) error { return restore(adwinName, d, data) }

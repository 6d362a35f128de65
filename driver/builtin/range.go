// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const rangeName = "range"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    rangeName,
		Summary: "finds readings outside fixed limits, from the configuration or the DeviceModel's minimum and maximum",
		Source:  "limit checking: R. Isermann, Fault-Diagnosis Systems, Springer, 2006, section 7.1",
		Kinds:   []driver.Kind{driver.KindRange},
	}, func() rangeConfig {
		return rangeConfig{Lower: math.NaN(), Upper: math.NaN()}
	}, func(s driver.Settings, c rangeConfig) (driver.Detector, error) {
		l := limitsOf(s.Members[0], c)
		if !l.any() {
			return nil, &params.Error{Key: "lower", Want: fmt.Sprintf(
				"a lower or an upper limit, here or as minimum or maximum of property %q in the DeviceModel; there is none",
				s.Members[0].Key.Property)}
		}
		if l.lower > l.upper {
			return nil, &params.Error{Key: "lower", Value: l.lower, Want: fmt.Sprintf("at most the upper limit, %v", l.upper)}
		}
		return &rangeDetector{teller: tellerOf(s), limits: l}, nil
	}))
}

type rangeConfig struct {
	Lower float64 `param:"lower" doc:"least value that is normal; unset: minimum of the DeviceModel"`
	Upper float64 `param:"upper" doc:"largest value that is normal; unset: maximum of the DeviceModel"`
}

// limits are inclusive; NaN where there is none.
type limits struct{ lower, upper float64 }

func limitsOf(m driver.Member, c rangeConfig) limits {
	l := limits{c.Lower, c.Upper}
	if math.IsNaN(l.lower) {
		l.lower = m.Minimum
	}
	if math.IsNaN(l.upper) {
		l.upper = m.Maximum
	}
	return l
}

func (l limits) any() bool { return !math.IsNaN(l.lower) || !math.IsNaN(l.upper) }

// broken reports whether x is beyond a limit; a missing limit is never broken.
func (l limits) broken(x float64) bool { return x < l.lower || x > l.upper }

type rangeDetector struct {
	teller
	limits limits
}

// Detect implements driver.Detector. There is no doubt about a limit: the score is 0 or 1.
func (d *rangeDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector = rangeName
	if x, ok := reading(row); ok {
		a := d.assess(x)
		a.deliver(out)
	}
}

func (d *rangeDetector) assess(x float64) assessment {
	a := assessment{kind: driver.KindRange, confidence: 1, expected: math.NaN(), lower: d.limits.lower, upper: d.limits.upper}
	if d.limits.broken(x) {
		a.score = 1
	}
	return a
}

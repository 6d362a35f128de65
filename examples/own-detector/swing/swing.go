// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package swing is a detector of one's own: whoever imports it has the detector "swing".
package swing

import (
	"fmt"
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
)

type config struct {
	Most float64 `param:"most" min:"0" doc:"difference of two readings from which the later one is anomalous"`
}

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name: "swing", Summary: "readings that differ from the one before by more than a limit", Kinds: []driver.Kind{driver.KindSpike}, Members: 1,
	}, func() config { return config{Most: 10} }, open))
}

func open(_ driver.Settings, c config) (driver.Detector, error) {
	if !(c.Most > 0) {
		return nil, fmt.Errorf("most: got %v, want more than 0", c.Most)
	}
	return &detector{most: c.Most, last: math.NaN()}, nil
}

type detector struct{ most, last float64 }

// Detect implements driver.Detector. The score is 0.5 at half of the limit and nears 1 beyond it.
func (d *detector) Detect(row driver.Row, out *driver.Result) {
	if len(row) == 0 {
		return // out stays unknown
	}
	v := row[0].Value
	step := math.Abs(v - d.last)
	d.last = v
	if math.IsNaN(step) { // the first reading, or one that is no number
		return
	}
	score := step / (step + d.most/2)
	if step > d.most {
		score = 1
	}
	out.Judge(score, driver.KindSpike)
}

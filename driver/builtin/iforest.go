// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"math"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/forest"
	"github.com/kubeedge/edge-anomaly/pkg/engine/subspace"
)

const iforestName = "iforest"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    iforestName,
		Summary: "finds rows that random splits isolate early; makes no assumption on how members relate",
		Source:  "F. T. Liu, K. M. Ting, Z.-H. Zhou, Isolation Forest, ICDM 2008",
		Kinds:   groupKinds(),
		Members: groupMembers,
	}, func() iforestConfig {
		return iforestConfig{TrainRows: fitDefaults().TrainRows, Trees: 100, Sample: 256}
	}, func(s driver.Settings, c iforestConfig) (driver.Detector, error) {
		return newFitted(fitting{
			name: iforestName,
			fit: func(rows [][]float64) (subspace.Model, error) {
				f, err := forest.NewIsolation(rows, forest.IsolationOptions{Trees: c.Trees, Sample: c.Sample, Seed: s.Seed})
				return isolation{f}, err
			},
			blank: func() subspace.Model { return isolation{new(forest.Isolation)} },
		}, s, fitConfig{TrainRows: c.TrainRows})
	}))
}

type iforestConfig struct {
	TrainRows int `param:"trainRows" min:"40" max:"100000" doc:"first rows of the stream that are learned from, where no model is configured"`
	Trees     int `param:"trees" min:"10" max:"1000" doc:"trees in the forest"`
	Sample    int `param:"sample" min:"16" max:"4096" doc:"rows that each tree is grown from"`
}

// isolation makes a model of a forest: one that expects nothing, and does not adapt.
type isolation struct{ *forest.Isolation }

// ScoreTo implements subspace.Model. Its level is the odds of the forest's score, so that the distance between strange
// and stranger, which the score presses together below 1, shows in the tail.
func (i isolation) ScoreTo(dst, row []float64) float64 {
	s := i.Isolation.ScoreTo(dst, row)
	return s / (1 - s)
}

// ExpectedTo implements subspace.Model.
func (isolation) ExpectedTo(dst, _ []float64) {
	for j := range dst {
		dst[j] = math.NaN()
	}
}

// Adapt implements subspace.Model.
func (isolation) Adapt() bool { return false }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/subspace"
)

const msetName = "mset"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    msetName,
		Summary: "estimates each member of a group from the others by way of remembered states; follows curved relations and several modes",
		Source:  "R. M. Singer, K. C. Gross, J. P. Herzog, R. W. King, S. Wegerich, Model-Based Nuclear Power Plant Monitoring and Fault Detection, 1997",
		Kinds:   groupKinds(),
		Members: groupMembers,
	}, func() msetConfig {
		return msetConfig{fitConfig: fitDefaults(), Memory: 100}
	}, func(s driver.Settings, c msetConfig) (driver.Detector, error) {
		return newFitted(fitting{
			name: msetName,
			fit: func(rows [][]float64) (subspace.Model, error) {
				return orNil(subspace.FitMSET(rows, subspace.MSETOptions{Memory: c.Memory}))
			},
			blank: func() subspace.Model { return new(subspace.MSET) },
			// Fitting takes a tenth of a second for 8 members, and grows with their number. The levels of rows that are not
			// in the memory are nearly those of new rows.
			mostCrossed: 16, mostLive: 40,
		}, s, c.fitConfig)
	}))
}

type msetConfig struct {
	fitConfig
	Memory int `param:"memory" min:"8" max:"512" doc:"states remembered, at most half of the training rows; the time of a reading grows with it"`
}

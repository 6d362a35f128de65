// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/subspace"
)

const mahalanobisName = "mahalanobis"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    mahalanobisName,
		Summary: "finds rows far from the others under a covariance that outliers in the training rows do not spoil",
		Source:  "P. J. Rousseeuw, K. Van Driessen, A Fast Algorithm for the Minimum Covariance Determinant Estimator, Technometrics 41(3), 1999",
		Kinds:   groupKinds(),
		Members: groupMembers,
	}, func() mahalanobisConfig {
		return mahalanobisConfig{fitConfig: fitDefaults(), Covariance: "mcd"}
	}, func(s driver.Settings, c mahalanobisConfig) (driver.Detector, error) {
		o := subspace.MahalanobisOptions{Covariance: subspace.MCD, Seed: s.Seed}
		if c.Covariance == "shrinkage" {
			o.Covariance = subspace.Shrinkage
		}
		return newFitted(fitting{
			name: mahalanobisName,
			fit: func(rows [][]float64) (subspace.Model, error) {
				return orNil(subspace.FitMahalanobis(rows, o))
			},
			blank: func() subspace.Model { return new(subspace.Mahalanobis) },
		}, s, c.fitConfig)
	}))
}

type mahalanobisConfig struct {
	fitConfig
	Covariance string `param:"covariance" enum:"mcd,shrinkage" doc:"mcd withstands anomalies in the training rows and wants five rows a member; shrinkage is for many members and few rows"`
}

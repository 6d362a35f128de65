// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/subspace"
)

const pcaName = "pca"

// groupKinds are those of the drivers that are fitted to rows: of a single member they find spikes.
func groupKinds() []driver.Kind {
	return []driver.Kind{driver.KindCorrelation, driver.KindSpike, driver.KindLevel}
}

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    pcaName,
		Summary: "finds members of a group that break their linear relations, by principal components (T² and Q)",
		Source:  "T. Kourti, J. F. MacGregor, Process Analysis, Monitoring and Diagnosis, Using Multivariate Projection Methods, 1995",
		Kinds:   groupKinds(),
		Members: groupMembers,
	}, func() pcaConfig {
		return pcaConfig{fitConfig: fitDefaults(), Variance: 0.85}
	}, func(s driver.Settings, c pcaConfig) (driver.Detector, error) {
		return newFitted(fitting{
			name: pcaName,
			fit: func(rows [][]float64) (subspace.Model, error) {
				return orNil(subspace.FitPCA(rows, subspace.PCAOptions{Variance: c.Variance, Components: c.Components}))
			},
			blank: func() subspace.Model { return new(subspace.PCA) },
		}, s, c.fitConfig)
	}))
}

type pcaConfig struct {
	fitConfig
	Variance   float64 `param:"variance" min:"0.1" max:"1" doc:"share of the variance that the components explain"`
	Components int     `param:"components" min:"0" max:"256" doc:"number of components; 0 takes as many as variance asks for"`
}

// orNil keeps a nil pointer from becoming a model that is not nil.
func orNil[M subspace.Model](m M, err error) (subspace.Model, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

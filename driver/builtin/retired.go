// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import "github.com/kubeedge/edge-anomaly/driver"

// The drivers that there were: on no benchmark did one of them rank first, and nothing used them by default.
func init() {
	for name, instead := range map[string]string{
		"adwin":       `"auto", which finds new levels`,
		"cusum":       `"auto", which finds slow drifts`,
		"jump":        `"auto", or "ewma" for one reading far from those before`,
		"mahalanobis": `"pca", or "autogroup", which needs no training`,
		"mset":        `"autogroup", or "pca" with a trained model`,
		"novelty":     `"auto", which asks the same of each reading`,
		"pagehinkley": `"auto", which finds new levels and slow drifts`,
		"rrcf":        `"knn" for shapes, or "auto"`,
		"spot":        `"mad" or "ewma" for extreme values, or "auto"`,
	} {
		driver.Default.Retire(name, instead)
	}
}

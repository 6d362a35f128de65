// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package edgeanomalyprocessor is a processor for the OpenTelemetry Collector that judges the points of gauges and sums: the
// same metrics go on, and with them a score, a severity, what was expected, and its bounds, as metrics or as attributes.
//
// It stands on the intake of package github.com/kubeedge/edge-anomaly/admethod/intake, as the detector that stands alone
// does: routes say which detector judges a series, what it learns is kept in a directory, and what may come is bounded.
package edgeanomalyprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	_ "github.com/kubeedge/edge-anomaly/driver/builtin" // detectors
)

// Type is the name of the processor in configurations.
var Type = component.MustNewType("edgeanomaly")

// NewFactory makes the factory of the processor.
func NewFactory() processor.Factory {
	return processor.NewFactory(Type, createDefaultConfig, processor.WithMetrics(
		func(_ context.Context, s processor.Settings, config component.Config, next consumer.Metrics) (processor.Metrics, error) {
			return newProcessor(s, config.(*Config), next)
		}, component.StabilityLevelAlpha))
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package monitoring holds a Grafana dashboard, alert rules and a scrape configuration for Prometheus, and the tests that
// they fit what a mapper shows. See README.md.
package monitoring

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command adctl detects anomalies in recorded readings, measures detectors and documents them.
package main

import "github.com/kubeedge/edge-anomaly/cmd/adctl/cli"

func main() { cli.Main() }

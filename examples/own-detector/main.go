// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command own-detector is adctl with one more detector, swing.
package main

import (
	"github.com/kubeedge/edge-anomaly/cmd/adctl/cli"
	_ "github.com/kubeedge/edge-anomaly/examples/own-detector/swing"
)

func main() { cli.Main() }

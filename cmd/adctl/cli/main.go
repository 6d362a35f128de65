// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package cli is the program adctl. A program of one's own that links detectors, adapters or sinks of one's own beside
// those of this module is a main of five lines:
//
//	package main
//
//	import (
//		_ "example.com/plant/swing" // registers its detector
//
//		"github.com/kubeedge/edge-anomaly/cmd/adctl/cli"
//	)
//
//	func main() { cli.Main() }
package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // where the system has no time zones
)

// Main runs adctl with the arguments of the program, and ends the program with its exit status.
func Main() {
	quiet()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once, for one that waits for its standard input.
	context.AfterFunc(ctx, stop)
	code := Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

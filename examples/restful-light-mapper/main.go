// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command restful-light-mapper is a KubeEdge mapper for devices that are reached by HTTP, such as the lights and
// sensors of examples/room-simulator. It watches what they report for anomalies. See README.md.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	_ "time/tzdata" // where the system has no time zones

	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all" // detectors, adapters and sinks
	"github.com/kubeedge/edge-anomaly/device"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/examples/restful-light-mapper/verdictlog"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	klog.Flush()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "restful-light-mapper:", err)
		os.Exit(1)
	}
}

// run is the mapper until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("restful-light-mapper", flag.ContinueOnError)
	klog.InitFlags(flags)
	file := flags.String("config", "config.yaml", "configuration `file` of the mapper")
	path := flags.String("verdicts", os.Getenv("EDGE_ANOMALY_VERDICTS"),
		"`file` for every change of verdict, as JSON lines; - is standard output (EDGE_ANOMALY_VERDICTS)")
	fromEnv, envErr := strconv.ParseBool(cmp.Or(os.Getenv("EDGE_ANOMALY_VERDICTS_ALL"), "false"))
	all := flags.Bool("verdicts-all", fromEnv, "write every verdict, changed or not (EDGE_ANOMALY_VERDICTS_ALL)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if envErr != nil {
		return fmt.Errorf("EDGE_ANOMALY_VERDICTS_ALL: %w", envErr)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	store, err := config.Open(*file)
	if err != nil {
		return err
	}
	var hooks admethod.Hooks
	if *path != "" {
		log, openErr := verdictlog.Open(*path, stdout, *all)
		if openErr != nil {
			return openErr
		}
		defer func() { err = errors.Join(err, log.Close()) }()
		hooks.Verdict = log.Observe
	}
	driver := newRESTful()
	defer driver.Close()
	return device.Run(ctx, device.Options{Driver: driver, Config: store, Hooks: hooks})
}

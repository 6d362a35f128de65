// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command edgecore is a simulated EdgeCore for a mapper on a machine without KubeEdge: it serves DMI on a socket, gives
// the mapper the DeviceModels and Devices of manifests as the cloud would, and logs what the mapper reports.
//
//	edgecore --socket dmi.sock --base-url http://127.0.0.1:8000 --speed 5 device-models.yaml devices.yaml
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "edgecore:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("edgecore", flag.ContinueOnError)
	socket := flags.String("socket", "dmi.sock", "`path` of the DMI socket")
	baseURL := flags.String("base-url", "", "`address` of the devices, in place of the baseURL of the manifests")
	speed := flags.Int64("speed", 1, "by how much faster than in the manifests properties are read")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *speed < 1 || flags.NArg() == 0 {
		return errors.New("want --speed 1 or more, and manifests")
	}
	var mu sync.Mutex
	core := edgecoretest.New(edgecoretest.Options{Socket: *socket, OnEvent: func(ev edgecoretest.Event) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(out, ev)
	}})
	defer func() { err = errors.Join(err, core.Close()) }()
	if err := core.Start(); err != nil {
		return err
	}
	for _, name := range flags.Args() {
		if err := apply(ctx, core, name, *baseURL, *speed); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	<-ctx.Done()
	return nil
}

func apply(ctx context.Context, core *edgecoretest.EdgeCore, name, baseURL string, speed int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := edgecoretest.ParseManifests(f)
	if err != nil {
		return err
	}
	for _, model := range m.Models {
		if err := core.AddModel(ctx, model); err != nil {
			return err
		}
	}
	for _, d := range m.Devices {
		if baseURL != "" {
			d.Spec.Protocol.ConfigData.Data["baseURL"] = baseURL
		}
		for i := range d.Spec.Properties {
			p := &d.Spec.Properties[i]
			p.CollectCycle /= speed
			p.ReportCycle /= speed
			if speed > 1 && p.PushMethod != nil && p.PushMethod.AnomalyDetection != nil {
				// The cycle is shorter than a busy machine is punctual.
				p.PushMethod.AnomalyDetection.Data["quality.late"] = 0
				p.PushMethod.AnomalyDetection.Data["quality.missing"] = 0
			}
		}
		err := core.AddDevice(ctx, d)
		if status.Code(err) == codes.NotFound { // a mapper that has just come keeps the device until it has read the models
			fmt.Fprintln(os.Stderr, "edgecore:", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

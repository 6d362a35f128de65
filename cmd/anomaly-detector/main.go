// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command anomaly-detector judges readings with any detector of this project: those that mappers send to it, and those that
// its sources bring from what already flows. See examples/external-anomaly-detector and docs/guides.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // where the system has no time zones

	"k8s.io/klog/v2"

	_ "github.com/kubeedge/edge-anomaly/admethod/all"        // detectors and sinks
	_ "github.com/kubeedge/edge-anomaly/admethod/source/all" // sources
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/regular"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	klog.Flush()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "anomaly-detector:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. A line on stdout tells each address that is served.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("anomaly-detector", flag.ContinueOnError)
	klog.InitFlags(flags)
	file := flags.String("config", "config.yaml", "configuration `file`")
	override := make(map[string]any)
	for _, f := range []struct{ name, key, usage string }{
		{"listen", "listen", "`address` of the gRPC endpoint; port 0 takes a free one"},
		{"http-listen", "http.listen", "`address` of the HTTP endpoint"},
	} {
		flags.Func(f.name, f.usage+" (overrides "+f.key+")", func(s string) error {
			override[f.key] = s
			return nil
		})
	}
	kubeconfig := flags.String("kubeconfig", "", "`file` of a cluster with KubeEdge whose devices are watched: in place of --config, with defaults for all else")
	check := flags.Bool("check", false, "check the configuration, and the files that it names, and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	c, err := chosen(flags, file, *kubeconfig, override)
	if err != nil {
		return err
	}
	s, err := newService(c)
	if err != nil {
		return fmt.Errorf("configuration %s: %w", *file, err)
	}
	if *check {
		if c.idle != nil {
			return c.idle
		}
		fmt.Fprintf(stdout, "%s: ok\n", *file)
		return nil
	}
	if c.idle != nil {
		logs.Warningf("%v", c.idle)
	}
	return s.serve(ctx, c, stdout)
}

//go:embed watch.yaml
var watchConfig string

// chosen loads the configuration that the flags choose, and changes file to its name.
func chosen(flags *flag.FlagSet, file *string, kubeconfig string, override map[string]any) (*configuration, error) {
	if kubeconfig == "" {
		return load(*file, override)
	}
	given := false
	flags.Visit(func(f *flag.Flag) { given = given || f.Name == "config" })
	if given {
		return nil, errors.New("--kubeconfig: want it without --config, which names one in the options of the source kubernetes")
	}
	if _, err := regular.Read(kubeconfig, regular.MaxConfig); err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	*file = "--kubeconfig " + kubeconfig
	quoted, err := json.Marshal(kubeconfig) // which YAML reads as well
	if err != nil {
		return nil, err
	}
	c, err := parse([]byte(strings.ReplaceAll(watchConfig, "KUBECONFIG", string(quoted))), override)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", *file, err)
	}
	return c, nil
}

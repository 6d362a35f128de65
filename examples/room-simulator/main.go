// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Command room-simulator serves a simulated room over HTTP: lights, sensors,
// replayed recordings, and faults at the push of a button. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "room-simulator:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. The first line on out is the address.
func run(ctx context.Context, args []string, out io.Writer) error {
	cfg := room.Config{Replays: make(map[string][]float64)}
	flags := flag.NewFlagSet("room-simulator", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8000", "`address` to serve on; port 0 takes a free one")
	flags.DurationVar(&cfg.Day, "day", 24*time.Hour, "how long a day of the temperature's rhythm takes")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "seed of the noise")
	flags.DurationVar(&cfg.ReplayInterval, "replay-interval", 0, "how long a row of a replay lasts; 0: each request takes the next row")
	flags.Func("replay", "`name=file.csv`, served at /replay/name; may be repeated", func(s string) error {
		name, path, found := strings.Cut(s, "=")
		if !found {
			return errors.New("want name=file.csv")
		}
		values, err := readReplay(path)
		if err == nil && cfg.Replays[name] != nil {
			err = errors.New("the name is taken by another replay")
		}
		cfg.Replays[name] = values
		return err
	})
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %q: want none", flags.Arg(0))
	}
	handler, err := room.New(cfg)
	if err != nil {
		return err
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	fmt.Fprintf(out, "room-simulator: http://%s\n", listener.Addr())

	select {
	case err = <-served:
		return err
	case <-ctx.Done():
	}
	// What is being answered may end; nobody waits longer than this.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err = server.Shutdown(grace)
	<-served
	return err
}

func readReplay(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	values, err := room.ReadCSV(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return values, nil
}

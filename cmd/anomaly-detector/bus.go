// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kubeedge/edge-anomaly/admethod/bus"
	"github.com/kubeedge/edge-anomaly/admethod/bus/embedded"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// busSettings are those of a bus: readings are judged by whichever process owns their partition.
type busSettings struct {
	Embedded    bool           `param:"embedded" doc:"JetStream in this process, on disk: what is learned and what waits outlives a crash"`
	URL         string         `param:"url" doc:"addresses of a NATS cluster with JetStream, separated by commas: nats://… or tls://…"`
	Dir         string         `param:"dir" doc:"directory of the embedded server; empty: bus, below the state directory"`
	Worker      bool           `param:"worker" doc:"own partitions and judge; false: only bring what the sources have"`
	Sinks       string         `param:"sinks" enum:"shared,each,none" doc:"who tells the sinks: shared, one process at a time, each verdict once; each, every process, all verdicts from its start on, for the API and the page; none"`
	Name        string         `param:"name" maxlen:"63" doc:"of this process, different from all others; empty: one is made"`
	Partitions  int            `param:"partitions" min:"0" max:"4096" doc:"that readings are spread over, at creation; 0: those that are there, or 64"`
	Replicas    int            `param:"replicas" min:"0" max:"5" doc:"copies of all that is kept, at creation; 0: 3 in a cluster, else 1"`
	Waiting     int            `param:"waiting" min:"1" max:"1048576" doc:"MiB of readings that wait to be judged, at creation; sources wait beyond"`
	Retain      time.Duration  `param:"retain" min:"1m" max:"8760h" doc:"that verdicts are kept, at creation"`
	Checkpoint  time.Duration  `param:"checkpoint" min:"1s" max:"1h" doc:"between two checkpoints of a partition; what came since is judged again after a crash"`
	Lease       time.Duration  `param:"lease" min:"500ms" max:"10m" doc:"after which a worker that is not heard of loses its partitions"`
	Insecure    bool           `param:"insecure" doc:"plaintext to the cluster"`
	Credentials string         `param:"credentials" doc:"file with the JWT and the key of a user"`
	NKey        string         `param:"nkey" doc:"file with the seed of a user's NKey"`
	TLS         tlsfiles.Files `param:"tls"`
}

func busDefaults() (b busSettings) {
	b.Worker, b.Sinks, b.Waiting, b.Retain = true, "shared", 1024, 7*24*time.Hour
	b.Checkpoint, b.Lease = 30*time.Second, 2500*time.Millisecond
	return b
}

func (b *busSettings) on() bool { return b.Embedded || b.URL != "" }

// where is the bus, for people.
func (b *busSettings) where() string {
	if b.Embedded {
		return "embedded"
	}
	var hosts []string
	for address := range strings.SplitSeq(b.URL, ",") {
		if u, err := url.Parse(strings.TrimSpace(address)); err == nil {
			hosts = append(hosts, u.Host) // without a password
		}
	}
	return strings.Join(hosts, ",")
}

// validateBus finds what bounds of single keys cannot express.
func (c *configuration) validateBus() error {
	b := &c.Bus
	if !b.on() {
		return nil
	}
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: "bus." + key, Value: value, Want: want})
	}
	if b.Embedded && b.URL != "" {
		fail("url", b.where(), "no embedded beside it")
	}
	if b.Embedded && b.Dir == "" && c.Detection.StateDir == "" {
		fail("dir", nil, "required without anomalyDetection.stateDir")
	}
	if c.Listen != "" || c.HTTP.Listen != "" {
		errs = append(errs, &params.Error{Key: "listen", Value: c.Listen + c.HTTP.Listen, Want: "none with a bus: sources alone publish on it"})
	}
	if !b.Worker && len(c.Sources) == 0 && b.Sinks == "none" {
		fail("worker", false, "sources or sinks: nothing would be done")
	}
	plain := !b.Insecure && b.TLS == (tlsfiles.Files{})
	for address := range strings.SplitSeq(b.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(address))
		switch {
		case b.URL == "":
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			fail("url", "an address", "nats://host:port or tls://host:port")
		case plain && (u.Scheme == "nats" || u.Scheme == "ws"):
			fail("url", u.Scheme+"://"+u.Host, "tls://…, or bus.tls.*; or bus.insecure: true for plaintext")
		}
	}
	if b.Credentials != "" && b.NKey != "" {
		fail("nkey", b.NKey, "no credentials beside it")
	}
	return errors.Join(errs...)
}

// options are those of a connection to the cluster.
func (b *busSettings) options() ([]nats.Option, error) {
	all := bus.Connect("anomaly-detector " + b.Name)
	if b.TLS != (tlsfiles.Files{}) {
		files, err := tlsfiles.New(b.TLS, func(err error) { logs.ErrorS(err, "Files of bus.tls") })
		if err != nil {
			return nil, fmt.Errorf("bus.tls: %w", err)
		}
		all = append(all, nats.Secure(files.Client()))
	}
	if b.Credentials != "" {
		all = append(all, nats.UserCredentials(b.Credentials))
	}
	if b.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(b.NKey)
		if err != nil {
			return nil, fmt.Errorf("bus.nkey: %w", err)
		}
		all = append(all, o)
	}
	return all, nil
}

// onBus runs what the configuration has to do on the bus until ctx ends or a source fails.
func (c *configuration) onBus(ctx context.Context, in *intake.Intake) error {
	s := &c.Bus
	options, err := s.options()
	if err != nil {
		return err
	}
	settings := bus.Config{Partitions: s.Partitions, Replicas: s.Replicas, MaxBytes: int64(s.Waiting) << 20, Retain: s.Retain, Report: in.Report}
	if s.Embedded {
		dir := s.Dir
		if dir == "" {
			dir = filepath.Join(c.Detection.StateDir, "bus")
		}
		server, err := embedded.Start(dir)
		if err != nil {
			return err
		}
		defer server.Stop()
		options, settings.Replicas = append(options, server.Option()), 1
	} else if settings.Replicas == 0 {
		settings.Replicas = 3
	}
	conn, err := nats.Connect(s.URL, options...)
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	defer conn.Close()
	b, err := bus.Open(ctx, conn, settings)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	return together(ctx, c.busParts(b, in))
}

// busParts are what is done on the bus. Those at the end end first.
func (c *configuration) busParts(b *bus.Bus, in *intake.Intake) (parts []part) {
	s := &c.Bus
	switch s.Sinks {
	case "shared":
		parts = append(parts, func(ctx context.Context) error { return b.Tell(ctx, "shared", in.Tell) })
	case "each":
		parts = append(parts, func(ctx context.Context) error { return b.TellAll(ctx, time.Now(), in.Tell) })
	}
	name := s.Name
	if name == "" && s.Embedded {
		name = "embedded" // nobody else works there: it takes up at once what it had
	}
	if s.Worker {
		parts = append(parts, b.Worker(bus.WorkerConfig{
			Name: name, Intake: c.intake(), Checkpoint: s.Checkpoint, Lease: s.Lease,
		}).Run)
	}
	if len(c.Sources) == 0 {
		return parts
	}
	publisher := b.Publisher(c.intake())
	parts = append(parts, publisher.Run)
	for i := range c.Sources {
		o := &c.Sources[i]
		o.tells.to = in.Report
		to := publisher.Intake(bus.Origin{Name: o.Name, Namespaces: o.Namespaces, Rate: o.Limits.Rate})
		parts = append(parts, func(ctx context.Context) error {
			if err := o.source.Run(ctx, to); err != nil && ctx.Err() == nil {
				return fmt.Errorf("source %q: %w", o.Name, err)
			}
			return nil
		})
	}
	return parts
}

// together runs parts until ctx ends or one of them fails, and joins all.
func together(ctx context.Context, parts []part) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	failed := make(chan error, len(parts))
	for _, run := range parts {
		go func() {
			err := run(ctx)
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			failed <- err
		}()
	}
	var errs []error
	for range parts {
		err := <-failed
		if err != nil {
			end()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// part is something that runs as long as the program: endpoints, and sources.
type part = func(context.Context) error

// service is what the configuration describes.
type service struct {
	in     *intake.Intake
	server *detectserver.Server // nil without endpoints
	parts  []part               // the sources
}

// newService reads the files that the configuration names.
func newService(c *configuration) (*service, error) {
	s := new(service)
	var err error
	if c.Listen == "" && c.HTTP.Listen == "" {
		if s.in, err = intake.New(c.intake()); err != nil {
			return nil, err
		}
	} else {
		if s.server, err = newServer(c); err != nil {
			return nil, err
		}
		s.in = s.server.Intake()
	}
	if c.Bus.on() {
		s.parts = []part{func(ctx context.Context) error { return c.onBus(ctx, s.in) }}
	} else {
		s.parts = c.parts(s.in)
	}
	return s, nil
}

// newServer makes the endpoints, and what is behind them.
func newServer(c *configuration) (*detectserver.Server, error) {
	clients := make(map[string]detectserver.Client)
	for _, one := range c.Clients {
		clients[one.Name] = detectserver.Client{
			Names: one.Certificates, Token: one.Token, Namespaces: one.Namespaces, Limits: detectserver.Limits(one.Limits),
		}
	}
	var callbacks []detectserver.Callback
	for _, one := range c.Callbacks {
		callbacks = append(callbacks, detectserver.Callback(one))
	}
	return detectserver.New(detectserver.Config{
		TLS:      tlsfiles.Files{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key},
		Insecure: c.Insecure, Clients: clients, Anonymous: c.Anonymous, Callbacks: callbacks,
		Limits: detectserver.Limits(c.ClientLimits), MaxPending: c.Limits.Pending, Handshake: c.Limits.Handshake, Config: c.intake(),
	})
}

// intake is what comes behind the endpoints and sources.
func (c *configuration) intake() intake.Config {
	d, l := &c.Detection, &c.Limits
	return intake.Config{
		StateDir: d.StateDir, ModelDir: d.ModelDir, Language: d.Language(), Defaults: d.Defaults, Routes: c.Routes,
		Sinks: d.Sinks, SinkOptions: d.SinkOptions, MaxStreams: l.Streams, MaxSeries: l.Series,
		Idle: l.Idle, Handover: l.Handover, Deadline: l.Deadline, Snapshot: l.Snapshot,
	}
}

// checkDetection finds what would make every property fail that it is for: detectors and sinks that are not known, and
// keys and values that they do not take.
func (c *configuration) checkDetection() error {
	check := func(layers ...map[string]any) error {
		settings := make(map[string]any)
		for _, layer := range layers {
			maps.Copy(settings, layer)
		}
		if method, ok := settings["adMethodName"]; ok {
			return &params.Error{Key: "adMethodName", Value: method, Want: "nothing: readings are judged here"}
		}
		parsed, err := admethod.ParseSettings(settings)
		if err != nil {
			return err
		}
		members := 1
		if parsed.Group != "" {
			members = 2
		}
		parsed.ADMethodName = inprocess.Name
		return pipeline.Options{}.Check(driver.Key{Namespace: "n", Device: "d", Property: "p"}, parsed, admethod.Meta{}, members)
	}
	var known []error
	err := check(c.Detection.Defaults)
	if err != nil {
		known = parts(err)
	}
	errs := under("anomalyDetection.defaults", err, nil)
	for i := range c.Routes {
		err := check(c.Detection.Defaults, c.Routes[i].Settings)
		errs = append(errs, under(fmt.Sprintf("anomalyDetection.routes[%d].settings", i), err, known)...)
	}
	return errors.Join(errs...)
}

// serve serves until ctx ends, and answers what it has read. A line on stdout tells each address.
func (s *service) serve(ctx context.Context, c *configuration, stdout io.Writer) error {
	var (
		listening net.ListenConfig
		listeners [2]net.Listener // gRPC, HTTP
		told      strings.Builder
	)
	for i, l := range [...]struct{ key, name, address string }{{"listen", "grpc", c.Listen}, {"http.listen", "http", c.HTTP.Listen}} {
		if l.address == "" {
			continue
		}
		var err error
		if listeners[i], err = listening.Listen(ctx, "tcp", l.address); err != nil {
			err = fmt.Errorf("%s: %w", l.key, err)
			if listeners[0] != nil && i > 0 {
				err = errors.Join(err, listeners[0].Close())
			}
			return err
		}
		fmt.Fprintf(&told, "anomaly-detector: %s %s\n", l.name, listeners[i].Addr())
	}
	if c.Bus.on() {
		fmt.Fprintf(&told, "anomaly-detector: bus %s\n", c.Bus.where())
	}
	for _, o := range c.Sources {
		fmt.Fprintf(&told, "anomaly-detector: source %s\n", o.Name)
	}
	if _, err := io.WriteString(stdout, told.String()); err != nil {
		logs.ErrorS(err, "Addresses cannot be told")
	}
	logs.InfoS("Serving", "grpc", c.Listen, "http", c.HTTP.Listen, "tls", !c.Insecure, "clients", len(c.Clients), "sources", len(c.Sources))
	var err error
	if s.server != nil {
		err = s.server.ServeBoth(ctx, listeners[0], listeners[1], s.parts...)
	} else {
		err = s.in.Run(ctx, s.parts...)
	}
	logs.InfoS("Ended")
	return err
}

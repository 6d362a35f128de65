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

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// newServer makes the server that the configuration describes, and reads the files that it names.
func newServer(c *configuration) (*detectserver.Server, error) {
	if err := c.checkDetection(); err != nil {
		return nil, err
	}
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
	check := func(key string, layers ...map[string]any) error {
		settings := make(map[string]any)
		for _, layer := range layers {
			maps.Copy(settings, layer)
		}
		if method, ok := settings["adMethodName"]; ok {
			return &params.Error{Key: key + ".adMethodName", Value: method, Want: "nothing: readings are judged here"}
		}
		parsed, err := admethod.ParseSettings(settings)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		members := 1
		if parsed.Group != "" {
			members = 2
		}
		parsed.ADMethodName = inprocess.Name
		err = admethod.Options{}.Check(driver.Key{Namespace: "n", Device: "d", Property: "p"}, parsed, admethod.Meta{}, members)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	errs := []error{check("anomalyDetection.defaults", c.Detection.Defaults)}
	for i := range c.Routes {
		errs = append(errs, check(fmt.Sprintf("anomalyDetection.routes[%d].settings", i), c.Detection.Defaults, c.Routes[i].Settings))
	}
	return errors.Join(errs...)
}

// serve serves until ctx ends, and answers what it has read.
func serve(ctx context.Context, c *configuration, s *detectserver.Server, stdout io.Writer) error {
	var listening net.ListenConfig
	l, err := listening.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	run := func() error { return s.Serve(ctx, l) }
	told := fmt.Sprintf("external-anomaly-detector: grpc %s\n", l.Addr())
	if c.HTTP.Listen != "" {
		h, err := listening.Listen(ctx, "tcp", c.HTTP.Listen)
		if err != nil {
			return errors.Join(fmt.Errorf("http.listen: %w", err), l.Close())
		}
		run = func() error { return s.ServeBoth(ctx, l, h) }
		told += fmt.Sprintf("external-anomaly-detector: http %s\n", h.Addr())
	}
	if _, err := io.WriteString(stdout, told); err != nil {
		logs.ErrorS(err, "Addresses cannot be told")
	}
	logs.InfoS("Serving", "grpc", l.Addr().String(), "http", c.HTTP.Listen, "tls", !c.Insecure, "clients", len(c.Clients))
	err = run()
	logs.InfoS("Ended")
	return err
}

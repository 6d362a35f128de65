// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/device/config"
	"github.com/kubeedge/edge-anomaly/device/push"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Options say what [Run] is to run.
type Options struct {
	Driver Driver        // required
	Config *config.Store // required

	Consumers []Consumer     // get every reading
	Hooks     admethod.Hooks // see what detection does
	Node      string         // name of the node, told to detectors elsewhere; may be ""

	Panel    PanelOptions    // timeouts and pauses; Run sets the rest
	Reporter ReporterOptions // share of the node's limiter, pauses; Run sets the client
	Push     push.Options

	// OnStart, when set, is called when all is running, before EdgeCore has answered.
	OnStart func(*Mapper)
	// ConfigInterval is how often the configuration file is looked at. Default [config.DefaultInterval].
	ConfigInterval time.Duration
	// ShutdownTimeout is what all of the shutdown may take. Default 4.5 s, which leaves a margin to five seconds.
	ShutdownTimeout time.Duration
}

// Mapper gives access to the parts of a running mapper.
type Mapper struct {
	Panel    *Panel
	Reporter *Reporter
	Push     *push.Pool

	handler atomic.Pointer[pipeline.Handler]
}

// Handler is the one that detects now. A change of the configuration file may bring another one.
func (m *Mapper) Handler() *pipeline.Handler { return m.handler.Load() }

// Run runs a mapper until ctx ends: it detects, collects and reports, serves the DMI socket, registers with EdgeCore
// (again and again until it answers), and follows the configuration file. Then it shuts down in order: no more calls
// from EdgeCore, devices closed, and what they have read is judged, pushed and reported as far as time allows. Every
// goroutine has ended when it returns.
//
// A shutdown that finished in time gives nil; other errors say what could not start, or did not end cleanly. A main
// ends ctx by signal.NotifyContext.
func Run(ctx context.Context, opts Options) error {
	if opts.Config == nil {
		return errors.New("mapper: no configuration")
	}
	if opts.ShutdownTimeout <= 0 {
		opts.ShutdownTimeout = 4500 * time.Millisecond
	}
	r := runner{opts: opts, cfg: opts.Config.Current()}
	// The parts outlive ctx: they end in order, when Run says so.
	err := r.start(context.WithoutCancel(ctx))
	if err == nil {
		err = r.wait(ctx)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), opts.ShutdownTimeout)
	defer cancel()
	return errors.Join(err, r.shutdown(end))
}

type runner struct {
	opts   Options
	cfg    *config.Config
	parts  Mapper
	client *DMIClient
	server *DMIServer

	sinks     *admethod.SinkRegistry
	detection *handlerDetection
	applied   config.AnomalyDetection // what the handler was made of; for the watch over the configuration only

	carriers *carriers
	saving   sync.WaitGroup
	saved    context.CancelFunc // has carriers saved for the last time
}

func (r *runner) start(ctx context.Context) (err error) {
	c, ad := r.cfg, r.cfg.AnomalyDetection
	fail := func(err error) error { return fmt.Errorf("mapper %s: %w", c.Common.Name, err) }
	if c.Common.HTTPPort != "" {
		logs.InfoS("common.http_port is ignored: there is no REST API")
	}
	verdicts := NewVerdicts()
	r.remember(ctx, verdicts.carriers, ad.StateDir)
	r.sinks = verdicts.Link(admethod.Sinks)
	h, err := r.newHandler(&ad)
	if err != nil {
		return fail(err)
	}
	r.parts.handler.Store(h)
	if err := h.Start(ctx); err != nil {
		return fail(err)
	}
	if r.client, err = NewDMIClient(ClientOptions{Socket: c.Common.EdgeCoreSock}); err != nil {
		return fail(err)
	}
	r.opts.Reporter.Client = r.client
	if r.parts.Reporter, err = NewReporter(r.opts.Reporter); err != nil {
		return fail(err)
	}
	if err := r.parts.Reporter.Start(ctx); err != nil {
		return fail(err)
	}
	r.parts.Push = push.NewPool(ctx, r.opts.Push)
	panel := r.opts.Panel
	panel.Driver, panel.Reporter, panel.Push = r.opts.Driver, r.parts.Reporter, r.parts.Push
	r.detection, r.applied = newDetection(h, r.opts.Config), ad
	panel.Detection, panel.Verdicts = r.detection, verdicts
	panel.Consumers = append(panel.Consumers, r.opts.Consumers...)
	if r.parts.Panel, err = NewPanel(ctx, panel); err != nil {
		return fail(err)
	}
	r.server, err = NewDMIServer(ServerOptions{
		Socket: c.GRPCServer.SocketPath, Panel: r.parts.Panel, OnRegister: r.parts.Reporter.Renew,
	})
	if err != nil {
		return fail(err)
	}
	// Before registering: EdgeCore pushes as soon as it knows the mapper.
	if err := r.server.Start(ctx); err != nil {
		return fail(err)
	}
	r.parts.Panel.Start()
	if r.opts.OnStart != nil {
		r.opts.OnStart(&r.parts)
	}
	return nil
}

// remember keeps which twins carry verdicts over a restart, if there is a state directory.
func (r *runner) remember(ctx context.Context, c *carriers, stateDir string) {
	r.carriers = c
	if err := c.open(stateDir); err != nil {
		logs.ErrorS(err, "Verdicts on properties that went while the mapper was down stay on show")
	}
	ctx, r.saved = context.WithCancel(ctx)
	r.saving.Go(func() { guard.Loop(ctx, "the memory of twins that carry verdicts", c.run) })
}

// wait returns when ctx has ended, or with an error when the mapper is of no use.
func (r *runner) wait(ctx context.Context) (fatal error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		guard.Loop(ctx, "the watch over the configuration", func(ctx context.Context) {
			r.opts.Config.Watch(ctx, r.opts.ConfigInterval, func() { r.reconfigure(ctx) })
		})
	})
	helpers.Go(func() {
		if err := guard.Call("the registration with EdgeCore", func() error { return r.register(ctx) }); err != nil && ctx.Err() == nil {
			fatal = fmt.Errorf("mapper %s: %w", r.cfg.Common.Name, err)
			cancel()
		}
	})
	<-ctx.Done()
	helpers.Wait()
	return fatal
}

func (r *runner) register(ctx context.Context) error {
	c := r.cfg.Common
	devices, models, err := r.client.Register(ctx, &dmiapi.MapperInfo{
		Name: c.Name, Version: c.Version, ApiVersion: c.APIVersion, Protocol: c.Protocol,
		Address: []byte(r.cfg.GRPCServer.SocketPath), State: "ok",
	}, true)
	if err != nil {
		return err
	}
	logs.InfoS("Registered with EdgeCore", "mapper", c.Name, "protocol", c.Protocol, "devices", len(devices))
	if err := r.parts.Panel.DevInit(devices, models); err != nil {
		logs.ErrorS(err, "Parts of devices cannot be used")
	}
	return nil
}

// shutdown ends what was started, each part after those that feed it.
func (r *runner) shutdown(ctx context.Context) error {
	var errs []error
	if r.server != nil {
		// Calls are quick; one that is not must not take the time of what follows.
		server, cancel := context.WithTimeout(ctx, r.opts.ShutdownTimeout/4)
		errs = append(errs, r.server.Shutdown(server))
		cancel()
	}
	if r.parts.Panel != nil {
		panel, cancel := context.WithTimeout(ctx, r.opts.ShutdownTimeout*3/4)
		errs = append(errs, r.parts.Panel.Shutdown(panel))
		cancel()
	}
	var mu sync.Mutex
	var last sync.WaitGroup
	end := func(shutdown func(context.Context) error) {
		last.Go(func() {
			err := shutdown(ctx)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	if r.parts.Push != nil {
		end(r.parts.Push.Shutdown)
	}
	judged := make(chan struct{})
	if h := r.parts.Handler(); h != nil {
		end(func(ctx context.Context) error {
			defer close(judged)
			return h.Shutdown(ctx)
		})
	} else {
		close(judged)
	}
	if r.parts.Reporter != nil {
		end(func(ctx context.Context) error {
			// The last verdicts are to be reported, too. A handler that takes long must not take the time to report.
			patience := time.NewTimer(r.opts.ShutdownTimeout / 4)
			defer patience.Stop()
			select {
			case <-judged:
			case <-patience.C:
			case <-ctx.Done():
			}
			return r.parts.Reporter.Shutdown(ctx)
		})
	}
	if r.saved != nil {
		end(func(ctx context.Context) error {
			r.saved()
			if err := guard.Join(ctx, &r.saving); err != nil {
				return fmt.Errorf("twins that carry verdicts are still being saved: %w", err)
			}
			return nil
		})
	}
	last.Wait()
	if r.client != nil {
		errs = append(errs, r.client.Close())
	}
	return errors.Join(errs...)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kubeedge/edge-anomaly/admethod"
)

// startedAdapter is an adapter that runs, or is being started by whoever asked for it first.
type startedAdapter struct {
	ready   chan struct{}    // closed when it runs or has failed
	adapter admethod.Adapter // nil where it has failed
	err     error
}

// wait returns the adapter once it runs, nil where it has failed. It is an error if ctx ends before.
func (a *startedAdapter) wait(ctx context.Context) (admethod.Adapter, error) {
	select {
	case <-a.ready:
		return a.adapter, nil
	default:
	}
	select {
	case <-a.ready:
		return a.adapter, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("still starts: %w", context.Cause(ctx))
	}
}

// adapter returns the running adapter of the given name.
func (h *Handler) adapter(name string) (admethod.Adapter, error) {
	h.mu.Lock()
	if h.state != started {
		h.mu.Unlock()
		return nil, fmt.Errorf("adapter %q: %w", name, admethod.ErrClosed)
	}
	a, ok := h.adapters[name]
	if !ok {
		a = &startedAdapter{ready: make(chan struct{})}
		h.adapters[name] = a
	}
	ctx := h.ctx
	h.mu.Unlock()
	if !ok {
		a.adapter, a.err = h.startAdapter(ctx, name)
		if a.err != nil { // the next one tries again
			h.mu.Lock()
			delete(h.adapters, name)
			h.mu.Unlock()
		}
		close(a.ready)
	}
	<-a.ready // to start is quick, and waits for no network
	return a.adapter, a.err
}

func (h *Handler) startAdapter(ctx context.Context, name string) (admethod.Adapter, error) {
	f, err := h.opts.Adapters.Lookup("adapter", name)
	if err != nil {
		return nil, fmt.Errorf("adMethodName: %w", err)
	}
	a, err := f.New(admethod.AdapterSettings{
		Drivers: h.opts.Drivers, StateDir: h.opts.StateDir, Hooks: &h.hooks, Options: h.opts.AdapterOptions[name],
		Mapper: h.opts.Mapper, Node: h.opts.Node, Report: h.troubles.report,
	})
	if err != nil {
		return nil, fmt.Errorf("adapter %q: %w", name, err)
	}
	if err := a.Start(ctx); err != nil {
		return nil, fmt.Errorf("adapter %q: start: %w", name, err)
	}
	return a, nil
}

// sink returns the queue of the given sink, which runs, or is tried again until it does. What is wrong with the sink's
// configuration is an error.
func (h *Handler) sink(name string) (*sinkQueue, error) {
	h.mu.Lock()
	if h.state != started {
		h.mu.Unlock()
		return nil, fmt.Errorf("sink %q: %w", name, admethod.ErrClosed)
	}
	q, ok := h.sinks[name]
	if !ok {
		f, err := h.opts.Sinks.Lookup("sink", name)
		if err != nil {
			h.mu.Unlock()
			return nil, fmt.Errorf("sinks: %w", err)
		}
		q = newSinkQueue(name, func() (admethod.Sink, error) {
			return f.New(admethod.SinkSettings{
				Hooks: &h.hooks, Options: h.opts.SinkOptions[name], StateDir: h.opts.StateDir, Stats: h.Stats,
				Language: h.opts.Language, About: h.About, Accept: h.Accept, Mute: h.Mute, Mutes: h.Mutes, Watched: h.Watched, Describe: h.Describe,
				Report: h.troubles.report,
			})
		}, &h.hooks)
		q.observe, q.report, q.alerts = h.observe, h.troubles.report, f.Alerts
		h.sinks[name] = q
		// The queue outlives h.ctx: Shutdown flushes it before it cancels.
		ctx, cancel := context.WithCancel(h.root)
		q.cancel = cancel
		h.wg.Go(func() { q.run(ctx) })
	}
	ctx := h.ctx
	h.mu.Unlock()
	err := q.firstTry(ctx)
	if err != nil {
		q.cancel()
		h.mu.Lock()
		if h.sinks[name] == q && h.state == started { // the next one tries again
			delete(h.sinks, name)
		}
		h.mu.Unlock()
		return nil, err
	}
	return q, nil
}

// queues returns the sink queues for a configuration.
func (h *Handler) queues(names []string) ([]*sinkQueue, error) {
	if len(names) == 0 {
		names = h.opts.DefaultSinks
	}
	var errs []error
	queues := make([]*sinkQueue, 0, len(names))
	for _, name := range names {
		q, err := h.sink(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	return queues, errors.Join(errs...)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Options configure a [Handler]. The zero value is usable: everything that is linked, no state kept on disk.
type Options struct {
	Drivers  *driver.Registry // detectors to choose from; nil means driver.Default
	Adapters *AdapterRegistry // nil means the linked ones, [Adapters]
	Sinks    *SinkRegistry    // nil means the linked ones, [Sinks]

	Mapper string // name of the mapper, for detectors elsewhere; may be ""
	Node   string // name of the node that it runs on, likewise

	StateDir string // directory for learned state; "" keeps none over a restart
	ModelDir string // directory in which the key model is looked up

	// DefaultSinks are used by properties that name none. nil means "log" if that sink is linked.
	DefaultSinks []string
	// AdapterOptions and SinkOptions are the mapper's own settings, flat, by name of adapter and sink.
	AdapterOptions, SinkOptions map[string]map[string]any

	// Replay judges readings by their time of reading alone: the handler looks at no clock, so that recorded readings
	// get the verdicts that they got live. Silence is then noticed with the next reading.
	Replay bool

	Hooks Hooks
}

// Handler binds properties to detectors and runs their readings through the stages. It owns every goroutine below it;
// Shutdown joins them all.
type Handler struct {
	opts      Options
	hooks     Hooks // calls the hooks of every observer
	observers atomic.Pointer[[]*Hooks]
	watched   atomic.Bool  // an observer wants every verdict; on the path of every reading, so it is told apart
	mirrored  atomic.Bool  // an observer wants every reading
	now       atomic.Int64 // coarse clock, Unix ns; 0 in replays
	wg        sync.WaitGroup

	mu       sync.Mutex
	state    lifecycle
	root     context.Context // of everything that runs; Start's, but it never ends
	ctx      context.Context // ends when Shutdown begins
	cancel   context.CancelFunc
	adapters map[string]Adapter
	sinks    map[string]*sinkQueue
	bindings map[driver.Key]*Binding
	groups   map[groupKey]*group
	setups   map[string]*setup // in use, by fingerprint
	attached map[*Attachment]struct{}
}

type lifecycle uint8

const (
	created lifecycle = iota
	started
	stopped
)

const (
	coarseTick = 100 * time.Millisecond
	sweepEvery = time.Second
	// A property that is bound again with the same configuration within this time goes on with what it has learned:
	// EdgeCore updates a device by stopping and creating it anew.
	linger = 30 * time.Second
)

// NewHandler makes a handler. It does nothing before Start.
func NewHandler(opts Options) (*Handler, error) {
	opts.link()
	if opts.DefaultSinks == nil && slices.Contains(opts.Sinks.Names(), "log") {
		opts.DefaultSinks = []string{"log"}
	}
	for _, name := range opts.DefaultSinks {
		if _, err := opts.Sinks.Lookup("sink", name); err != nil {
			return nil, fmt.Errorf("default sinks: %w", err)
		}
	}
	h := &Handler{
		opts:     opts,
		adapters: make(map[string]Adapter), sinks: make(map[string]*sinkQueue),
		bindings: make(map[driver.Key]*Binding), groups: make(map[groupKey]*group),
		setups: make(map[string]*setup), attached: make(map[*Attachment]struct{}),
	}
	h.observers.Store(new([]*Hooks))
	h.observe(&opts.Hooks)
	h.hooks = h.dispatch()
	return h, nil
}

// Start makes the handler ready to bind. The handler lives until Shutdown, not until ctx ends; values of ctx are kept.
func (h *Handler) Start(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.state {
	case started:
		return nil
	case stopped:
		return fmt.Errorf("admethod: Start of a handler after Shutdown: %w", ErrClosed)
	}
	h.root = context.WithoutCancel(ctx)
	h.ctx, h.cancel = context.WithCancel(h.root)
	h.state = started
	if !h.opts.Replay {
		h.now.Store(time.Now().UnixNano())
		h.wg.Go(func() { h.watch(h.ctx) })
	}
	return nil
}

// watch keeps the coarse clock and looks for silent properties.
func (h *Handler) watch(ctx context.Context) {
	tick := time.NewTicker(coarseTick)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			h.now.Store(now.UnixNano())
			if now.Sub(swept) >= sweepEvery {
				swept = now
				h.sweep(now) //nolint:contextcheck // sinks live as long as the handler
			}
		}
	}
}

// sweep looks for silence and closes bindings that nobody has taken up again.
func (h *Handler) sweep(now time.Time) {
	h.mu.Lock()
	bindings := slices.Collect(maps.Values(h.bindings))
	h.mu.Unlock()
	for _, b := range bindings {
		if expired := b.sweep(now); expired {
			h.mu.Lock()
			if b.expired(now) && h.bindings[b.Key()] == b {
				h.drop(b)
			}
			h.mu.Unlock()
		}
	}
}

// drop closes a binding for good. The caller holds h.mu.
func (h *Handler) drop(b *Binding) {
	delete(h.bindings, b.Key())
	b.end() // first: a verdict on its way must not come after the sinks forgot
	h.release(b)
	if b.group != nil {
		b.group.leave(b)
		if b.group.empty() {
			delete(h.groups, b.group.key)
		}
	}
}

// release gives up what a binding shares, and lets its sinks forget it. The caller holds h.mu.
func (h *Handler) release(b *Binding) {
	if b.setup.refs--; b.setup.refs == 0 {
		delete(h.setups, b.setup.fingerprint)
	}
	for _, q := range b.setup.queues {
		q.forget(b.Key())
	}
}

// adapter returns the running adapter of the given name. The caller holds h.mu.
func (h *Handler) adapter(name string) (Adapter, error) {
	if a, ok := h.adapters[name]; ok {
		return a, nil
	}
	f, err := h.opts.Adapters.Lookup("adapter", name)
	if err != nil {
		return nil, fmt.Errorf("adMethodName: %w", err)
	}
	a, err := f.New(AdapterSettings{
		Drivers: h.opts.Drivers, StateDir: h.opts.StateDir, Hooks: &h.hooks, Options: h.opts.AdapterOptions[name],
		Mapper: h.opts.Mapper, Node: h.opts.Node,
	})
	if err != nil {
		return nil, fmt.Errorf("adapter %q: %w", name, err)
	}
	if err := a.Start(h.ctx); err != nil {
		return nil, fmt.Errorf("adapter %q: start: %w", name, err)
	}
	h.adapters[name] = a
	return a, nil
}

// sink returns the running queue of the given sink. The caller holds h.mu.
func (h *Handler) sink(name string) (*sinkQueue, error) {
	if q, ok := h.sinks[name]; ok {
		return q, nil
	}
	f, err := h.opts.Sinks.Lookup("sink", name)
	if err != nil {
		return nil, fmt.Errorf("sinks: %w", err)
	}
	s, err := f.New(SinkSettings{
		Hooks: &h.hooks, Options: h.opts.SinkOptions[name], StateDir: h.opts.StateDir, Stats: h.Stats,
	})
	if err != nil {
		return nil, fmt.Errorf("sink %q: %w", name, err)
	}
	if err := s.Start(h.ctx); err != nil {
		return nil, fmt.Errorf("sink %q: start: %w", name, err)
	}
	if o, ok := s.(Observer); ok {
		h.observe(o.Hooks())
	}
	q := newSinkQueue(name, s, &h.hooks)
	h.sinks[name] = q
	// The queue outlives h.ctx: Shutdown flushes it before it cancels.
	ctx, cancel := context.WithCancel(h.root)
	q.cancel = cancel
	h.wg.Go(func() { q.run(ctx) })
	return q, nil
}

// queues returns the sink queues for a configuration. The caller holds h.mu.
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

// Flush waits until every reading observed before is judged and every verdict is written, or ctx ends.
func (h *Handler) Flush(ctx context.Context) error {
	h.mu.Lock()
	adapters := slices.Collect(maps.Values(h.adapters))
	sinks := slices.Collect(maps.Values(h.sinks))
	h.mu.Unlock()
	var errs []error
	for _, a := range adapters {
		errs = append(errs, a.Flush(ctx))
	}
	for _, q := range sinks {
		errs = append(errs, q.flush(ctx))
	}
	return errors.Join(errs...)
}

// Shutdown stops taking readings, lets what is queued be judged and written, saves what was learned, and joins every
// goroutine, all within ctx. What could not be finished in time is in the error. It is idempotent.
func (h *Handler) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	if h.state != started {
		h.state = stopped
		h.mu.Unlock()
		return nil
	}
	h.state = stopped
	h.cancel()
	for _, b := range h.bindings {
		b.stop() // the adapters close the streams, once what is queued has been judged
	}
	clear(h.attached)
	adapters, sinks := h.adapters, h.sinks
	h.mu.Unlock()

	var errs []error
	for name, a := range adapters {
		if err := a.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("adapter %q: %w", name, err))
		}
	}
	var ending sync.WaitGroup
	ended := make(chan error, len(sinks))
	for _, q := range sinks { // all at once: one that hangs must not take the others' time
		ending.Go(func() { ended <- q.end(ctx) })
	}
	ending.Wait()
	close(ended)
	for err := range ended {
		errs = append(errs, err)
	}
	joined := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(joined)
	}()
	select {
	case <-joined:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("admethod: goroutines still run: %w", context.Cause(ctx)))
	}
	return errors.Join(errs...)
}

// Stats counts what the handler did since it started.
type Stats struct {
	Bindings map[driver.Key]BindingStats
	Sinks    map[string]SinkStats
}

// Stats returns a copy of the current counts.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	bindings := maps.Clone(h.bindings)
	sinks := maps.Clone(h.sinks)
	for a := range h.attached {
		for _, b := range a.members {
			bindings[b.Key()] = b
		}
	}
	h.mu.Unlock()
	s := Stats{Bindings: make(map[driver.Key]BindingStats, len(bindings)), Sinks: make(map[string]SinkStats, len(sinks))}
	for key, b := range bindings {
		s.Bindings[key] = b.Stats()
	}
	for name, q := range sinks {
		s.Sinks[name] = q.stats()
	}
	return s
}

// Reject tells the sinks that a property cannot be watched because of err, for callers that fail before Bind.
func (h *Handler) Reject(key driver.Key, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state == started {
		h.reject(key, nil, err)
	}
}

// Forget tells the sinks that a property that was rejected is gone. One that is bound is none of its business.
func (h *Handler) Forget(key driver.Key) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != started || h.bindings[key] != nil {
		return
	}
	for _, q := range h.sinks {
		q.forget(key)
	}
}

// reject tells the sinks that a property cannot be watched, so that it is seen where verdicts are. The caller holds
// h.mu.
func (h *Handler) reject(key driver.Key, sinks []string, cause error) {
	queues, err := h.queues(sinks)
	if err != nil {
		queues, _ = h.queues(nil) // what is wrong with a sink is in cause
	}
	if len(queues) == 0 {
		logs.ErrorS(cause, "Anomaly detection is off for this property", "property", key.String())
	}
	var r driver.Result
	r.Reset(nil)
	r.Key, r.At, r.Kind, r.Message = key, time.Unix(0, h.now.Load()), driver.KindFailed, cause.Error()
	h.hooks.Verdict(&r)
	for _, q := range queues {
		q.push(r.Clone())
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/kept"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Options configure a [Handler]. The zero value is usable: everything that is linked, no state kept on disk.
type Options struct {
	Drivers  *driver.Registry          // detectors to choose from; nil means driver.Default
	Adapters *admethod.AdapterRegistry // nil means the linked ones, [admethod.Adapters]
	Sinks    *admethod.SinkRegistry    // nil means the linked ones, [admethod.Sinks]

	Mapper string // name of the mapper, for detectors elsewhere; may be ""
	Node   string // name of the node that it runs on, likewise

	// Language is that of what sinks say in their own words; "" is English. The reasons in verdicts are in the language of
	// the property's configuration, and logs are English.
	Language driver.Language

	StateDir string // directory for learned state; "" keeps none over a restart
	// ModelDir is the directory in which the key model is looked up; what it names lies below. {namespace} in it stands
	// for the namespace of the property.
	ModelDir string

	// DefaultSinks are used by properties that name none. nil means "log" if that sink is linked.
	DefaultSinks []string
	// DeviceSinks are the sinks that a Device may name. nil means DefaultSinks.
	DeviceSinks []string
	// Budget bounds the memory of the streams of each namespace.
	Budget Budget
	// AdapterOptions and SinkOptions are the mapper's own settings, flat, by name of adapter and sink.
	AdapterOptions, SinkOptions map[string]map[string]any

	// Replay judges readings by their time of reading alone: the handler looks at no clock, so that recorded readings
	// get the verdicts that they got live. Silence is then noticed with the next reading, or with [Handler.Advance].
	Replay bool

	// Told hears what sinks are to hear, those on one property in order, in the goroutine that judges: none is lost, and
	// none waits. It keeps nothing of r. nil is nobody.
	Told func(r *driver.Result)

	Hooks admethod.Hooks
}

// Handler binds properties to detectors and runs their readings through the stages. It owns every goroutine below it;
// Shutdown joins them all.
type Handler struct {
	opts      Options
	hooks     admethod.Hooks // calls the hooks of every observer
	observers atomic.Pointer[[]*admethod.Hooks]
	watched   atomic.Bool // an observer wants every verdict; on the path of every reading, so it is told apart
	mirrored  atomic.Bool // an observer wants every reading
	clock     clock
	wg        sync.WaitGroup

	troubles troubles
	pace     overload
	account  account
	abouts   abouts
	mutes    mutes

	// What takes long, such as opening a stream, is done under the lock of its key or group, which is taken before h.mu,
	// never within; h.mu is held for moments only. Of both kinds, a key's is taken before a group's.
	binding  keyed[driver.Key]
	grouping keyed[groupKey]

	mu       sync.Mutex
	state    lifecycle
	root     context.Context // of everything that runs; Start's, but it never ends
	ctx      context.Context // ends when Shutdown begins
	cancel   context.CancelFunc
	adapters map[string]*startedAdapter
	sinks    map[string]*sinkQueue
	bindings map[driver.Key]*Binding
	groups   map[groupKey]*group
	setups   map[string]*setup // in use, by fingerprint
	ledger   ledger
	attached map[*Attachment]struct{}
}

type lifecycle uint8

const (
	created lifecycle = iota
	started
	stopped
)

const (
	sweepEvery = time.Second
	// A property that is bound again with the same configuration within this time goes on with what it has learned:
	// EdgeCore updates a device by stopping and creating it anew.
	linger = 30 * time.Second
)

// NewHandler makes a handler. It does nothing before Start.
func NewHandler(opts Options) (*Handler, error) {
	opts.link()
	switch opts.Language {
	case "":
		opts.Language = driver.English
	case driver.English, driver.Chinese:
	default:
		return nil, &params.Error{Key: "language", Value: string(opts.Language), Want: "en or zh"}
	}
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
		adapters: make(map[string]*startedAdapter), sinks: make(map[string]*sinkQueue),
		bindings: make(map[driver.Key]*Binding), groups: make(map[groupKey]*group),
		setups: make(map[string]*setup), attached: make(map[*Attachment]struct{}),
	}
	h.ledger.budget, h.ledger.off = opts.Budget, opts.Replay
	h.observers.Store(new([]*admethod.Hooks))
	h.observe(&opts.Hooks)
	h.hooks = h.dispatch()
	return h, nil
}

// Start makes the handler ready to bind. The handler lives until Shutdown, not until ctx ends; values of ctx are kept.
func (h *Handler) Start(ctx context.Context) error { //nolint:contextcheck // sinks live as long as the handler
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.state {
	case started:
		return nil
	case stopped:
		return fmt.Errorf("admethod: Start of a handler after Shutdown: %w", admethod.ErrClosed)
	}
	h.root = context.WithoutCancel(ctx)
	h.ctx, h.cancel = context.WithCancel(h.root)
	h.state = started
	if !h.opts.Replay {
		h.mutes.file = kept.New(h.opts.StateDir, mutesFile, 0)
		if err := h.mutes.load(); err != nil {
			h.troubles.report("mutes", "nothing is muted; set anew what is to be, which replaces the file", err)
		}
		h.clock.begin(time.Now())
		h.account.begin(time.Now())
		ctx := h.ctx
		every := func(in string, d time.Duration, f func(now time.Time)) {
			h.wg.Go(func() { guard.Loop(ctx, in, func(ctx context.Context) { wait.Tick(ctx, d, f) }) })
		}
		every("the clock of readings", coarseTick, h.tick) // it does nothing else: whoever has to wait must not stop it
		every("the watch over readings", sweepEvery, h.sweep)
		every("the watch over bindings", sweepEvery, h.expire)
	}
	return nil
}

// Go runs f in a goroutine that Shutdown joins; the context it gets ends when Shutdown begins.
func (h *Handler) Go(f func(ctx context.Context)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != started {
		return fmt.Errorf("admethod: %w", admethod.ErrClosed)
	}
	ctx := h.ctx
	h.wg.Go(func() { _ = guard.Do("a goroutine of the handler", func() { f(ctx) }) }) // is logged
	return nil
}

// tick moves the coarse clock on. A step that is much longer than it should be says that the process stood still, or had
// no processor: then it could not read either.
func (h *Handler) tick(now time.Time) {
	if pause := int64(h.clock.advance(now)); pause > h.pace.stalled.Load() {
		h.pace.stalled.Store(pause)
	}
}

// sweep looks for silence.
func (h *Handler) sweep(now time.Time) {
	h.pace.look(now, h.troubles.report)
	bound := h.bound()
	for _, b := range bound {
		_ = guard.Do("the watch over a property", func() { b.sweep(now) }) // is logged; the others have their turn
	}
	h.listen(now)
	h.account.tell(now, h.served(bound))
}

// served adds to bindings those of clients of a server.
func (h *Handler) served(bound []*Binding) []*Binding {
	h.mu.Lock()
	defer h.mu.Unlock()
	for a := range h.attached {
		bound = append(bound, a.members...)
	}
	return bound
}

// expire closes bindings that nobody has taken up again.
func (h *Handler) expire(now time.Time) {
	for _, b := range h.bound() {
		if !b.expired(now) {
			continue
		}
		unlock := h.binding.lock(b.Key())
		if b.expired(now) {
			h.drop(b)
		}
		unlock()
	}
}

func (h *Handler) bound() []*Binding {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Values(h.bindings))
}

// drop closes a binding for good. The caller has locked its key.
func (h *Handler) drop(b *Binding) {
	h.mu.Lock()
	bound := h.bindings[b.Key()] == b
	if bound {
		delete(h.bindings, b.Key())
	}
	h.mu.Unlock()
	if !bound {
		return
	}
	b.end() // first: a verdict on its way must not come after the end of its incident, and after the sinks forgot
	h.release(b)
	if b.group != nil {
		h.leave(b)
	}
}

// release gives up what a binding shares, and lets its sinks forget it.
func (h *Handler) release(b *Binding) {
	h.mu.Lock()
	if b.setup.refs--; b.setup.refs == 0 && h.setups[b.setup.fingerprint] == b.setup {
		delete(h.setups, b.setup.fingerprint)
	}
	h.mu.Unlock()
	h.abouts.forget(b)
	for _, q := range b.setup.queues {
		q.forget(b.Key())
	}
}

// Flush waits until every reading observed before is judged and every verdict is written, or ctx ends.
func (h *Handler) Flush(ctx context.Context) error {
	h.mu.Lock()
	adapters := slices.Collect(maps.Values(h.adapters))
	sinks := slices.Collect(maps.Values(h.sinks))
	h.mu.Unlock()
	var errs []error
	for _, a := range adapters {
		running, err := a.wait(ctx)
		if running != nil {
			err = running.Flush(ctx)
		}
		errs = append(errs, err)
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
	watched := slices.Collect(maps.Values(h.bindings))
	for _, b := range watched {
		b.stop() // the adapters close the streams, once what is queued has been judged
	}
	for a := range h.attached {
		watched = append(watched, a.members...)
	}
	clear(h.attached)
	adapters, sinks := h.adapters, h.sinks
	h.mu.Unlock()

	// All adapters at once, then all sinks: one that hangs must not take the others' time. Sinks get some in any case.
	judging, cancel := most(ctx)
	defer cancel()
	errs := []error{
		together(maps.All(adapters), func(name string, a *startedAdapter) error {
			running, err := a.wait(judging)
			if running != nil {
				err = running.Shutdown(judging)
			}
			if err != nil {
				return fmt.Errorf("adapter %q: %w", name, err)
			}
			return nil
		}),
	}
	for _, b := range watched {
		if h.opts.StateDir == "" || !b.keeps() { // nobody will know of it after a restart
			b.finish(driver.Abandoned, driver.Unknown, "the mapper stopped, and keeps nothing of it over a restart", true)
		}
	}
	errs = append(errs, together(maps.All(sinks), func(_ string, q *sinkQueue) error { return q.end(ctx) }))
	if err := guard.Join(ctx, &h.wg); err != nil {
		errs = append(errs, fmt.Errorf("admethod: goroutines still run: %w", err))
	}
	return errors.Join(errs...)
}

// most is a context with most of the time that ctx has left.
func most(ctx context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithTimeout(ctx, time.Until(deadline)*3/4)
	}
	return context.WithCancel(ctx)
}

// together calls f for all at once and joins the errors.
func together[V any](all iter.Seq2[string, V], f func(string, V) error) error {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for name, v := range all {
		wg.Go(func() {
			err := f(name, v)
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Reject tells the sinks that a property cannot be watched because of err, for callers that fail before Bind.
func (h *Handler) Reject(key driver.Key, err error) {
	if h.running() {
		h.reject(key, nil, err)
	}
}

func (h *Handler) running() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state == started
}

// Forget tells the sinks that a property that was rejected is gone. One that is bound is none of its business.
func (h *Handler) Forget(key driver.Key) {
	h.mu.Lock()
	queues := slices.Collect(maps.Values(h.sinks))
	bound := h.state != started || h.bindings[key] != nil
	h.mu.Unlock()
	if bound {
		return
	}
	h.account.forget(key)
	for _, q := range queues {
		q.forget(key)
	}
}

// reject tells the sinks that a property cannot be watched, so that it is seen where verdicts are.
func (h *Handler) reject(key driver.Key, sinks []string, cause error) {
	h.account.refuses(key)
	queues, err := h.queues(sinks)
	if err != nil {
		queues, _ = h.queues(nil) // what is wrong with a sink is in cause
	}
	if len(queues) == 0 {
		logs.ErrorS(cause, "Anomaly detection is off for this property", "property", key.String())
	}
	var r driver.Result
	r.Reset(nil)
	r.Key, r.At, r.Kind, r.Message = key, h.clock.wall(), driver.KindFailed, cause.Error()
	h.hooks.Verdict(&r)
	if h.opts.Told != nil {
		h.opts.Told(&r)
	}
	for _, q := range queues {
		q.push(r.Clone())
	}
}

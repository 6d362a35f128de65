// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Binding is a property whose readings are watched. Its methods are safe for concurrent use.
type Binding struct {
	handler *Handler
	setup   *setup
	config  *admethod.ADMethodConfig // of setup, as it is on the path of every reading

	mu      sync.Mutex
	refs    int // holders of the binding; 0 while it lingers
	until   time.Time
	ended   bool
	silent  bool // a verdict on missing readings stands
	found   finding
	kept    bool // an adapter has taken the state of the stages, since the last look
	convert stage.Converter
	quality stage.Quality
	resumed int64 // the handler's, as far as the quality stage knows of it
	steady  bool  // the mapper stamps the readings, see [clock]
	afar    bool  // a source brings the readings: their times are of any clock
	row     [1]driver.Sample
	stream  admethod.Stream // nil for a member of a group
	charge  *charge         // of stream
	group   *group
	stats   counts

	coalesce stage.Coalescer // what is asked concurrently is atomic
	telling  sync.Mutex      // guards the rest of it, what follows, and the order of verdicts
	incident stage.Incident
	gone     bool          // nothing is told any more
	least    atomic.Uint64 // score from which an incident begins, by the cadence seen; a float64's bits
}

// Bind begins to watch a property. It resolves everything that a reading needs, so that observing is cheap. A wrong
// configuration is an error that names every key at fault; the sinks then get a verdict of severity Unknown and kind
// failed, and the caller goes on without detection.
//
// A property that is bound already with the same configuration, or was until a moment ago, keeps what its detector has
// learned; with another configuration it starts anew.
func (h *Handler) Bind(key driver.Key, config admethod.ADMethodConfig, meta admethod.Meta) (*Binding, error) {
	if !h.running() {
		return nil, fmt.Errorf("%v: bind before Start or after Shutdown: %w", key, admethod.ErrClosed)
	}
	if !config.Configured() {
		return nil, fmt.Errorf("%v: anomaly detection is not configured", key)
	}
	defer h.binding.lock(key)()
	refused := errors.Join(checkNames(key, &meta), h.opts.checkDevice(key, &config))
	if refused != nil {
		config.Sinks = nil // to look at a sink is to start it
	}
	b, err := h.bind(key, config, meta, refused)
	if err != nil {
		err = fmt.Errorf("%v: %w", key, err)
		if !errors.Is(err, admethod.ErrClosed) {
			h.reject(key, config.Sinks, err)
		}
		return nil, err
	}
	return b, nil
}

// bind is Bind for a key that is locked. refused is what is wrong already, to be said with all else.
func (h *Handler) bind(key driver.Key, config admethod.ADMethodConfig, meta admethod.Meta, refused error) (*Binding, error) {
	shared, prepared := h.share(config, meta)
	h.mu.Lock()
	old := h.bindings[key]
	h.mu.Unlock()
	if old != nil {
		if refused == nil && old.setup.fingerprint == shared.fingerprint && old.hold() {
			return old, nil
		}
		h.drop(old)
	}
	b := &Binding{handler: h, setup: shared, config: &shared.config, refs: 1, resumed: h.clock.resumed.Load()}
	b.row[0].Key = key
	var errs []error
	var err error
	if b.convert, err = stage.NewConverter(meta.DataType, config.Categories); err != nil {
		errs = append(errs, err)
	}
	member, err := newMember(key, b.config, meta)
	if err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, prepared, refused, checkModel(config.Model), h.opts.checkPrefixes(b.config))
	b.coalesce.Init(config.Heartbeat)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if config.Group != "" {
		err = h.join(b)
	} else {
		err = h.open(b, member)
	}
	if err != nil {
		return nil, err
	}
	if !h.hold(shared, 1, func() { h.bindings[key] = b }) {
		b.end()
		if b.group != nil {
			h.leave(b)
		}
		return nil, admethod.ErrClosed
	}
	if !h.opts.Replay {
		h.account.watches(b)
	}
	return b, nil
}

// open begins the stream of a property that is scored alone.
func (h *Handler) open(b *Binding, member driver.Member) error {
	a, err := h.adapter(b.config.ADMethodName)
	if err != nil {
		return err
	}
	dir, file, err := h.model(member.Key.Namespace, b.config.Model)
	if err != nil {
		return err
	}
	settings := admethod.StreamSettings{
		Members: []driver.Member{member}, Config: *b.config, Tenant: member.Key.Namespace,
		Deliver: func(r *driver.Result, _ driver.Row) { b.deliver(r, false) },
		Dropped: b.lost, Aux: b, ModelDir: dir, ModelFile: file,
	}
	if b.charge, err = h.charge(&settings, nil); err != nil {
		return err
	}
	if b.stream, err = a.Open(settings); err != nil {
		b.charge.release()
	}
	return err
}

func newMember(key driver.Key, c *admethod.ADMethodConfig, meta admethod.Meta) (driver.Member, error) {
	m := driver.Member{
		Key: key, DataType: strings.ToLower(meta.DataType), Minimum: math.NaN(), Maximum: math.NaN(),
		Unit: meta.Unit, Cycle: c.Quality.Cycle, Categories: c.Categories,
	}
	// A model whose bounds do not parse bounds nothing; that is the model's author to mend, not a reason to be blind.
	if v, err := strconv.ParseFloat(strings.TrimSpace(meta.Minimum), 64); err == nil {
		m.Minimum = v
	}
	if v, err := strconv.ParseFloat(strings.TrimSpace(meta.Maximum), 64); err == nil {
		m.Maximum = v
	}
	if m.Minimum > m.Maximum {
		return m, fmt.Errorf("DeviceModel: minimum %v is over maximum %v", m.Minimum, m.Maximum)
	}
	return m, nil
}

// Key is the property that is bound.
func (b *Binding) Key() driver.Key { return b.row[0].Key }

// Sinks names the sinks that its verdicts go to.
func (b *Binding) Sinks() []string {
	names := make([]string, len(b.setup.queues))
	for i, q := range b.setup.queues {
		names[i] = q.name
	}
	return names
}

// Observe takes a numeric reading. It does not block and does not allocate.
func (b *Binding) Observe(at time.Time, v float64) {
	b.mu.Lock()
	value, text, flags := b.convert.Number(v)
	b.observe(at, value, text, flags)
	b.mu.Unlock()
}

// ObserveAny takes a reading of whatever type a device driver returned: numbers, booleans, text, bytes, fmt.Stringer.
// It keeps no reference to v.
func (b *Binding) ObserveAny(at time.Time, v any) {
	b.mu.Lock()
	value, text, flags := b.convert.Convert(v)
	b.observe(at, value, text, flags)
	b.mu.Unlock()
}

func (b *Binding) observe(at time.Time, v float64, text string, flags driver.Flags) {
	if b.ended {
		return
	}
	b.stats.readings.Add(1)
	if at.IsZero() && b.handler.clock.now.Load() != 0 {
		at = time.Now()
	}
	ns, now, steady := b.handler.clock.times(at)
	if now != 0 {
		b.steady = steady
		b.resume(ns, now)
	}
	flags, pass := b.quality.Observe(ns, now, v, flags, &b.config.Quality)
	if c := b.config; c.Quality.Cycle == 0 && c.Policy.Alarms.Count > 0 {
		b.least.Store(math.Float64bits(c.Policy.Alarms.Threshold(b.quality.Cycle(&c.Quality))))
	}
	s := &b.row[0]
	s.At, s.Value, s.Text, s.Flags = at, v, text, flags
	if b.handler.mirrored.Load() {
		b.handler.hooks.Reading(s, pass)
	}
	if flags != 0 || b.quality.Standing() || b.silent {
		b.stats.count(flags)
		b.flagged(s)
	}
	if !pass {
		return
	}
	if b.group != nil {
		b.group.observe(b, s)
		return
	}
	b.stream.TrySubmit(b.row[:])
}

// resume tells the quality stage of a pause of the process, of which the clock may not have heard yet. at and now are on
// the clock of the binding's readings. The caller holds b.mu.
func (b *Binding) resume(at, now int64) {
	if at-now > int64(longTick) {
		b.handler.tick(time.Now())
	}
	if r := b.handler.clock.resumed.Load(); r != b.resumed {
		b.resumed = r
		b.quality.Resume(b.onClock(r))
	}
}

// onClock is a steady time on the clock of the binding's readings. The caller holds b.mu.
func (b *Binding) onClock(steady int64) int64 {
	if b.steady {
		return steady
	}
	return steady + b.handler.clock.ahead.Load()
}

// flagged judges whether what is wrong with readings persists, and reports whether that makes a verdict on the last one.
func (b *Binding) flagged(s *driver.Sample) (r driver.Result, told bool) {
	before := b.quality.Standing()
	kind, strength := b.quality.Judge(&b.config.Quality)
	message := ""
	if kind == driver.KindNone {
		kind, strength, message = b.found.kind, b.found.strength, b.found.message
	}
	// What is known already, as of a device that is listed again after a restart, ends no silence.
	if kind == driver.KindNone && !before && (!b.silent || s.Flags&driver.Duplicate != 0) {
		return r, false
	}
	b.silent = false
	if b.handler.opts.Replay {
		b.settle()
	}
	r = stage.QualityResult(s, b.config.Threshold, kind, strength, message)
	b.deliver(&r, true)
	return r, true
}

// settle waits until the readings before are judged, so that in a replay verdicts of the quality stage and of the detector
// come in the order of the readings. b.mu, which the caller holds, is free meanwhile: the adapter may save state.
func (b *Binding) settle() {
	b.mu.Unlock()
	defer b.mu.Lock()
	b.quiesce()
}

// quiesce waits until what was submitted is judged.
func (b *Binding) quiesce() {
	h := b.handler
	h.mu.Lock()
	a, ctx := h.adapters[b.config.ADMethodName], h.ctx
	h.mu.Unlock()
	running, err := a.wait(ctx)
	if running != nil {
		err = running.Flush(ctx)
	}
	if err != nil { // it is being shut down
		h.hooks.State(b.Key().String(), err)
	}
}

// sweep judges silence, and reports whether the binding has lingered long enough.
func (b *Binding) sweep(now time.Time) (expired bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ns := b.handler.clock.steady(now)
	b.resume(b.onClock(ns), b.onClock(b.handler.clock.now.Load()))
	if strength := b.quality.Overdue(b.onClock(ns), &b.config.Quality); strength > 0 && b.refs > 0 && !b.ended {
		b.silent = true
		r := stage.SilenceResult(&b.row[0], b.config.Threshold, strength, now.Add(-time.Duration(b.onClock(ns)-b.quality.Last().UnixNano())), b.config.Language)
		r.At = now
		b.deliver(&r, true)
	}
	return b.lingered(now)
}

func (b *Binding) expired(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lingered(now)
}

func (b *Binding) lingered(now time.Time) bool { return b.refs == 0 && now.After(b.until) }

// hold takes the binding up once more; it fails for one that has ended.
func (b *Binding) hold() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return false
	}
	if now := b.handler.clock.now.Load(); b.refs == 0 && now != 0 {
		b.quality.Resume(b.onClock(now)) // nobody read it meanwhile
	}
	b.refs++
	return true
}

// Close stops watching the property on behalf of one holder. What was learned is kept for a moment, in case that the
// property is bound again, and on disk where the handler has a state directory.
func (b *Binding) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refs > 0 {
		b.refs--
		b.until = time.Now().Add(linger)
	}
}

// stop takes no more readings.
func (b *Binding) stop() {
	b.mu.Lock()
	b.ended, b.kept = true, false
	b.mu.Unlock()
}

// end closes the stream for good.
func (b *Binding) end() {
	b.stop()
	b.finish(driver.Abandoned, driver.Unknown, "no longer watched", true)
	if b.stream != nil {
		b.stream.Close()
	}
	b.charge.release()
}

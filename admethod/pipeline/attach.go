// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// AttachSettings describes a stream that is fed with rows that others have converted, checked and aligned.
type AttachSettings struct {
	Group   string                  // stable name of the group, with its namespace; "" for a single property
	Members []driver.Member         // one per sample of a row, in order
	Config  admethod.ADMethodConfig // as for Bind
	Tenant  string                  // whom the stream is for: a detector of one tenant that hangs delays no other tenant's
	// Answer tells what became of the row of that number: the verdict, or nil where it was lost. row is nil where the
	// detector failed on it; it is cut off then. A detector that returns after it was given up may answer a second
	// time. Answer is called from the adapter's goroutines or within TrySubmit, must not block, and keeps neither.
	Answer func(number uint64, r *driver.Result, row driver.Row)
	// Observed says that members are read by [Attachment.Observe]: their silence is watched, as that of bindings is.
	Observed bool
	// Replays is how far back the origin of such readings may begin after a restart. What is kept of a member says which
	// of them it knows: they are passed over.
	Replays time.Duration
	// Exact says that readings begin again at the very one at which the kept state ends: then all of the state is kept, and
	// the stream goes on as if nothing had happened. Kept is what of the caller's belongs to it; it may be nil.
	Exact bool
	Kept  admethod.Snapshotter
	_     struct{} // keyed literals only: fields may be added
}

// Attachment is a stream below the stages convert, quality and group: what a server of detectors needs, whose clients
// have been through them.
type Attachment struct {
	handler *Handler
	members []*Binding // for policy, coalescing and sinks; they observe nothing
	stream  admethod.NumberedStream
	charge  *charge
	group   bool
	answer  func(uint64, *driver.Result, driver.Row)
	past    atomic.Int64 // time of the newest reading on which no verdict is told, Unix ns; 0 where there is none
	arrived []arrival    // of the members that are observed
	replays time.Duration
	closing atomic.Bool
}

// Attach opens a stream. Its verdicts are answered one by one, and reach the sinks as those of bindings do.
func (h *Handler) Attach(s AttachSettings) (*Attachment, error) {
	if !h.running() {
		return nil, fmt.Errorf("attach before Start or after Shutdown: %w", admethod.ErrClosed)
	}
	if !s.Config.Configured() || len(s.Members) == 0 {
		return nil, errors.New("attach: want a configuration and at least one member")
	}
	if s.Group == "" && len(s.Members) > 1 {
		return nil, fmt.Errorf("attach: %d members without a group", len(s.Members))
	}
	settings := admethod.StreamSettings{Group: s.Group, Members: s.Members, Config: s.Config, Tenant: s.Tenant}
	var modelErr error
	settings.ModelDir, settings.ModelFile, modelErr = h.model(s.Members[0].Key.Namespace, s.Config.Model)
	if err := h.opts.checkDevice(s.Members[0].Key, &s.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	shared, prepared := h.share(s.Config, admethod.Meta{})
	err := errors.Join(modelErr, checkModel(s.Config.Model), h.opts.checkPrefixes(&shared.config), prepared)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	adapter, err := h.adapter(s.Config.ADMethodName)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	a := &Attachment{handler: h, group: s.Group != "", answer: s.Answer, replays: s.Replays}
	if s.Observed {
		a.arrived = make([]arrival, len(s.Members))
	}
	for i := range s.Members {
		b := &Binding{handler: h, setup: shared, config: &shared.config, refs: 1, resumed: h.clock.resumed.Load()}
		b.row[0].Key = s.Members[i].Key
		if s.Observed {
			b.afar, b.row[0].Value = true, math.NaN() // until there is one
		}
		if b.convert, err = stage.NewConverter(s.Members[i].DataType, s.Config.Categories); err != nil {
			return nil, fmt.Errorf("%s: %w", settings.ID(), err)
		}
		b.coalesce.Init(s.Config.Heartbeat)
		a.members = append(a.members, b)
	}
	settings.Deliver, settings.Answer, settings.Dropped = a.deliver, a.judged, a.members[0].lost
	settings.Aux = stages(a.members)
	if s.Exact {
		settings.Aux = &exact{attached: a, kept: s.Kept}
	}
	if a.charge, err = h.charge(&settings, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	stream, err := adapter.Open(settings)
	if err != nil {
		a.charge.release()
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	numbered, ok := stream.(admethod.NumberedStream)
	if !ok {
		stream.Close()
		a.charge.release()
		return nil, fmt.Errorf("%s: adMethodName: %q does not answer row by row", settings.ID(), s.Config.ADMethodName)
	}
	a.stream = numbered
	if !h.hold(shared, len(a.members), func() { h.attached[a] = struct{}{} }) {
		stream.Close()
		a.charge.release()
		return nil, fmt.Errorf("%s: %w", settings.ID(), admethod.ErrClosed)
	}
	return a, nil
}

// Check takes a reading of a member, which came as text, through the stages convert and quality, where the client has none:
// before it becomes part of a row. When it arrived says nothing, only when it was taken. Where the detector must not see it,
// Check reports false, and answer is the verdict on it. It may be called concurrently with the other methods.
func (a *Attachment) Check(member int, text string, s *driver.Sample) (answer driver.Result, pass bool) {
	b := a.members[member]
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Flags&driver.Unparsable != 0 { // else it is a number or a word for one
		s.Value, s.Text, s.Flags = b.convert.Text(text)
	}
	return b.inspect(s, 0)
}

// inspect takes a reading through the stage quality. now is when it arrived, 0 where that says nothing. The caller holds
// b.mu.
func (b *Binding) inspect(s *driver.Sample, now int64) (answer driver.Result, pass bool) {
	s.Flags, pass = b.quality.Observe(s.At.UnixNano(), now, s.Value, s.Flags, &b.config.Quality)
	told := false
	if s.Flags != 0 || b.quality.Standing() || b.silent || b.found.kind != driver.KindNone {
		answer, told = b.flagged(s)
	}
	if pass {
		return answer, true
	}
	b.count(s.Flags)
	if !told {
		b.held(s, &answer)
	}
	return answer, false
}

// held is the answer to a reading that the detector must not see.
func (b *Binding) held(s *driver.Sample, answer *driver.Result) {
	answer.Reset(driver.Row{*s})
	answer.Threshold, answer.Config, answer.Message = b.config.Threshold, b.setup.hash, "not judged: "+string(stage.Fault(s.Flags))
}

// TrySubmit is [admethod.Stream]'s; Answer gets the number again.
func (a *Attachment) TrySubmit(row driver.Row, number uint64) bool {
	if h := a.handler; h.mirrored.Load() {
		for i := range row {
			if s := &row[i]; s.Flags&(driver.Held|driver.Stale) == 0 {
				h.hooks.Reading(s, true)
			}
		}
	}
	for i := range min(len(row), len(a.members)) {
		a.members[i].count(row[i].Flags)
	}
	return a.stream.TrySubmitNumbered(row, number)
}

// count counts a reading that others have checked.
func (b *Binding) count(flags driver.Flags) {
	if flags&driver.Held == 0 {
		b.stats.readings.Add(1)
	}
	if flags&^driver.Held != 0 {
		b.stats.count(flags)
	}
}

// Close ends the stream without waiting for what is queued; what its detector learned is kept where the adapter keeps
// state. It is idempotent.
func (a *Attachment) Close() {
	h := a.handler
	h.mu.Lock()
	_, open := h.attached[a]
	delete(h.attached, a)
	h.mu.Unlock()
	if !open { // after Shutdown the adapter has closed it
		return
	}
	if h.opts.Replay { // what was submitted is judged each time, or never
		a.members[0].quiesce()
	}
	for _, b := range a.members {
		b.finish(driver.Abandoned, driver.Unknown, "no longer watched", true) // before what is open would be kept
	}
	a.closing.Store(true)
	a.stream.Close()
	a.charge.release()
	for _, b := range a.members {
		h.release(b)
	}
}

// scratch are verdicts as they are told of one property.
var scratch = sync.Pool{New: func() any { return new(driver.Result) }}

// deliver passes a verdict on to the sinks, and tells in it the incident that it is part of. The rest of it stays as the
// detector and the policy have it: a client with stages of its own finds the same incidents in it as if the detector were
// in its own process. What [Attachment.Check] finds and lasts is in the answer, as nobody else tells of it.
func (a *Attachment) deliver(r *driver.Result, row driver.Row) {
	if past := a.past.Load(); past != 0 && r.At.UnixNano() <= past {
		return
	}
	if a.group {
		deliverEach(a.members, r, row)
		r.Config = a.members[0].setup.hash
		r.Incident = a.incident(r)
		return
	}
	m := a.members[0]
	own := scratch.Get().(*driver.Result)
	defer scratch.Put(own)
	*own = *r
	m.deliver(own, false)
	if m.checked() {
		*r = *own
		return
	}
	m.setup.policy.Apply(r)
	r.Config, r.Incident = own.Config, own.Incident
}

// incident is the one to tell of in the verdict on a group: of the member that is to blame most, or of the first that is
// in one.
func (a *Attachment) incident(r *driver.Result) (first driver.Incident) {
	for _, m := range a.members {
		i := m.open()
		if i.ID != 0 && len(r.Causes) > 0 && r.Causes[0].Key == m.Key() {
			return i
		}
		if first.ID == 0 {
			first = i
		}
	}
	return first
}

func (a *Attachment) judged(number uint64, r *driver.Result, row driver.Row) {
	if r == nil {
		a.members[0].lost(1)
	} else {
		a.deliver(r, row)
	}
	a.answer(number, r, row)
}

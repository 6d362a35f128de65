// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"errors"
	"fmt"

	"github.com/kubeedge/edge-anomaly/driver"
)

// AttachSettings describes a stream that is fed with rows that others have converted, checked and aligned.
type AttachSettings struct {
	Group   string          // stable name of the group, with its namespace; "" for a single property
	Members []driver.Member // one per sample of a row, in order
	Config  ADMethodConfig  // as for Bind
	// Answer takes the verdict on each row that was not dropped. It is called from the adapter's goroutine, must not
	// block, and keeps neither. row is nil for a verdict on the stream as a whole, such as a detector that failed.
	Answer  func(r *driver.Result, row driver.Row)
	Dropped func(n int) // counts rows lost from the adapter's queue; must not block; may be nil
	_       struct{}    // keyed literals only: fields may be added
}

// Attachment is a stream below the stages convert, quality and group: what a server of detectors needs, whose clients
// have been through them.
type Attachment struct {
	handler *Handler
	members []*Binding // for policy, coalescing and sinks; they observe nothing
	stream  Stream
	group   bool
	answer  func(*driver.Result, driver.Row)
}

// Attach opens a stream. Its verdicts are answered one by one, and reach the sinks as those of bindings do.
func (h *Handler) Attach(s AttachSettings) (*Attachment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != started {
		return nil, fmt.Errorf("attach before Start or after Shutdown: %w", ErrClosed)
	}
	if !s.Config.Configured() || len(s.Members) == 0 {
		return nil, errors.New("attach: want a configuration and at least one member")
	}
	if s.Group == "" && len(s.Members) > 1 {
		return nil, fmt.Errorf("attach: %d members without a group", len(s.Members))
	}
	settings := StreamSettings{
		Group: s.Group, Members: s.Members, Config: s.Config, ModelFile: h.modelFile(s.Config.Model),
	}
	shared := h.share(s.Config, Meta{})
	errs := []error{checkModel(s.Config.Model), h.opts.checkPrefixes(&shared.config)}
	if shared.policy == nil {
		errs = append(errs, h.prepare(shared))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	adapter, err := h.adapter(s.Config.ADMethodName)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	a := &Attachment{handler: h, group: s.Group != "", answer: s.Answer}
	for i := range s.Members {
		b := &Binding{handler: h, setup: shared, config: &shared.config, refs: 1}
		b.row[0].Key = s.Members[i].Key
		b.verdicts = verdicts{quality: driver.Normal, heartbeat: int64(s.Config.Heartbeat)}
		a.members = append(a.members, b)
	}
	settings.Deliver = a.deliver
	settings.Dropped = func(n int) {
		a.members[0].dropped(n)
		if s.Dropped != nil {
			s.Dropped(n)
		}
	}
	if a.stream, err = adapter.Open(settings); err != nil {
		return nil, fmt.Errorf("%s: %w", settings.ID(), err)
	}
	shared.refs += len(a.members)
	h.setups[shared.fingerprint] = shared
	h.attached[a] = struct{}{}
	return a, nil
}

// TrySubmit is [Stream.TrySubmit].
func (a *Attachment) TrySubmit(row driver.Row) bool { return a.stream.TrySubmit(row) }

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
	a.stream.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range a.members {
		h.release(b)
	}
}

func (a *Attachment) deliver(r *driver.Result, row driver.Row) {
	if !a.group {
		b := a.members[0]
		b.deliver(r, false)
		a.answer(r, row)
		return
	}
	deliverEach(a.members, r, row)
	r.Config = a.members[0].setup.hash
	a.answer(r, row)
}

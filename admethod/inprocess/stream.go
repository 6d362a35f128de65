// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"cmp"
	"context"
	"encoding"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// stream is a property or a group with its detector. The detector belongs to the lane's goroutine.
type stream struct {
	group     *group                 // nil for a single property
	name      string                 // of the driver
	model     atomic.Pointer[string] // version of the trained model, "" where there is none
	open      opener                 // of a detector with another model; nil where no model is configured
	threshold float64
	language  driver.Language
	key       driver.Key // of the first member
	detector  driver.Detector
	deliver   func(*driver.Result, driver.Row)
	dropped   func(int)
	answer    func(uint64, *driver.Result, driver.Row) // instead of both, for rows with numbers; nil where there are none
	aux       admethod.Snapshotter
	adapter   *Adapter
	pool      *pool // nil once it is closed; guarded by the adapter
	lane      *lane
	submitted uint32      // rows so far; guarded by the lane
	next      uint32      // place of the row that comes next if none is lost; of the lane's goroutine
	judged    bool        // has seen a row; only then is there something to keep
	round     uint64      // of snapshots in which it was saved last; of the goroutine that saves
	cut       atomic.Bool // cut off: closed, panicked or hung
}

// group is what the stream of a group has beside; it is apart, as most streams are of single properties.
type group struct {
	id     string       // stable name
	others []driver.Key // of the members but the first
}

// closeWait bounds the wait for a lane that is busy; without its turn the state since the last snapshot is lost.
const closeWait = time.Second

// id is made when it is needed: most streams live long and are asked for it rarely.
func (s *stream) id() string {
	if s.group != nil {
		return s.group.id
	}
	return s.key.String()
}

// TrySubmit queues a copy of the row.
func (s *stream) TrySubmit(row driver.Row) bool { return s.lane.submit(s, row, 0) }

// TrySubmitNumbered queues a copy of the row, and answers it under its number.
func (s *stream) TrySubmitNumbered(row driver.Row, number uint64) bool {
	return s.lane.submit(s, row, number)
}

// Accept implements [admethod.Learner].
func (s *stream) Accept(ctx context.Context, span driver.Span) error {
	var learned error
	err := s.lane.do(ctx, func() {
		l, ok := s.detector.(driver.Learner)
		switch {
		case s.cut.Load():
			learned = admethod.ErrClosed
		case !ok:
			learned = fmt.Errorf("detector %q learns nothing from feedback", s.name)
		default:
			learned = guard.Call(fmt.Sprintf("detector %q", s.name), func() error { return l.Accept(span) })
		}
	})
	return cmp.Or(err, learned)
}

// Describe implements [admethod.Describer].
func (s *stream) Describe(ctx context.Context, in driver.Language) (string, error) {
	var said string
	var failed error
	err := s.lane.do(ctx, func() {
		if d, ok := s.detector.(driver.Describer); ok && !s.cut.Load() {
			failed = guard.Call(fmt.Sprintf("detector %q", s.name), func() error { said = d.Describe(in); return nil })
		}
	})
	if err != nil { // it may be asked still: what it says is not to be read
		return "", err
	}
	return said, failed
}

// lost tells that a row is not going to be judged.
func (s *stream) lost(number uint64) {
	if s.answer != nil {
		s.answer(number, nil, nil)
		return
	}
	s.dropped(1)
}

// Close cuts the stream off and parks what its detector has learned.
func (s *stream) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait) //nolint:forbidigo // Close takes no context
	defer cancel()
	var rec Record
	ok := false
	err := s.lane.do(ctx, func() {
		if !s.cut.Swap(true) {
			var err error
			if rec, ok, err = s.record(time.Now()); err != nil {
				s.adapter.trouble(s.id(), err)
			}
		}
	})
	s.lane.remove(s)
	s.adapter.leave(s)
	s.adapter.models.remove(s)
	if err != nil { // the lane's turn never came; f may still run, so rec is not to be read
		s.cut.Store(true)
		return
	}
	if ok {
		s.adapter.park(rec)
	}
}

// record is the state of the stream. ok is false where there is nothing to keep. It is called on the lane's goroutine.
func (s *stream) record(now time.Time) (rec Record, ok bool, err error) {
	m, can := s.detector.(encoding.BinaryMarshaler)
	if !can && s.aux == nil || !s.judged {
		return rec, false, nil
	}
	defer func() {
		if p := recover(); p != nil {
			ok, err = false, fmt.Errorf("detector %q: MarshalBinary panicked: %v", s.name, p)
		}
	}()
	rec = Record{ID: s.id(), Detector: s.name, Model: *s.model.Load(), Gone: now, Run: s.adapter.run}
	if can { // one that keeps nothing has an incident all the same
		if rec.State, err = m.MarshalBinary(); err != nil {
			return rec, false, fmt.Errorf("detector %q: %w", s.name, err)
		}
	}
	if s.aux != nil {
		if rec.Stages, err = s.aux.MarshalBinary(); err != nil {
			return rec, false, err
		}
	}
	return rec, true, nil
}

// restore gives the stream the state it had. On an error the detector is to be opened anew.
func (s *stream) restore(rec Record) (err error) {
	if rec.Detector != s.name || rec.Model != *s.model.Load() {
		return nil // another driver or model was configured since: nothing to restore, nothing wrong
	}
	u, can := s.detector.(encoding.BinaryUnmarshaler)
	if !can && s.aux == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("detector %q: UnmarshalBinary panicked: %v", s.name, p)
		}
	}()
	if can {
		if err := u.UnmarshalBinary(rec.State); err != nil {
			return fmt.Errorf("detector %q: %w", s.name, err)
		}
	}
	s.judged = true
	if s.aux != nil {
		return s.aux.UnmarshalBinary(rec.Stages)
	}
	return nil
}

// sanitize keeps a driver that breaks its contract from confusing the sinks.
func (s *stream) sanitize(r *driver.Result) {
	if s.group == nil {
		r.Key = s.key
	}
	switch {
	case r.Severity == driver.Unknown:
	case !(r.Score >= 0 && r.Score <= 1):
		r.Severity, r.Score, r.Kind = driver.Unknown, math.NaN(), driver.KindNone
	case r.Severity > driver.Critical:
		r.Severity = driver.Critical
	case r.Severity == driver.Normal:
		r.Kind = driver.KindNone
	}
}

// fail cuts the stream off and tells why, as a verdict; the row of that number is not judged.
func (s *stream) fail(at time.Time, number uint64, err error) {
	s.cut.Store(true)
	var r driver.Result
	r.Reset(nil)
	r.At, r.Threshold, r.Detector, r.Model, r.Kind = at, s.threshold, s.name, *s.model.Load(), driver.KindFailed
	r.Key, r.Message, r.Incident.Phase = s.key, err.Error(), driver.Abandoned
	if s.answer != nil {
		s.answer(number, &r, nil)
		return
	}
	s.deliver(&r, nil)
	s.dropped(1)
}

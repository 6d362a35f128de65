// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package replay runs recorded readings, of one property or of a group, through an pipeline.Handler, the very path that
// live readings take, and says for each of them what became of it.
package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// MaxBatch is the most readings that may be observed between two drains. It is well under the queue of a lane, so that
// nothing is dropped.
const MaxBatch = 4096

// queueRoom is the configured queue of the in-process adapter.
const queueRoom = 4 * MaxBatch

// Outcome is what became of one reading.
type Outcome struct {
	// Score is the detector's, NaN where it did not judge: it warms up, or the quality stage held the reading back.
	Score float64
	// Onset is how unusual the reading is as news, NaN where the detector did not judge.
	Onset float64
	// Severity and Kind are the worse of what the detector and the quality stage say, held while an incident lasts. A
	// reading that was held back, with no fault that persists, is Unknown and has the reason as its kind.
	Severity driver.Severity
	Kind     driver.Kind

	Expected, Lower, Upper float64 // the detector's; NaN where it makes no forecast

	Incident driver.Incident // that the reading is part of, or ended; the zero value is none
	Message  string          // why, in words; "" where nothing is wrong
}

// Options say what a stream of readings is scored with.
type Options struct {
	Config  admethod.ADMethodConfig // sinks are ignored: verdicts are returned
	Meta    admethod.Meta
	Drivers *driver.Registry // nil means driver.Default
	// ModelDir is where the model of Config is looked up; "" where it has none.
	ModelDir string
}

// recorded is the key of a recorded property.
func recorded(property string) driver.Key {
	return driver.Key{Namespace: "default", Device: "recording", Property: property}
}

// Session scores the readings of several properties, each in order and alone. It is not safe for concurrent use.
type Session struct {
	handler *pipeline.Handler
	streams []*Stream
	observe *Stream         // whose call of Observe is under way
	heard   driver.Detector // that was opened last

	mu      sync.Mutex
	byKey   map[driver.Key]*Stream
	only    *Stream // where there is one
	failure error
}

// Stream scores the readings of one property, in order. It is not safe for concurrent use.
type Stream struct {
	session  *Session
	binding  *pipeline.Binding
	detector driver.Detector // nil until the first reading
	before   admethod.BindingStats

	// pending is the story of the readings since the last drain. The quality stage speaks, and the adapter is handed
	// the reading, within the call of Observe; the detector answers from another goroutine, in order.
	pending []Outcome
	waiting []int // indices of readings that the adapter was handed, in order
	handed  bool

	verdicts []Outcome // the detector's, in order; guarded by the session's mu
}

// OpenSession opens a session without a property. The caller ends it with Close.
func OpenSession(ctx context.Context, drivers *driver.Registry) (*Session, error) {
	return openSession(ctx, drivers, "")
}

func openSession(ctx context.Context, drivers *driver.Registry, modelDir string) (*Session, error) {
	if drivers == nil {
		drivers = driver.Default
	}
	s := &Session{byKey: make(map[driver.Key]*Stream)}
	heard := new(driver.Registry)
	for _, f := range drivers.Factories() {
		heard.Register(f.Heard(func(d driver.Detector) { s.heard = d }))
	}
	h, err := pipeline.NewHandler(pipeline.Options{
		Drivers:  heard,
		Adapters: tapped(taps{submitted: func() { s.observe.submitted() }}),
		Sinks:    new(admethod.SinkRegistry),
		AdapterOptions: map[string]map[string]any{
			"inprocess": {"lanes": 1, "queue": queueRoom},
		},
		ModelDir: modelDir,
		Replay:   true,
		Hooks: admethod.Hooks{
			Verdict: func(r *driver.Result) {
				if r.Detector == driver.QualityStage {
					s.observe.last().worse(r)
				} else {
					s.answered(r)
				}
			},
			Failed: func(_ driver.Key, err error) { s.fail(err) },
		},
	})
	if err != nil {
		return nil, err
	}
	if err := h.Start(ctx); err != nil {
		return nil, err
	}
	s.handler = h
	return s, nil
}

// Add binds a property of a name that no other has.
func (s *Session) Add(name string, config admethod.ADMethodConfig, meta admethod.Meta) (*Stream, error) {
	config.Sinks = nil
	key := recorded(name)
	st := &Stream{session: s}
	s.mu.Lock()
	if s.byKey[key], s.only = st, nil; len(s.byKey) == 1 {
		s.only = st
	}
	s.mu.Unlock()
	s.heard, s.observe = nil, st
	var err error
	if st.binding, err = s.handler.Bind(key, config, meta); err != nil {
		return nil, err
	}
	st.detector = s.heard
	s.streams = append(s.streams, st)
	return st, nil
}

// Flush waits until all readings observed so far are judged. [Stream.Outcomes] has what became of them.
func (s *Session) Flush(ctx context.Context) error {
	if err := s.handler.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

// Close ends the session.
func (s *Session) Close(ctx context.Context) error { return s.handler.Shutdown(ctx) }

// Open opens a session of one property. The caller ends it with Close.
func Open(ctx context.Context, o Options) (*Stream, error) {
	s, err := openSession(ctx, o.Drivers, o.ModelDir)
	if err != nil {
		return nil, err
	}
	st, err := s.Add("value", o.Config, o.Meta) //nolint:contextcheck // Bind takes no context
	if err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return st, nil
}

// Detector is what judges the readings; nil where it is not in this process. It is to be asked between a drain and the
// next reading only.
func (s *Stream) Detector() driver.Detector { return s.detector }

// Observe takes a numeric reading.
func (s *Stream) Observe(at time.Time, v float64) {
	s.begin()
	s.binding.Observe(at, v)
	s.end()
}

// ObserveAny takes a reading of any type that a device driver may return.
func (s *Stream) ObserveAny(at time.Time, v any) {
	s.begin()
	s.binding.ObserveAny(at, v)
	s.end()
}

func (s *Stream) begin() {
	nan := math.NaN()
	s.pending = append(s.pending, Outcome{Score: nan, Onset: nan, Expected: nan, Lower: nan, Upper: nan})
	s.handed = false
	s.session.observe = s
}

// end names the reason why a reading did not get to the detector.
func (s *Stream) end() {
	if s.handed {
		return
	}
	stats := s.binding.Stats()
	o := s.last()
	if o.Severity == driver.Unknown {
		switch {
		case stats.Invalid > s.before.Invalid:
			o.Kind = driver.KindInvalid
		case stats.Duplicate > s.before.Duplicate:
			o.Kind = driver.KindDuplicate
		case stats.OutOfOrder > s.before.OutOfOrder:
			o.Kind = driver.KindOutOfOrder
		}
	}
	s.before = stats
}

func (s *Stream) last() *Outcome { return &s.pending[len(s.pending)-1] }

// Len is the number of readings observed since the last drain.
func (s *Stream) Len() int { return len(s.pending) }

// Drain waits until all readings observed since the last drain are judged and returns their outcomes, in order. They
// are valid until the next call of any method.
func (s *Stream) Drain(ctx context.Context) ([]Outcome, error) {
	if err := s.session.Flush(ctx); err != nil {
		return nil, err
	}
	return s.Outcomes()
}

// Outcomes are those of the readings since it was called last, in order, once the session was flushed. They are valid
// until the next call of any method.
func (s *Stream) Outcomes() ([]Outcome, error) {
	s.session.mu.Lock()
	defer s.session.mu.Unlock()
	if len(s.verdicts) != len(s.waiting) {
		return nil, fmt.Errorf("%d readings were handed to the detector, %d verdicts came back", len(s.waiting), len(s.verdicts))
	}
	for i := range s.verdicts {
		s.pending[s.waiting[i]].judged(&s.verdicts[i])
	}
	done := s.pending
	s.pending, s.waiting, s.verdicts = s.pending[:0], s.waiting[:0], s.verdicts[:0]
	return done, nil
}

// Close ends the session of a stream that was opened by [Open].
func (s *Stream) Close(ctx context.Context) error { return s.session.Close(ctx) }

func (s *Session) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		s.failure = err
	}
}

// submitted notes that the reading that is being observed was handed to the adapter.
func (s *Stream) submitted() {
	s.handed = true
	s.waiting = append(s.waiting, len(s.pending)-1)
}

// answered notes the detector's verdict on the next reading of a property.
func (s *Session) answered(r *driver.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.only
	if st == nil {
		if st = s.byKey[r.Key]; st == nil {
			return
		}
	}
	st.verdicts = append(st.verdicts, Outcome{
		Score: r.Score, Onset: r.Onset, Severity: r.Severity, Kind: r.Kind, Expected: r.Expected, Lower: r.Lower, Upper: r.Upper,
		Incident: r.Incident, Message: r.Message,
	})
}

// worse takes the quality stage's verdict.
func (o *Outcome) worse(r *driver.Result) {
	o.Incident = r.Incident
	if r.Severity.Anomalous() {
		o.Severity, o.Kind, o.Message = r.Severity, r.Kind, r.Message
	}
}

// judged takes the detector's verdict on a reading that the quality stage may have had a verdict on before.
func (o *Outcome) judged(v *Outcome) {
	switch {
	case v.Incident.ID == 0:
		v.Incident = o.Incident
	case v.Incident.ID == o.Incident.ID && v.Incident.Phase == driver.Lasts:
		v.Incident.Phase = o.Incident.Phase // it began with this reading
	}
	*o = *v
}

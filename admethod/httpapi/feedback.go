// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"slices"
	"time"

	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

// What people say of an incident, or of a stretch of readings.
const (
	SaidNormal = "normal" // it was no fault, and is to raise no incident again
	SaidFault  = "fault"
)

// Feedback is what people say, either of an incident or of a property in a span of time.
type Feedback struct {
	Incident  string    `json:"incident,omitempty"` // its id; with it, what is below says of which property where it is of several
	Namespace string    `json:"namespace,omitempty"`
	Device    string    `json:"device,omitempty"`
	Property  string    `json:"property,omitempty"`
	From      time.Time `json:"from,omitzero"` // of the first reading
	To        time.Time `json:"to,omitzero"`   // of the last reading
	Verdict   string    `json:"verdict"`       // [SaidNormal] or [SaidFault]
	Note      string    `json:"note,omitempty"`
	By        string    `json:"by,omitempty"` // who says it
}

const (
	mostFeedback = 16 << 10 // bytes of a request
	mostNote     = 1024
	mostBy       = 128
)

// Check reports what is wrong with the feedback.
func (f *Feedback) Check() error {
	switch {
	case f.Verdict != SaidNormal && f.Verdict != SaidFault:
		return fmt.Errorf("verdict: got %q, want normal or fault", f.Verdict)
	case len(f.Note) > mostNote:
		return fmt.Errorf("note: %d bytes, want at most %d", len(f.Note), mostNote)
	case len(f.By) > mostBy:
		return fmt.Errorf("by: %d bytes, want at most %d", len(f.By), mostBy)
	case f.Incident != "":
		if !f.From.IsZero() || !f.To.IsZero() {
			return errors.New("incident: want none beside from and to")
		}
		_, err := shared.ParseID(f.Incident)
		return err
	case f.Device == "" || f.From.IsZero() || f.To.IsZero():
		return errors.New("want incident, or device, property, from and to")
	case f.To.Before(f.From):
		return fmt.Errorf("to: %s is before from, %s", f.To.Format(time.RFC3339), f.From.Format(time.RFC3339))
	}
	return nil
}

// Of takes key and span from an incident.
func (f *Feedback) Of(i *Incident) {
	f.Namespace, f.Device, f.Property, f.From = i.Namespace, i.Device, i.Property, i.Start
	f.To = i.Start.Add(time.Duration(math.Round(i.Duration * float64(time.Second))))
	if i.End != nil {
		f.To = *i.End
	}
}

// Label is the feedback as a label of readings.
func (f *Feedback) Label(now time.Time) labels.Label {
	text := "anomaly"
	if f.Verdict == SaidNormal {
		text = "normal"
	}
	return labels.Label{
		Namespace: labels.Exactly(f.Namespace), Device: labels.Exactly(f.Device), Property: labels.Exactly(f.Property),
		From: f.From.UTC(), To: f.To.UTC().Add(1), // a label's end is not included
		Label: text, Said: now.UTC(), By: f.By, Incident: f.Incident, Note: f.Note,
	}
}

// Learned says what became of feedback.
type Learned struct {
	Feedback
	Learned bool   `json:"learned"`          // the detector takes it for normal from now on
	Reason  string `json:"reason,omitempty"` // why not
}

// feedback answers POST /v1/feedback. It changes what detectors learn, so it wants the token also on loopback.
func (s *Server) feedback(w http.ResponseWriter, r *http.Request) {
	if !s.mayChange(w, r, "feedback changes what detectors learn, and") {
		return
	}
	var f Feedback
	err := decode(w, r, &f)
	if err == nil {
		err = f.Check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if f.Incident != "" {
		found, err := s.find(r.Context(), IncidentFilter{
			ID: f.Incident, Namespace: labels.Exactly(f.Namespace), Device: labels.Exactly(f.Device), Property: labels.Exactly(f.Property), Limit: 2,
		})
		switch {
		case err != nil:
			s.trouble("incidents")(err)
			http.Error(w, "the history cannot be read now", http.StatusServiceUnavailable)
			return
		case len(found) == 0:
			http.Error(w, "no incident "+f.Incident+" is known here", http.StatusNotFound)
			return
		case len(found) > 1:
			http.Error(w, "the incident is one of several properties: want namespace, device and property beside it", http.StatusConflict)
			return
		}
		f.Of(&found[0])
	}
	if s.labels == "" {
		http.Error(w, "there is no directory to keep feedback in: set labels of the sink api, or a state directory", http.StatusServiceUnavailable)
		return
	}
	f.By = cmp.Or(viewerOf(r).name, f.By, "api") // a proxy knows better than who asks
	if err = os.MkdirAll(s.labels, 0o700); err == nil {
		err = labels.Add(s.labels, f.Label(time.Now()))
	}
	if err != nil {
		s.trouble("feedback")(err)
		http.Error(w, "it could not be kept: the mapper's log says why", http.StatusInternalServerError)
		return
	}
	answer := Learned{Feedback: f}
	if f.Verdict == SaidNormal {
		answer.Learned, answer.Reason = s.learn(r.Context(), &f)
	}
	s.acted(r, Act{
		By: f.By, What: f.Verdict, Namespace: f.Namespace, Device: f.Device, Property: f.Property, Incident: f.Incident,
		Begin: f.From, End: f.To, Note: f.Note, Learned: answer.Learned,
	})
	WriteJSON(w, http.StatusOK, answer)
}

// decode reads what somebody says, which is small and has no other fields.
func decode(w http.ResponseWriter, r *http.Request, to any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostFeedback))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// learn tells the detector.
func (s *Server) learn(ctx context.Context, f *Feedback) (learned bool, reason string) {
	if s.accept == nil {
		return false, "no detector can be told here"
	}
	key, span := driver.Key{Namespace: f.Namespace, Device: f.Device, Property: f.Property}, driver.Span{From: f.From, To: f.To}
	if rows := s.recorded(ctx, key, span); len(rows) > 0 {
		span.Rows = slices.Values(rows)
	}
	if err := s.accept(ctx, key, span); err != nil {
		return false, err.Error()
	}
	return true, ""
}

// Recorded knows readings of the past: those of a property in a span, in order of time.
type Recorded func(ctx context.Context, key driver.Key, from, to time.Time, each func(at time.Time, value float64, text string) error) error

// Recording has a detector that is told what was normal read what it remembers no more from what is recorded, until remove
// is called.
func (rs *Routes) Recording(known Recorded) (remove func()) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	p := &known
	rs.known = append(rs.known, p)
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.known = slices.DeleteFunc(rs.known, func(o *Recorded) bool { return o == p })
	}
}

// What a detector is told of is no longer than that, with so much from before it.
const (
	mostTold   = 50_000 // readings
	beforeTold = 10 * time.Minute
	justNow    = 30 * time.Second
)

var errTooLong = errors.New("too long to be learned")

// recorded are the readings of a span as far as they are recorded, with some from before. Of a property of a group, which
// is told by rows of all members, there are none.
func (s *Server) recorded(ctx context.Context, key driver.Key, span driver.Span) (rows []driver.Row) {
	if s.watched != nil {
		if w, ok := s.watched(key); !ok || len(w.Members) > 1 {
			return nil
		}
	}
	s.routes.mu.Lock()
	known := slices.Clone(s.routes.known)
	s.routes.mu.Unlock()
	inside := false
	for _, k := range known {
		err := (*k)(ctx, key, span.From.Add(-beforeTold), span.To.Add(1), func(at time.Time, value float64, text string) error {
			if len(rows) == mostTold {
				return errTooLong
			}
			inside = inside || !at.Before(span.From)
			rows = append(rows, driver.Row{{Key: key, At: at, Value: value, Text: text}})
			return nil
		})
		if err != nil {
			s.trouble("recorded")(err)
			return nil
		}
	}
	// What the detector remembers is better than nothing, and than what is not all on the disk yet.
	if n := len(rows); !inside || rows[n-1][0].At.Before(span.To) && time.Since(span.To) < justNow {
		return nil
	}
	return rows
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// Incident follows the incidents of one property. It alone decides when one begins, lasts and ends, from the verdicts of
// the quality stage and of the detector. The zero value is ready for use.
//
// One begins with an anomalous verdict that the policy takes an interest in. It ends when neither stage holds it open any
// more: the quality stage with its first verdict that nothing persists; a detector that follows incidents itself (it tells
// [driver.Result.Onset]) when it says that the stream is back, or accepted; any other after PolicyConfig.Clear verdicts in
// succession that are not anomalous. So brief excursions are one incident, and a stream is in one incident at a time.
type Incident struct {
	// Least is the score of the detector from which an incident begins, where that is more than the detector's threshold.
	Least float64

	x *excursion // nil while the stream is where it was
}

// excursion is a departure from what was normal: an incident from when it is told.
type excursion struct {
	driver.Incident
	told     bool // not while a mute window hides it
	detector holder
	quality  holder
	calm     int       // verdicts of the detector in succession that do not hold it open
	unheard  int       // verdicts of the quality stage since the last one of the detector
	back     time.Time // of the first of them, and no sooner than the quality stage let go
	unknown  time.Time // of the first verdict of the detector in succession that was Unknown; zero where the last was not
	last     time.Time // of the newest verdict
	side     int       // of the last anomalous reading: over (1) or under (-1) what was expected
	run      int       // anomalous readings in succession on that side
	message  string    // of the last verdict of the stage that holds it open
	other    string    // the same, translated; not kept over a restart
}

// holder is one of the two stages that may hold an incident open.
type holder struct {
	away     bool
	severity driver.Severity // of its last anomalous verdict
	kind     driver.Kind
}

const (
	// After so long without knowing, an incident is abandoned: an alert that nobody can end says nothing.
	unknownFor = time.Hour
	// A spike whose neighbours, as many in all, lie on the same side of what was expected is a level.
	staysFor = 5
	// A detector that was not heard of for so many readings that are no good says nothing of what is now.
	unheardFor = 10
)

// Calm reports whether a verdict that is normal changes nothing.
func (s *Incident) Calm() bool { return s.x == nil }

// Judge takes a verdict and tells in it what incident it is part of; fromQuality tells who judged. While an incident
// lasts its severity and kind hold: a verdict within it has the worst severity and the best kind so far. What a
// detector that tells no Onset leaves out is filled in.
func (s *Incident) Judge(r *driver.Result, fromQuality bool, p *Policy) {
	raw := *r // of the judge; only its numbers are looked at
	follows := !math.IsNaN(r.Onset)
	if !follows && r.Severity != driver.Unknown {
		r.Onset = r.Score
	}
	x := s.x
	if x == nil {
		if !r.Severity.Anomalous() || !fromQuality && r.Score < s.Least || !p.begins(r) {
			normal(r)
			return
		}
		x = &excursion{Incident: driver.Incident{Start: r.At, ID: identify(r.Key, r.At), Score: math.NaN()}}
		s.x = x
	} else if !follows && r.Severity != driver.Unknown {
		r.Onset = 0
	}
	if r.At.After(x.last) {
		x.last = r.At
	}
	now := raw.Severity.Anomalous() && p.holds(&raw)
	if fromQuality {
		if x.quality.away && !now {
			x.back = r.At
		}
		x.quality.take(&raw, now)
		x.unheard = min(x.unheard+1, unheardFor)
	} else {
		x.judged(&raw, now, follows, p)
	}
	switch {
	case r.Incident.Phase == driver.Abandoned, x.lost(r.At):
		s.end(r, driver.Abandoned, x.last)
		return
	case !x.detector.away && !x.quality.away:
		phase := driver.Returned
		if raw.Accepted {
			phase = driver.NewNormal
		}
		s.end(r, phase, x.back)
		return
	}
	if now {
		x.worst(&raw)
	}
	x.Phase = driver.Lasts
	if !x.told {
		if !now || p.muted(r.At) {
			normal(r)
			return
		}
		x.told, x.Phase = true, driver.Began
		if !follows {
			r.Onset = r.Score
		}
	}
	by := x.by()
	x.Kind = by.kind
	switch { // the reason is that of the kind: what the other stage says beside it is not why
	case r.Message != "" && (raw.Severity.Anomalous() && fromQuality == (by == &x.quality) || x.message == ""):
		x.message, x.other = r.Message, r.Translated
	case r.Message == "" || raw.Severity.Anomalous():
		r.Message, r.Translated = x.message, x.other
	}
	r.Incident = x.Incident
	if r.Severity != driver.Unknown || x.quality.away {
		r.Severity, r.Kind = x.Severity, x.Kind
	}
}

// take notes the last verdict of a stage that was anomalous.
func (h *holder) take(r *driver.Result, away bool) {
	if h.away = away; away {
		h.severity, h.kind = r.Severity, r.Kind
	}
}

// judged takes a verdict of the detector. now tells that it is anomalous and of interest.
func (x *excursion) judged(r *driver.Result, now, follows bool, p *Policy) {
	if r.Severity == driver.Unknown { // says nothing of how it is
		if x.unknown.IsZero() {
			x.unknown = r.At
		}
		return
	}
	x.unknown, x.unheard = time.Time{}, 0
	if now {
		x.calm = 0
		x.detector.take(r, true)
		x.stays(r, follows)
		return
	}
	if r.Ongoing && !r.Severity.Anomalous() {
		x.calm = 0
		return
	}
	if !x.detector.away {
		return
	}
	if x.calm++; x.calm == 1 {
		x.back = r.At
	}
	if (follows || r.Accepted) && !r.Severity.Anomalous() || x.calm >= p.clear {
		x.detector.away = false
	}
}

// stays refines the kind for detectors that judge each reading by itself.
func (x *excursion) stays(r *driver.Result, follows bool) {
	side := 0
	if deviation, known := deviationOf(r); known && deviation != 0 {
		side = int(math.Copysign(1, deviation))
	}
	if side != x.side {
		x.side, x.run = side, 0
	}
	x.run++
	if !follows && side != 0 && x.run >= staysFor && (r.Kind == driver.KindSpike || r.Kind == driver.KindJump) {
		x.detector.kind = driver.KindLevel
	}
}

// worst notes how bad it is.
func (x *excursion) worst(r *driver.Result) {
	x.Severity = max(x.Severity, r.Severity)
	worse := !(r.Score <= x.Score) && !math.IsNaN(r.Score)
	if worse {
		x.Score = r.Score
	}
	// The cause is that of when it was worst, unless what was blamed then no longer is.
	if len(r.Causes) > 0 && (worse || !slices.ContainsFunc(r.Causes, func(c driver.Cause) bool { return c.Key == x.Cause })) {
		x.Cause = r.Causes[0].Key
	}
}

// by is the stage that holds the incident open. Of both it is the detector, unless the other is worse, or nothing reaches the
// detector: that some readings are no good, often for long, must not hide what the others show.
func (x *excursion) by() *holder {
	if x.quality.away && (!x.detector.away || x.quality.severity > x.detector.severity || x.unheard >= unheardFor) {
		return &x.quality
	}
	return &x.detector
}

// lost reports whether nobody has known for long whether it goes on.
func (x *excursion) lost(now time.Time) bool {
	return !x.quality.away && !x.unknown.IsZero() && now.Sub(x.unknown) >= unknownFor
}

// end makes r, which says how the stream is now, the end of the incident.
func (s *Incident) end(r *driver.Result, phase driver.Phase, at time.Time) {
	x := s.x
	s.x = nil
	normal(r)
	r.Ongoing = false
	if !x.told {
		r.Incident = driver.Incident{}
		return
	}
	if at.Before(x.Start) { // a clock was set back
		at = x.Start
	}
	r.Incident = x.Incident
	r.Incident.Phase, r.Incident.End = phase, at
}

// End ends the incident that is open, for a reason outside of the verdicts, and reports whether it was told: then r, which
// arrives reset, says so.
func (s *Incident) End(r *driver.Result, phase driver.Phase) bool {
	x := s.x
	if x == nil {
		return false
	}
	r.At = x.last
	s.end(r, phase, x.last)
	return x.told
}

// Open is the incident that is open and told; the zero value is none.
func (s *Incident) Open() driver.Incident {
	if s.x == nil || !s.x.told {
		return driver.Incident{}
	}
	return s.x.Incident
}

// OfQuality reports whether the quality stage holds an incident open.
func (s *Incident) OfQuality() bool { return s.x != nil && s.x.quality.away }

// normal makes an anomaly that is none of ours normal. The score stays as it is.
func normal(r *driver.Result) {
	if r.Severity.Anomalous() {
		r.Severity, r.Kind = driver.Normal, driver.KindNone
	}
	r.Incident = driver.Incident{}
}

// identify makes an identifier that is the same after a restart.
func identify(key driver.Key, start time.Time) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte(key.String()), uint64(start.UnixNano())))
	return max(h.Sum64(), 1)
}

// mostText bounds a text in the state.
const mostText = 4096

// EncodeState writes the incident that is open.
func (s *Incident) EncodeState(w *state.Writer) {
	w.Bool(s.x != nil)
	if s.x == nil {
		return
	}
	x := s.x
	w.Uint(x.ID)
	w.Int(x.Start.UnixNano())
	w.Uint(uint64(x.Severity))
	w.Float(x.Score)
	for _, text := range []string{string(x.Kind), x.Cause.Namespace, x.Cause.Device, x.Cause.Property, x.message} {
		w.Text(clipTo(text, mostText))
	}
	w.Bool(x.told)
	for _, h := range []*holder{&x.detector, &x.quality} {
		w.Bool(h.away)
		w.Uint(uint64(h.severity))
		w.Text(clipTo(string(h.kind), mostText))
	}
	w.Uint(uint64(x.calm))
	w.Int(x.back.UnixNano())
	w.Int(x.last.UnixNano())
}

// DecodeState reads what EncodeState wrote.
func (s *Incident) DecodeState(r *state.Reader) {
	s.x = nil
	if !r.Bool() {
		return
	}
	x := &excursion{Incident: driver.Incident{Phase: driver.Lasts, ID: r.Uint(), Start: time.Unix(0, r.Int())}}
	x.Severity, x.Score = driver.Severity(r.Count("severity", int(driver.Critical))), r.Float()
	x.Kind = driver.Kind(r.Text("kind", mostText))
	x.Cause = driver.Key{Namespace: r.Text("namespace", mostText), Device: r.Text("device", mostText), Property: r.Text("property", mostText)}
	x.message = r.Text("message", mostText)
	x.told = r.Bool()
	for _, h := range []*holder{&x.detector, &x.quality} {
		h.away = r.Bool()
		h.severity = driver.Severity(r.Count("severity", int(driver.Critical)))
		h.kind = driver.Kind(r.Text("kind", mostText))
	}
	x.calm = r.Count("calm verdicts", math.MaxInt32)
	x.back, x.last = time.Unix(0, r.Int()), time.Unix(0, r.Int())
	if x.ID == 0 && r.Err() == nil {
		r.Fail("an incident without an identifier")
	}
	if r.Err() == nil {
		s.x = x
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// What EncodeState keeps is for a process that begins anew: nobody knows what happened meanwhile, so that much of what
// stood is no more. What EncodeExact keeps is for one that goes on at the very reading at which another stopped, and is
// to say what that would have said, to the bit.

// EncodeExact writes everything.
func (q *Quality) EncodeExact(w *state.Writer) {
	q.EncodeState(w)
	q.EncodeFaults(w)
	w.Int(q.since)
	w.Bool(q.resumed)
	w.Uint(uint64(q.older))
	w.Uint(uint64(q.same))
	w.Bool(q.faulty)
	k := &q.clock
	for _, t := range [...]int64{k.ahead, k.before, k.back, k.arrived, k.believed, k.behind} {
		w.Int(t)
	}
	w.Float(float64(k.paced))
	w.Uint(uint64(k.leapt))
	w.Uint(uint64(k.rhythmic))
	w.Bool(k.restored)
}

// DecodeExact reads what EncodeExact wrote.
func (q *Quality) DecodeExact(r *state.Reader) {
	q.DecodeState(r)
	q.DecodeFaults(r)
	q.since, q.resumed = r.Int(), r.Bool()
	q.older, q.same = uint8(r.Count("older readings", math.MaxUint8)), uint8(r.Count("same times", math.MaxUint8))
	q.faulty = r.Bool()
	k := &q.clock
	for _, t := range [...]*int64{&k.ahead, &k.before, &k.back, &k.arrived, &k.believed, &k.behind} {
		*t = r.Int()
	}
	k.paced = float32(r.Finite("pace"))
	k.leapt, k.rhythmic = uint8(r.Count("readings since a leap", math.MaxUint8)), uint8(r.Count("readings in rhythm", math.MaxUint8))
	k.restored = r.Bool()
}

// EncodeExact writes everything.
func (s *Incident) EncodeExact(w *state.Writer) {
	w.Float(s.Least)
	w.Bool(s.x != nil)
	if s.x == nil {
		return
	}
	x := s.x
	w.Uint(x.ID)
	w.Uint(uint64(x.Phase))
	w.Uint(uint64(x.Severity))
	w.Float(x.Score)
	for _, text := range []string{string(x.Kind), x.Cause.Namespace, x.Cause.Device, x.Cause.Property, x.message, x.other} {
		w.Text(text)
	}
	w.Bool(x.told)
	for _, h := range []*holder{&x.detector, &x.quality} {
		w.Bool(h.away)
		w.Uint(uint64(h.severity))
		w.Text(string(h.kind))
	}
	w.Uint(uint64(x.calm))
	w.Uint(uint64(x.unheard))
	w.Int(int64(x.side))
	w.Uint(uint64(x.run))
	for _, t := range []time.Time{x.Start, x.End, x.back, x.unknown, x.last} {
		WriteTime(w, t)
	}
}

// DecodeExact reads what EncodeExact wrote.
func (s *Incident) DecodeExact(r *state.Reader) {
	*s = Incident{Least: r.Float()}
	if !r.Bool() {
		return
	}
	const longest = 1 << 20
	x := new(excursion)
	x.ID, x.Phase = r.Uint(), driver.Phase(r.Count("phase", int(driver.Abandoned)))
	x.Severity, x.Score = driver.Severity(r.Count("severity", int(driver.Critical))), r.Float()
	x.Kind = driver.Kind(r.Text("kind", longest))
	x.Cause = driver.Key{Namespace: r.Text("namespace", longest), Device: r.Text("device", longest), Property: r.Text("property", longest)}
	x.message, x.other, x.told = r.Text("message", longest), r.Text("translated message", longest), r.Bool()
	for _, h := range []*holder{&x.detector, &x.quality} {
		h.away = r.Bool()
		h.severity = driver.Severity(r.Count("severity", int(driver.Critical)))
		h.kind = driver.Kind(r.Text("kind", longest))
	}
	x.calm, x.unheard = r.Count("calm verdicts", math.MaxInt32), r.Count("unheard", unheardFor)
	x.side, x.run = int(r.Int()), r.Count("run", math.MaxInt32)
	for _, t := range []*time.Time{&x.Start, &x.End, &x.back, &x.unknown, &x.last} {
		*t = ReadTime(r)
	}
	if r.Err() == nil {
		s.x = x
	}
}

// WriteTime writes a time in UTC, which may be the zero one.
func WriteTime(w *state.Writer, t time.Time) {
	w.Bool(!t.IsZero())
	if !t.IsZero() {
		w.Int(t.Unix())
		w.Uint(uint64(t.Nanosecond()))
	}
}

// ReadTime reads what WriteTime wrote.
func ReadTime(r *state.Reader) time.Time {
	if !r.Bool() {
		return time.Time{}
	}
	return time.Unix(r.Int(), int64(r.Count("nanoseconds", 999_999_999))).UTC()
}

// EncodeExact writes everything.
func (v *Coalescer) EncodeExact(w *state.Writer) {
	w.Int(v.quietFrom.Load())
	w.Int(v.quietUntil.Load())
	w.Bool(v.sent)
	w.Int(v.sentAt)
	w.Uint(uint64(v.severity))
	w.Uint(v.incident)
	w.Text(string(v.kind))
	w.Uint(v.blamed)
}

// DecodeExact reads what EncodeExact wrote; the heartbeat stays as it is.
func (v *Coalescer) DecodeExact(r *state.Reader) {
	v.quietFrom.Store(r.Int())
	v.quietUntil.Store(r.Int())
	v.sent, v.sentAt = r.Bool(), r.Int()
	v.severity, v.incident = driver.Severity(r.Count("severity", int(driver.Critical))), r.Uint()
	v.kind, v.blamed = driver.Kind(r.Text("kind", mostText)), r.Uint()
}

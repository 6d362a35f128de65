// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"maps"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// arrival is when the last reading of a member came, guarded by the member's lock.
type arrival struct{ at, steady int64 } // by its own time, and by the steady clock; 0 before there is one

// Observe takes a reading of a member, as its origin has it, through the stages convert and quality, before it becomes part
// of a row. A text, which is "" for a number, is converted by the data type of the member; s has the rest. Past readings are
// learned from, and nothing is told of them; those of a member come before its others. Where the detector must not see the
// reading, Observe reports false, and answer is the verdict on it. It may be called concurrently with the other methods.
func (a *Attachment) Observe(member int, text string, past bool, s *driver.Sample) (answer driver.Result, pass bool) {
	b, h := a.members[member], a.handler
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.quality.Replayed(s.At.UnixNano(), a.replays) {
		if a.arrived != nil && !past { // nothing newer is known: from now on that is a silence
			a.arrived[member] = arrival{b.quality.Last().UnixNano(), h.clock.now.Load()}
		}
		b.held(s, &answer)
		answer.Message = "not judged: it is known from before a restart"
		return answer, false
	}
	if text != "" {
		s.Value, s.Text, s.Flags = b.convert.Text(text)
	} else {
		s.Value, s.Text, s.Flags = b.convert.Number(s.Value)
	}
	ns, steady := s.At.UnixNano(), h.clock.now.Load()
	if past {
		a.past.Store(max(a.past.Load(), ns))
		s.Flags, pass = b.quality.Observe(ns, 0, s.Value, s.Flags, &b.config.Quality)
		if !pass {
			b.count(s.Flags)
			b.held(s, &answer)
		}
	} else {
		answer, pass = b.inspect(s, 0) // how long it was under way is the origin's business
		b.row[0].Value = s.Value
		if a.arrived != nil {
			a.arrived[member] = arrival{ns, steady}
		}
	}
	if !pass && h.mirrored.Load() { // the others are seen with their row
		h.hooks.Reading(s, false)
	}
	return answer, pass
}

// finding is what the origin of the readings found of a property, which stands until it says otherwise.
type finding struct {
	kind     driver.Kind
	strength float64
	message  string
}

// Found takes what the origin of a member's readings found of it beside them; it stands until the next one. Strength is how
// far that is beyond what is allowed: 1 is just over, 5 is critical. [driver.KindNone] says that all is well again.
func (a *Attachment) Found(member int, at time.Time, kind driver.Kind, strength float64, message string) {
	b := a.members[member]
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.found.kind
	if b.found = (finding{kind, max(strength, 1), message}); kind == driver.KindNone {
		b.found = finding{}
		if before == driver.KindNone && !b.silent || b.quality.Standing() {
			return
		}
		b.silent = false
	}
	s := driver.Sample{Key: b.Key(), At: at, Value: b.row[0].Value}
	r := stage.QualityResult(&s, b.config.Threshold, kind, b.found.strength, message)
	b.deliver(&r, true)
}

// listen looks for silence of members that are observed.
func (h *Handler) listen(now time.Time) {
	h.mu.Lock()
	attached := slices.Collect(maps.Keys(h.attached))
	h.mu.Unlock()
	for _, a := range attached {
		for i := range a.arrived {
			_ = guard.Do("the watch over a property", func() { a.listen(i, now) }) // is logged; the others have their turn
		}
	}
}

// listen judges the silence of a member. Its readings may be of long ago, as those of a file are: what counts is for how
// long none has come.
func (a *Attachment) listen(member int, now time.Time) {
	b, h := a.members[member], a.handler
	b.mu.Lock()
	defer b.mu.Unlock()
	last := &a.arrived[member]
	if last.steady == 0 || b.ended {
		return
	}
	steady := h.clock.steady(now)
	if r := h.clock.resumed.Load(); r != b.resumed { // nobody could read meanwhile
		b.resumed, last.steady = r, steady
	}
	waited := steady - last.steady
	strength := b.quality.Overdue(last.at+waited, &b.config.Quality)
	if strength <= 0 {
		return
	}
	b.silent = true
	s := driver.Sample{Key: b.Key(), At: now, Value: b.row[0].Value}
	r := stage.SilenceResult(&s, b.config.Threshold, strength, now.Add(-time.Duration(waited)), b.config.Language)
	b.deliver(&r, true)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// standstill is a step of the time that [Handler.Advance] tells which says that nobody could bring readings meanwhile.
const standstill = 5 * time.Second

// Advance tells a handler that replays what time it is, for who has a clock that is the same each time that readings are
// replayed, such as the times at which a log took them. Members of attachments that are silent for too long by then are
// told so. A time that is before the last one does nothing; one that is much after it says that the log stood still.
//
// It must not be called while readings are observed, and waits for what was observed to be judged.
func (h *Handler) Advance(ctx context.Context, now time.Time) error {
	if !h.opts.Replay {
		return nil
	}
	ns := now.UnixNano()
	switch last := h.clock.now.Load(); {
	case last == 0:
		h.clock.began = time.Unix(0, ns)
		h.clock.now.Store(ns)
	case ns <= last:
		return nil
	default:
		h.clock.now.Store(ns)
		if ns-last > int64(standstill) {
			h.clock.resumed.Store(ns)
		}
	}
	h.mu.Lock()
	attached := slices.Collect(maps.Keys(h.attached))
	h.mu.Unlock()
	overdue := attached[:0]
	for _, a := range attached {
		if a.overdue(ns, h.clock.resumed.Load()) {
			overdue = append(overdue, a)
		}
	}
	if len(overdue) == 0 {
		return nil
	}
	if err := h.Flush(ctx); err != nil {
		return err
	}
	slices.SortFunc(overdue, func(x, y *Attachment) int {
		return cmp.Compare(x.members[0].Key().String(), y.members[0].Key().String())
	})
	for _, a := range overdue {
		for i := range a.arrived {
			_ = guard.Do("the watch over a property", func() { a.listen(i, now) }) // is logged; the others have their turn
		}
	}
	return nil
}

// Time is what [Handler.Advance] told last, and when it went on after a standstill; both are zero before. A handler that
// goes on where another stopped is told by [Handler.SetTime].
func (h *Handler) Time() (now, resumed int64) { return h.clock.now.Load(), h.clock.resumed.Load() }

// SetTime sets what Time tells. It is called before anything is attached.
func (h *Handler) SetTime(now, resumed int64) {
	h.clock.began = time.Unix(0, now)
	h.clock.now.Store(now)
	h.clock.resumed.Store(resumed)
}

// overdue reports whether a member may be silent for too long.
func (a *Attachment) overdue(now, resumed int64) bool {
	for i := range a.arrived {
		b := a.members[i]
		b.mu.Lock()
		last := a.arrived[i]
		is := last.steady != 0 && (b.resumed != resumed || b.quality.Overdue(last.at+now-last.steady, &b.config.Quality) > 0)
		b.mu.Unlock()
		if is {
			return true
		}
	}
	return false
}

// exact is all of the state of an attachment's stages, and what of the caller's belongs to it.
type exact struct {
	attached *Attachment
	kept     admethod.Snapshotter
}

// MarshalBinary writes everything.
func (e *exact) MarshalBinary() ([]byte, error) {
	a := e.attached
	var w state.Writer
	w.Bool(a.closing.Load())
	if a.closing.Load() { // nobody goes on with it: who opens it one day begins anew
		plain, err := stages(a.members).MarshalBinary()
		w.Bytes = append(w.Bytes, plain...)
		return w.Bytes, err
	}
	w.Int(a.past.Load())
	for i, b := range a.members {
		b.mu.Lock()
		b.convert.EncodeState(&w)
		b.quality.EncodeExact(&w)
		b.telling.Lock()
		b.incident.EncodeExact(&w)
		b.coalesce.EncodeExact(&w)
		b.telling.Unlock()
		w.Bool(b.silent)
		w.Text(string(b.found.kind))
		w.Float(b.found.strength)
		w.Text(b.found.message)
		w.Float(b.row[0].Value)
		w.Int(b.resumed)
		var last arrival
		if a.arrived != nil {
			last = a.arrived[i]
		}
		w.Int(last.at)
		w.Int(last.steady)
		b.kept = true
		b.mu.Unlock()
	}
	var own []byte
	if e.kept != nil {
		var err error
		if own, err = e.kept.MarshalBinary(); err != nil {
			return nil, err
		}
	}
	w.Text(string(own))
	return w.Bytes, nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (e *exact) UnmarshalBinary(data []byte) error {
	const longest = 1 << 20
	a := e.attached
	r := state.NewReader(data)
	if r.Bool() {
		return stages(a.members).UnmarshalBinary(data[1:])
	}
	a.past.Store(r.Int())
	for i, b := range a.members {
		c, q, in := b.convert, stage.Quality{}, stage.Incident{}
		b.mu.Lock()
		c.DecodeState(r)
		q.DecodeExact(r)
		b.telling.Lock()
		in.DecodeExact(r)
		b.coalesce.DecodeExact(r)
		b.convert, b.quality, b.incident = c, q, in
		b.telling.Unlock()
		b.silent = r.Bool()
		b.found = finding{driver.Kind(r.Text("kind", longest)), r.Float(), r.Text("message", longest)}
		b.row[0].Value = r.Float()
		b.resumed = r.Int()
		last := arrival{r.Int(), r.Int()}
		if a.arrived != nil {
			a.arrived[i] = last
		}
		b.mu.Unlock()
	}
	own := r.Text("state of the caller", 1<<24)
	if err := r.Close(); err != nil {
		return fmt.Errorf("%v: state of the stages: %w", a.members[0].Key(), err)
	}
	if e.kept != nil {
		return e.kept.UnmarshalBinary([]byte(own))
	}
	return nil
}

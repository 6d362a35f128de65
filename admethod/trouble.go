// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Trouble is something beside detection that fails at present: a sink that cannot start, a disk that is full. Detection
// goes on. It is in [Stats] while it lasts, and in the log once a minute.
type Trouble struct {
	Part  string    // what fails: "sink metrics", "learned state"
	Risk  string    // what is lost, or may be, while it lasts, and what to do
	Error string    // the last failure
	Since time.Time // when it began
	Times uint64    // how often it failed since
}

// Report tells that a part fails, and by nil that it works again. It may be called from any goroutine, as often as the
// part fails: the log hears of it once a minute.
type Report func(part, risk string, err error)

// Report is a [Report] of what feeds the handler.
func (h *Handler) Report(part, risk string, err error) { h.troubles.report(part, risk, err) }

// troubles are those that last, by part.
type troubles struct {
	mu  sync.Mutex
	now map[string]*lasting
}

type lasting struct {
	Trouble
	said time.Time
}

const (
	tellTrouble  = time.Minute
	mostTroubles = 256 // parts have names that the program gives: more than it has of them is a mistake of somebody
)

// report is a [Report].
func (t *troubles) report(part, risk string, err error) {
	now := time.Now()
	t.mu.Lock()
	l, ok := t.now[part]
	if err == nil {
		delete(t.now, part)
		t.mu.Unlock()
		if ok {
			logs.InfoS("Works again beside anomaly detection", "part", part, "after", now.Sub(l.Since).Round(time.Second).String())
		}
		return
	}
	if !ok {
		if len(t.now) >= mostTroubles {
			t.mu.Unlock()
			return
		}
		if t.now == nil {
			t.now = make(map[string]*lasting)
		}
		l = &lasting{Trouble: Trouble{Part: part, Since: now}}
		t.now[part] = l
	}
	l.Risk, l.Error = risk, err.Error()
	l.Times++
	tell := !ok || now.Sub(l.said) >= tellTrouble
	if tell {
		l.said = now
	}
	told := l.Trouble
	t.mu.Unlock()
	if tell {
		logs.ErrorS(err, "Something beside anomaly detection fails; detection goes on", "part", part, "risk", risk,
			"since", told.Since.UTC().Format(time.RFC3339), "times", told.Times)
	}
}

// list returns those that last, by part.
func (t *troubles) list() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Trouble, 0, len(t.now))
	for _, l := range t.now {
		out = append(out, l.Trouble)
	}
	slices.SortFunc(out, func(a, b Trouble) int { return cmp.Compare(a.Part, b.Part) })
	return out
}

// Stats counts what the handler did since it started.
type Stats struct {
	Troubles []Trouble // what fails at present, beside detection
	Bindings map[driver.Key]BindingStats
	Sinks    map[string]SinkStats
}

// Stats returns a copy of the current counts.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	bindings := maps.Clone(h.bindings)
	sinks := maps.Clone(h.sinks)
	for a := range h.attached {
		for _, b := range a.members {
			bindings[b.Key()] = b
		}
	}
	h.mu.Unlock()
	s := Stats{Troubles: h.troubles.list(), Bindings: make(map[driver.Key]BindingStats, len(bindings)), Sinks: make(map[string]SinkStats, len(sinks))}
	for key, b := range bindings {
		s.Bindings[key] = b.Stats()
	}
	for name, q := range sinks {
		s.Sinks[name] = q.stats()
	}
	return s
}

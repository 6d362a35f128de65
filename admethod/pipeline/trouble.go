// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Report is a [admethod.Report] of what feeds the handler.
func (h *Handler) Report(part, risk string, err error) { h.troubles.report(part, risk, err) }

// troubles are those that last, by part.
type troubles struct {
	mu  sync.Mutex
	now map[string]*lasting
}

type lasting struct {
	admethod.Trouble
	said time.Time
}

const (
	tellTrouble  = time.Minute
	mostTroubles = 256 // parts have names that the program gives: more than it has of them is a mistake of somebody
)

// report is a [admethod.Report].
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
		l = &lasting{Trouble: admethod.Trouble{Part: part, Since: now}}
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
func (t *troubles) list() []admethod.Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]admethod.Trouble, 0, len(t.now))
	for _, l := range t.now {
		out = append(out, l.Trouble)
	}
	slices.SortFunc(out, func(a, b admethod.Trouble) int { return cmp.Compare(a.Part, b.Part) })
	return out
}

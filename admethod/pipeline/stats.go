// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"maps"
	"sync/atomic"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// counts are those of a binding. Any goroutine may read them, a hook within Observe too.
type counts struct {
	readings, dropped, invalid atomic.Uint64
	flagged                    [len(countedFlags)]atomic.Uint64
}

var countedFlags = [...]driver.Flags{driver.Duplicate, driver.OutOfOrder, driver.Late, driver.Gap, driver.StuckClock}

// count counts what was wrong with a reading.
func (c *counts) count(flags driver.Flags) {
	for i, f := range countedFlags {
		if flags&f != 0 {
			c.flagged[i].Add(1)
		}
	}
	if flags&(driver.NotANumber|driver.Unparsable) != 0 {
		c.invalid.Add(1)
	}
}

// lost counts rows that found no room in the adapter's queue.
func (b *Binding) lost(n int) {
	b.stats.dropped.Add(uint64(n))
	b.handler.pace.lost.Add(uint64(n))
	b.handler.hooks.Dropped(b.Key(), n)
}

// Stats returns a copy of the current counts.
func (b *Binding) Stats() admethod.BindingStats {
	c := &b.stats
	s := admethod.BindingStats{Readings: c.readings.Load(), Dropped: c.dropped.Load(), Invalid: c.invalid.Load()}
	for i, n := range [...]*uint64{&s.Duplicate, &s.OutOfOrder, &s.Late, &s.Gap, &s.StuckClock} { // as countedFlags
		*n = c.flagged[i].Load()
	}
	return s
}

// Stats returns a copy of the current counts.
func (h *Handler) Stats() admethod.Stats {
	h.mu.Lock()
	bindings := maps.Clone(h.bindings)
	sinks := maps.Clone(h.sinks)
	for a := range h.attached {
		for _, b := range a.members {
			bindings[b.Key()] = b
		}
	}
	h.mu.Unlock()
	s := admethod.Stats{Troubles: h.troubles.list(), Bindings: make(map[driver.Key]admethod.BindingStats, len(bindings)), Sinks: make(map[string]admethod.SinkStats, len(sinks))}
	for key, b := range bindings {
		s.Bindings[key] = b.Stats()
	}
	for name, q := range sinks {
		s.Sinks[name] = q.stats()
	}
	return s
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import (
	"sync/atomic"

	"github.com/kubeedge/edge-anomaly/driver"
)

// BindingStats counts what happened to the readings of one property.
type BindingStats struct {
	Readings   uint64 // observed
	Dropped    uint64 // lost for want of room in the adapter's queue
	Duplicate  uint64
	OutOfOrder uint64
	Late       uint64
	Gap        uint64
	Invalid    uint64 // not a number, or not parsable
	StuckClock uint64
}

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
func (b *Binding) Stats() BindingStats {
	c := &b.stats
	s := BindingStats{Readings: c.readings.Load(), Dropped: c.dropped.Load(), Invalid: c.invalid.Load()}
	for i, n := range [...]*uint64{&s.Duplicate, &s.OutOfOrder, &s.Late, &s.Gap, &s.StuckClock} { // as countedFlags
		*n = c.flagged[i].Load()
	}
	return s
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package admethod

import "github.com/kubeedge/edge-anomaly/driver"

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

// count counts what was wrong with a reading.
func (s *BindingStats) count(flags driver.Flags) {
	for _, c := range [...]struct {
		flag driver.Flags
		n    *uint64
	}{
		{driver.Duplicate, &s.Duplicate}, {driver.OutOfOrder, &s.OutOfOrder}, {driver.Late, &s.Late},
		{driver.Gap, &s.Gap}, {driver.StuckClock, &s.StuckClock},
	} {
		if flags&c.flag != 0 {
			*c.n++
		}
	}
	if flags&(driver.NotANumber|driver.Unparsable) != 0 {
		s.Invalid++
	}
}

// lost counts rows that found no room in the adapter's queue.
func (b *Binding) lost(n int) {
	b.dropped.Add(uint64(n))
	b.handler.pace.lost.Add(uint64(n))
	b.handler.hooks.Dropped(b.Key(), n)
}

// Stats returns a copy of the current counts.
func (b *Binding) Stats() BindingStats {
	b.mu.Lock()
	s := b.stats
	b.mu.Unlock()
	s.Dropped = b.dropped.Load()
	return s
}

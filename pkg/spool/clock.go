// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package spool

import "time"

// clockEvery is how often the clock is written: a process that is killed takes so much of the age of the records with it.
const clockEvery = 30 * time.Second

// clock is a time of the process by the clock of the log.
func (l *Log) clock(t time.Time) time.Duration { return l.base + t.Sub(l.opened) }

// time is the time of the process for one by the clock of the log.
func (l *Log) time(d time.Duration) time.Time { return l.opened.Add(d - l.base) }

// adopt gives a record that was read its time.
func (l *Log) adopt(r Record) Record {
	r.At = l.time(time.Duration(r.At.UnixNano()))
	return r
}

// keepClock writes the clock from time to time.
func (l *Log) keepClock(now time.Time) error {
	if clock := l.clock(now); clock-l.meta.clock >= clockEvery {
		return l.meta.set(l.meta.mark, clock)
	}
	return nil
}

// Trim gives up segments in which everything is too old, and keeps what has passed.
func (l *Log) Trim(now time.Time) {
	_ = l.keepClock(now) // the next one tries again
	for {
		l.mu.Lock()
		old := len(l.segments) > 0 && now.Sub(l.segments[0].newest) > l.opts.MaxAge
		l.mu.Unlock()
		if !old || !l.giveUp() {
			return
		}
	}
}

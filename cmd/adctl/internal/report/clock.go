// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// wallClock is the clock that a recording's times are shown by.
type wallClock struct {
	counts  input.Count
	offsets [][2]int64 // since when, in Unix seconds, it is by how many seconds before UTC
}

// mostOffsets bounds how often clocks may be set.
const mostOffsets = 1000

// see takes the offset of the next time.
func (w *wallClock) see(t time.Time) {
	_, offset := t.Zone()
	if n := len(w.offsets); n == 0 || w.offsets[n-1][1] != int64(offset) && n < mostOffsets && w.offsets[n-1][0] < t.Unix() {
		w.offsets = append(w.offsets, [2]int64{t.Unix(), int64(offset)})
	}
}

// offset is by how much the clock is before UTC at a time.
func (w *wallClock) offset(t time.Time) time.Duration {
	var offset int64
	for i, o := range w.offsets {
		if i == 0 || t.Unix() >= o[0] {
			offset = o[1]
		}
	}
	return time.Duration(offset) * time.Second
}

// at is a time whose UTC is what the clock shows.
func (w *wallClock) at(t time.Time) time.Time { return t.UTC().Add(w.offset(t)) }

const stampLayout = "2006-01-02 15:04:05"

// stamp is a time as the clock shows it.
func (w *wallClock) stamp(t time.Time) string {
	if w.counts != input.NoCount {
		return Counted(t, w.counts)
	}
	return w.at(t).Format(stampLayout)
}

// ticks are marks of an axis of times.
func (w *wallClock) ticks(from, to time.Time, most int) []tick {
	if w.counts != input.NoCount {
		marks := ticks(float64(from.UnixNano())/1e9, float64(to.UnixNano())/1e9, most)
		for i := range marks {
			marks[i].at *= 1e9
		}
		return marks
	}
	return timeTicks(w.at(from), w.at(to), most, func(shown time.Time) time.Time {
		return shown.Add(-w.offset(shown.Add(-w.offset(from))))
	})
}

// Counted shows the time of a recording that tells none: the number of the row, or seconds from its start.
func Counted(t time.Time, of input.Count) string {
	if of == input.Rows {
		return strconv.FormatInt(t.Unix(), 10)
	}
	return strconv.FormatFloat(float64(t.UnixNano())/1e9, 'f', -1, 64) + " s"
}

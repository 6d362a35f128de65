// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"hash/fnv"
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// pace counts cycles between readings, for what moves on with the cycle and not with the reading. Where the cycle is
// unknown, or the time stands still or runs back, the next reading is one cycle on.
type pace struct {
	cycle time.Duration
	last  time.Time
}

// longestStep bounds the cycles between two readings; about a year of readings every minute.
const longestStep = 1 << 19

// next is the number of cycles, at least 1, from the reading before to the one at that time.
func (p *pace) next(at time.Time) int {
	last := p.last
	p.last = at
	if p.cycle <= 0 || last.IsZero() || !at.After(last) {
		return 1
	}
	return int(min(max((at.Sub(last)+p.cycle/2)/p.cycle, 1), longestStep))
}

// EncodeState implements state.Part.
func (p *pace) EncodeState(w *state.Writer) { encodeTime(w, p.last) }

// DecodeState implements state.Part.
func (p *pace) DecodeState(r *state.Reader) { p.last = decodeTime(r) }

// steady gives the times of readings in Unix ns, as they would be if nobody had set the wall clock since the first: where
// they have a monotonic reading it goes by that.
type steady struct {
	first time.Time
	ahead int64 // the wall clock, of that
}

func (c *steady) ns(at time.Time) int64 {
	if c.first.IsZero() {
		c.first = at
	}
	wall := at.UnixNano()
	if stamped := at != at.Round(0); !stamped { // the wall clock is all there is
		return wall
	}
	ns := c.first.UnixNano() + int64(at.Sub(c.first))
	c.ahead = wall - ns
	return ns
}

// of is a time of the wall clock, as it is set now, in the same.
func (c *steady) of(wall time.Time) int64 { return wall.UnixNano() - c.ahead }

// zone follows the clock of the place that readings are taken at, as their times tell it.
type zone struct {
	location *time.Location
	name     string
	offset   int // seconds east of UTC
}

// set is by how much the clock was set on since the reading before: when summer begins or ends, by an hour. Times that are
// only written with another offset, as of another place, set no clock.
func (z *zone) set(at time.Time) time.Duration {
	before := *z
	if z.location = at.Location(); z.location == time.UTC {
		return 0
	}
	z.name, z.offset = at.Zone()
	if before.location == z.location || before.name == z.name && z.name != "" {
		return time.Duration(z.offset-before.offset) * time.Second
	}
	return 0
}

// encodeTime writes a time to the nanosecond; the zero one stays what it is.
func encodeTime(w *state.Writer, t time.Time) {
	w.Bool(!t.IsZero())
	w.Int(t.Unix())
	w.Int(int64(t.Nanosecond()))
}

func decodeTime(r *state.Reader) time.Time {
	seen, seconds, nanos := r.Bool(), r.Int(), r.Count("nanoseconds", 999_999_999)
	if !seen {
		return time.Time{}
	}
	return time.Unix(seconds, int64(nanos))
}

// symbol is the state in a row of one: its number, or a number that stands for its text.
func symbol(row driver.Row) (float64, bool) {
	if len(row) == 0 || row[0].Flags&(noReading&^driver.Unparsable&^driver.NotANumber) != 0 {
		return 0, false
	}
	s := &row[0]
	switch {
	case !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0):
		return s.Value + 0, true // −0 is 0
	case s.Text != "" && math.IsNaN(s.Value):
		h := fnv.New64a()
		_, _ = h.Write([]byte(s.Text)) // never fails
		return -1 - float64(h.Sum64()>>12), true
	}
	return 0, false
}

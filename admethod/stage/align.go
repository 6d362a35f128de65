// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// RowsConfig tells how the readings of a group become rows.
type RowsConfig struct {
	Evaluate string        `param:"evaluate" enum:"cycle,each" doc:"when a row is judged: once each member has a new reading (cycle), or with each reading (each)"`
	MaxAge   time.Duration `param:"maxAge" min:"0s" max:"8760h" doc:"age from which a member's last reading no longer stands for it; 0 means 4 cycles of the slowest member"`
}

// DefaultRows returns the built-in defaults.
func DefaultRows() RowsConfig { return RowsConfig{Evaluate: "cycle"} }

// Slot is a member of a group, as its rows see it.
type Slot struct {
	Key   driver.Key
	Cycle time.Duration // 0 where unknown
	Each  bool          // its readings make a row at once
}

// Rows aligns the readings of a group's members: a member without a new reading is represented by its last one (flag
// Held) until that is older than the maximum age (flag Stale).
type Rows struct {
	slots  []Slot
	maxAge time.Duration // 0: of the cadence seen
	pace   []pace        // of each slot
	row    []driver.Sample
	fresh  []bool
	began  time.Time // when the first of the fresh readings was taken
	emit   func(row driver.Row, stale int)
}

// NewRows makes the rows of the members in slots. emit is called for each row that is due, within Observe; stale is the
// slot of a member without a reading that counts, so that the row cannot be judged, else -1. Where no cycle is known and
// maxAge is 0 every age counts. old, if not nil, passes the last readings of its members on.
func NewRows(slots []Slot, maxAge time.Duration, old *Rows, emit func(row driver.Row, stale int)) *Rows {
	r := &Rows{
		slots: slots, maxAge: maxAge, emit: emit, row: make([]driver.Sample, len(slots)), fresh: make([]bool, len(slots)),
		pace: make([]pace, len(slots)),
	}
	var slowest time.Duration
	for i, s := range slots {
		r.row[i].Key = s.Key
		slowest = max(slowest, s.Cycle)
		if old == nil {
			continue
		}
		if j := slices.IndexFunc(old.slots, func(o Slot) bool { return o.Key == s.Key }); j >= 0 {
			r.row[i], r.pace[i] = old.row[j], old.pace[j]
		}
	}
	if r.maxAge == 0 {
		r.maxAge = 4 * min(slowest, math.MaxInt64/4)
	}
	return r
}

// Observe takes a member's reading.
func (r *Rows) Observe(slot int, s *driver.Sample) {
	// A member comes round before others did, or a new cycle has begun: what there is makes a row of its own. Without
	// the latter, one reading that is missed would mix two cycles in every row from then on.
	if cycle := r.slots[slot].Cycle; r.fresh[slot] || cycle > 0 && slices.Contains(r.fresh, true) && s.At.Sub(r.began) > cycle/10*6 {
		r.flush()
	}
	if !slices.Contains(r.fresh, true) {
		r.began = s.At
	}
	if last := r.row[slot].At; !last.IsZero() {
		r.pace[slot].learn(float64(s.At.Sub(last)))
	}
	r.row[slot] = *s
	r.fresh[slot] = true
	if r.slots[slot].Each || !slices.Contains(r.fresh, false) {
		r.flush()
	}
}

// flush emits the row that there is.
func (r *Rows) flush() {
	defer clear(r.fresh)
	newest := Newest(r.row)
	maxAge := r.maxAge
	if maxAge == 0 {
		maxAge = r.seen()
	}
	for i := range r.row {
		s := &r.row[i]
		switch age := newest.Sub(s.At); {
		case s.At.IsZero(), maxAge > 0 && age > maxAge:
			s.Flags |= driver.Stale
			r.emit(r.row, i)
			return
		case !r.fresh[i]:
			s.Flags |= driver.Held
		}
	}
	r.emit(r.row, -1)
}

// seen is 4 times the time between two readings of the slowest member, 0 while that is not known of each.
func (r *Rows) seen() time.Duration {
	slowest := 0.0
	for i := range r.pace {
		cycle := r.pace[i].cycle
		if r.pace[i].seen < warmIntervals {
			return 0
		}
		slowest = max(slowest, cycle)
	}
	return time.Duration(4 * slowest)
}

// Share is the verdict on a group as it is told of the member in slot: the group's to those that are blamed, a clean
// one to the others. Where the detector blames nobody, the verdict is everybody's. It shares r's causes.
func Share(r *driver.Result, row driver.Row, slot int, key driver.Key) driver.Result {
	own := *r
	own.Key = key
	if key != r.Key { // what was expected is said of one member
		own.Value, own.Expected, own.Lower, own.Upper = math.NaN(), math.NaN(), math.NaN(), math.NaN()
		if slot < len(row) && row[slot].Key == key {
			own.Value = row[slot].Value
		}
	}
	blamed := len(r.Causes) == 0 || slices.ContainsFunc(r.Causes, func(c driver.Cause) bool {
		return c.Key == key || c.Key.Property == "" && c.Key.Device == key.Device && c.Key.Namespace == key.Namespace
	})
	if r.Severity.Anomalous() && !blamed {
		own.Severity, own.Kind, own.Score, own.Causes, own.Message, own.Translated = driver.Normal, driver.KindNone, 0, nil, "", ""
		// Who is blamed may change back and forth: it is not the detector that says this member is back to normal.
		own.Ongoing, own.Onset = false, math.NaN()
	}
	return own
}

// Newest is when the newest reading of a row was taken.
func Newest(row driver.Row) time.Time {
	var newest time.Time
	for i := range row {
		if row[i].At.After(newest) {
			newest = row[i].At
		}
	}
	return newest
}

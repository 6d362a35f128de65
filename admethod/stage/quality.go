// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// QualityConfig tells the quality stage what is normal. The zero value of a limit turns its check off.
type QualityConfig struct {
	Cycle   time.Duration `param:"cycle" min:"0s" max:"8760h" doc:"expected time between readings; 0 means the report cycle of the property, or learned from the readings"`
	Missing float64       `param:"missing" min:"0" max:"1000000" doc:"cycles without a reading after which readings are missing; 0 turns the check off"`
	Late    float64       `param:"late" min:"0" max:"1000000" doc:"cycles between two readings, or from reading to arrival, over which a reading is late; 0 turns the check off"`
	Persist int           `param:"persist" min:"1" max:"1000" doc:"faulty readings, among about ten times as many, that make a verdict"`
}

// DefaultQuality returns the built-in defaults.
func DefaultQuality() QualityConfig { return QualityConfig{Missing: 4, Late: 1.6, Persist: 3} }

// Quality judges when readings come and whether they are readings at all. It is the state of one property.
//
// A reading that is no older than the newest is new: it moves the clock of the stream on. An older one is a repeat if
// time and value are among the recent ones, else out of order; neither reaches the detector, so a device that repeats
// its buffer after a reconnection cannot corrupt what was learned. A clock that was set back looks the same at first, see
// [clock]; after rewind older readings in a row it is taken as the new time in any case.
type Quality struct {
	last    int64 // newest time of reading, Unix ns; 0 before the first
	since   int64 // silence before this is not the device's, Unix ns
	resumed bool  // the next interval says nothing
	pace
	older  uint8      // readings in a row that were older than the newest
	same   uint8      // readings in a row with the time of the newest
	next   uint8      // of recent
	fault  uint8      // index of the fault that makes the current verdict, +1; 0 for none
	good   uint16     // readings in a row without any fault
	faulty bool       // some level is not 0
	recent [32]uint16 // fingerprints
	levels [len(qualityKinds)]float32
	clock  clock
	rhythm rhythm
}

const (
	rewind        = 64
	goodAgain     = 5    // times Persist good readings in a row end a fault
	onBeat        = 0.08 // deviation from a whole number of cycles, up to which a reading is in time
	stuckAfter    = 10
	learnedEnough = 0.8 // share of regular intervals from which a learned cycle is trusted
)

// qualityKinds are the faults that are counted, in order of precedence.
var qualityKinds = [...]struct {
	kind  driver.Kind
	flags driver.Flags
}{
	{driver.KindInvalid, driver.NotANumber | driver.Unparsable},
	{driver.KindMissing, driver.Gap},
	{driver.KindStuckClock, driver.StuckClock},
	{driver.KindDuplicate, driver.Duplicate},
	{driver.KindOutOfOrder, driver.OutOfOrder},
	{driver.KindLate, driver.Late},
}

// Fault is the kind of the first of the faults that a reading has, KindNone for none.
func Fault(flags driver.Flags) driver.Kind {
	for _, q := range qualityKinds {
		if flags&q.flags != 0 {
			return q.kind
		}
	}
	return driver.KindNone
}

// Of qualityKinds.
const (
	invalidIndex    = 0
	missingIndex    = 1
	duplicateIndex  = 3
	outOfOrderIndex = 4
	lateIndex       = 5
)

// Observe notes a reading and returns its flags, how much it counts towards each of them, and whether it may reach
// the detector. now is the time of arrival, 0 where the arrival is not known.
func (q *Quality) Observe(at, now int64, v float64, flags driver.Flags, c *QualityConfig) (driver.Flags, bool) {
	weight := float32(1)
	pass := flags&(driver.NotANumber|driver.Unparsable) == 0
	mark := fingerprint(at, v)
	beat := q.beat(c)
	burst := q.clock.arrive(now, beat, at > q.last)
	switch {
	case q.last == 0:
		q.last = at
	case at > q.last && q.resumed:
		q.last, q.older, q.same, q.resumed = at, 0, 0, false
	case at > q.last:
		if !q.forward(at, now, beat) {
			return q.count(flags|driver.OutOfOrder, 1, c), false
		}
		interval := q.clock.passed(float64(at-q.last), now, beat)
		q.last, q.older, q.same = at, 0, 0
		f, n := q.interval(interval, c)
		flags |= f
		weight = n
	case q.repeats(mark):
		return q.count(flags|driver.Duplicate, 1, c), false
	case at == q.last:
		if q.same++; q.same >= stuckAfter {
			q.same = stuckAfter
			flags |= driver.StuckClock
		}
	default:
		if !q.backward(at, now, burst, beat) {
			return q.count(flags|driver.OutOfOrder, 1, c), false
		}
		if now != 0 { // what was held back on the way to that were not out of order
			q.levels[outOfOrderIndex] = max(q.levels[outOfOrderIndex]-float32(q.older-1), 0)
		}
		q.last, q.older = at, 0
	}
	q.clock.believed = now
	delay := float64(q.clock.delay(at, now))
	if cycle := q.expected(c); cycle > 0 && c.Late > 0 && delay > max(c.Late*cycle, float64(lateFloor)) {
		flags |= driver.Late
	}
	q.recent[q.next%uint8(len(q.recent))] = mark
	q.next++
	return q.count(flags, weight, c), pass
}

// Delays shorter than these come from scheduling in the mapper itself: they say nothing of arrival and of silence
// (lateFloor), and of the time between two readings (jitterFloor).
const (
	lateFloor   = time.Second
	jitterFloor = 250 * time.Millisecond
)

// interval judges the time since the reading before: flags, and the number of readings that are missing.
func (q *Quality) interval(d float64, c *QualityConfig) (driver.Flags, float32) {
	cycle := q.expected(c)
	q.learn(d)
	if cycle <= 0 || d-cycle < float64(jitterFloor) {
		return 0, 1
	}
	r := d / cycle
	whole := math.Round(r)
	switch {
	case c.Missing > 0 && r >= c.Missing:
		return driver.Gap, q.rhythm.outage(r, c.Missing)
	case c.Late <= 0 || r <= c.Late:
		return 0, 1
	case whole >= 2 && math.Abs(r-whole) < onBeat: // on the beat: readings between were lost, this one is in time
		return driver.Gap, float32(whole - 1)
	}
	return driver.Late, 1
}

// expected is the cycle in ns, 0 while unknown.
func (q *Quality) expected(c *QualityConfig) float64 {
	if c.Cycle > 0 {
		return float64(c.Cycle)
	}
	if q.regular >= learnedEnough {
		return q.cycle
	}
	return 0
}

// count lets the level of each flagged fault rise by weight, and all sink: a level is the number of faults among the
// last 10 × Persist readings, roughly.
func (q *Quality) count(flags driver.Flags, weight float32, c *QualityConfig) driver.Flags {
	q.rhythm.forget()
	if flags == 0 && !q.faulty && q.rhythm.none() {
		q.rhythm.n = min(q.rhythm.n+1, rhythmMemory)
		return 0 // the usual case costs nothing
	}
	q.faulty = false
	if q.good++; flags != 0 {
		q.good = 0
	}
	decay := 1 - 1/float32(10*max(c.Persist, 1))
	for i := range q.levels {
		l := q.levels[i] * decay
		if flags&qualityKinds[i].flags != 0 {
			w := float32(1)
			if i == missingIndex {
				w = weight
			}
			l = min(l+w, mostLevel*q.rhythm.trigger(i, c))
		}
		if i == missingIndex && flags&driver.OutOfOrder != 0 {
			l-- // what was missing has come after all
		}
		if l < 0.01 {
			l = 0
		}
		q.levels[i] = l
		q.faulty = q.faulty || l > 0
	}
	q.rhythm.follow(&q.levels, c)
	return flags
}

// mostLevel bounds a level, in units of the trigger, so that a verdict goes away in time after a long fault.
const mostLevel = 4

// trigger is the least level from which a fault makes a verdict, see [rhythm].
func trigger(c *QualityConfig) float32 { return 0.7 * float32(max(c.Persist, 1)) }

// Judge returns the fault that persists, KindNone for none, and its strength: 1 and more while it holds.
func (q *Quality) Judge(c *QualityConfig) (driver.Kind, float64) {
	share := func(i int) float32 { return q.levels[i] / q.rhythm.trigger(i, c) }
	switch {
	case q.fault == 0:
	case q.over(int(q.fault-1), c):
		q.fault = 0
	case int(q.good) >= goodAgain*max(c.Persist, 1): // however bad it was
		q.fault, q.levels = 0, [len(qualityKinds)]float32{}
	}
	for i := range q.levels {
		if o := share(i); o >= 1 && (q.fault == 0 || o > 1.5*share(int(q.fault-1))) {
			q.fault = uint8(i + 1)
		}
	}
	if q.fault == 0 {
		return driver.KindNone, 0
	}
	return qualityKinds[q.fault-1].kind, float64(max(share(int(q.fault-1)), 1))
}

// over reports whether a fault has sunk half the way from its trigger to what is usual.
func (q *Quality) over(i int, c *QualityConfig) bool {
	return 2*q.levels[i] < q.rhythm.trigger(i, c)+q.rhythm.usual[i]
}

// Replayed reports whether a reading was known to the process before: its origin tells again what it told since it was
// asked last, at most as long before as within. Nobody is at fault then, and it is to be passed over.
func (q *Quality) Replayed(at int64, within time.Duration) bool {
	return q.resumed && q.last != 0 && at <= q.last && q.last-at <= int64(within)
}

// Resume says that nobody was there to take readings until now: the silence until then says nothing of the device.
func (q *Quality) Resume(now int64) { q.since, q.resumed = now, true }

// Overdue returns for how many times the allowed silence nothing has come, 0 while all is well.
func (q *Quality) Overdue(now int64, c *QualityConfig) float64 {
	cycle := q.expected(c)
	if q.last == 0 || cycle <= 0 || c.Missing <= 0 {
		return 0
	}
	silence := float64(now-max(q.last, q.since)) / (max(c.Missing, q.rhythm.silence(c))*cycle + float64(lateFloor))
	if silence < 1 {
		return 0
	}
	return silence
}

// Cycle is the expected time between readings, configured or learned; 0 while it is not known.
func (q *Quality) Cycle(c *QualityConfig) time.Duration { return time.Duration(q.expected(c)) }

// Last is the newest time of reading.
func (q *Quality) Last() time.Time { return time.Unix(0, q.last) }

// Standing reports whether a fault makes a verdict now, see [Quality.Judge].
func (q *Quality) Standing() bool { return q.fault != 0 }

func (q *Quality) repeats(mark uint16) bool {
	for _, p := range q.recent {
		if p == mark {
			return true
		}
	}
	return false
}

// fingerprint mixes time and value. It is short: it is asked only of readings that are not new, where one mistake in
// two thousand merely takes a reading that is out of order for a repeat.
func fingerprint(at int64, v float64) uint16 {
	h := (uint64(at) ^ math.Float64bits(v)*0x9e3779b97f4a7c15) * 0xff51afd7ed558ccd
	return uint16(h>>48) | 1 // 0 is kept for an empty place
}

// EncodeState writes what was learned.
func (q *Quality) EncodeState(w *state.Writer) {
	w.Int(q.last)
	w.Float(q.cycle)
	w.Float(q.regular)
	w.Uint(uint64(q.seen))
	for _, d := range q.intervals {
		w.Float(float64(d))
	}
	w.Uint(uint64(q.next))
	for _, p := range q.recent {
		w.Uint(uint64(p))
	}
}

// EncodeFaults writes what stands against the readings, and what of it is usual.
func (q *Quality) EncodeFaults(w *state.Writer) {
	w.Uint(uint64(q.fault))
	w.Uint(uint64(q.good))
	w.Uint(uint64(q.rhythm.n))
	w.Float(float64(q.rhythm.gap))
	for i := range q.levels {
		w.Float(float64(q.levels[i]))
		w.Float(float64(q.rhythm.usual[i]))
	}
	w.Int(q.clock.behind)
}

// DecodeFaults reads what EncodeFaults wrote.
func (q *Quality) DecodeFaults(r *state.Reader) {
	q.fault, q.good = uint8(r.Count("fault", len(qualityKinds))), uint16(r.Count("good readings", math.MaxUint16))
	q.rhythm.n = uint16(r.Count("readings", rhythmMemory))
	q.rhythm.gap = float32(r.Min("longest silence", 0))
	for i := range q.levels {
		q.levels[i], q.rhythm.usual[i] = float32(r.Min("level", 0)), float32(r.Min("usual level", 0))
		q.faulty = q.faulty || q.levels[i] > 0
	}
	if r.More() { // earlier versions wrote none
		q.clock.behind = max(r.Int(), 0)
	}
}

// DecodeState reads what EncodeState wrote. The silence since then was nobody's to judge, see [Quality.Resume].
func (q *Quality) DecodeState(r *state.Reader) {
	*q = Quality{resumed: true, last: r.Int(), pace: pace{cycle: r.Min("cycle", 0), regular: r.Min("regularity", 0)}}
	q.seen = uint8(r.Count("intervals", warmIntervals))
	for i := range q.intervals {
		q.intervals[i] = float32(r.Min("interval", 0))
	}
	q.clock.restored = true
	q.next = uint8(r.Count("next", math.MaxUint8))
	for i := range q.recent {
		q.recent[i] = uint16(r.Count("fingerprint", math.MaxUint16))
	}
}

// QualityResult is the verdict of the quality stage: strength 1 is just over the threshold, 5 is critical.
func QualityResult(s *driver.Sample, threshold float64, kind driver.Kind, strength float64, message string) driver.Result {
	r := driver.Result{Threshold: threshold}
	nan := math.NaN()
	r.Key, r.At, r.Value, r.Confidence, r.Detector, r.Message = s.Key, s.At, s.Value, 1, driver.QualityStage, message
	r.Expected, r.Lower, r.Upper = nan, nan, nan
	if kind == driver.KindNone {
		r.Judge(0, kind)
	} else {
		r.Judge(1-(1-threshold)/max(strength, 1), kind)
	}
	return r
}

// SilenceResult is [QualityResult] of a silence since a time, in a language.
func SilenceResult(s *driver.Sample, threshold, strength float64, since time.Time, in driver.Language) driver.Result {
	at := since.UTC().Format(time.RFC3339)
	r := QualityResult(s, threshold, driver.KindMissing, strength, "no reading since "+at)
	if r.Translated = "自 " + at + " 起没有读数"; in == driver.Chinese {
		r.Message, r.Translated = r.Translated, r.Message
	}
	return r
}

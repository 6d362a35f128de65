// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package regime

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	shortest   = 8    // readings of a period
	maxSlots   = 96   // a quarter of an hour of a day
	cycleGain  = 0.25 // weight of the newest cycle in the profile
	seasonFrom = 0.5  // share of the deviation that the profile may leave to be used
	seasonTo   = 0.8  // from which it is used no more
)

// History is what remembers enough of a stream to tell its season.
type History interface {
	// Period is the period in readings, 0 where none is known.
	Period() (readings int, trusted bool)
	// Fold averages the newest cycles by phase into profile, whose first slot is at the phase of the newest reading. It
	// reports the mean absolute deviations from the profile and from the mean, and whether there was enough to fold.
	Fold(period int, profile []float64) (left, all float64, ok bool)
}

// season is an additive profile over one period, linear between its slots.
type season struct {
	period  float64 // readings; 0: none
	phase   float64 // of the newest reading
	slots   int32
	profile [maxSlots]float64
	left    float64 // mean absolute residual
	all     float64 // mean absolute deviation from mean
	mean    float64
	rate    float64 // usual |change| of the profile a reading
	lag     float64 // sums of a least squares estimate of how far the phase lags behind
	slope   float64
	summed  float64 // readings in these sums
	age     float64 // readings
	share   float64 // of the deviation that was left when it was found
	set     set
}

// search looks for the period near the one that the history knows, which is coarse: one candidate a reading, first
// within 8 % by steps of 1 %, then within 1 % by steps of a quarter.
type search struct {
	trial        [maxSlots]float64
	center, best float64
	left         float64 // of the best
	next         int32   // candidate
	fine         bool
}

const searchSteps = 8

// begin starts over.
func (q *search) begin(center float64, fine bool) {
	q.center, q.best, q.left, q.next, q.fine = center, 0, math.Inf(1), -searchSteps, fine
}

// step tries one candidate and reports whether the search is over.
func (q *search) step(h History) (done bool) {
	if q.center == 0 {
		p, _ := h.Period()
		if p < shortest {
			return false
		}
		q.begin(float64(p), false)
	}
	unit := 0.01
	if q.fine {
		unit = 0.00125
	}
	p := math.Round(q.center * (1 + unit*float64(q.next)))
	if p >= shortest {
		if left, all, ok := h.Fold(int(p), q.trial[:min(int(p), maxSlots)]); ok && left/all < q.left {
			q.left, q.best = left/all, p
		}
	}
	if q.next++; q.next <= searchSteps {
		return false
	}
	if !q.fine && q.best > 0 {
		q.center, q.next, q.fine = q.best, -searchSteps, true
		return false
	}
	return true
}

// EncodeState implements state.Part.
func (q *search) EncodeState(w *state.Writer) {
	w.Float(q.center)
	w.Float(q.best)
	left := q.left
	if q.best == 0 { // infinite, or not begun
		left = 0
	}
	w.Float(left)
	w.Int(int64(q.next) + searchSteps)
	w.Bool(q.fine)
}

// DecodeState implements state.Part.
func (q *search) DecodeState(r *state.Reader) {
	*q = search{center: r.Min("centre of the search", 0), best: r.Min("best period", 0), left: r.Min("left by it", 0)}
	q.next = int32(r.Count("candidate", 2*searchSteps+1)) - searchSteps
	q.fine = r.Bool()
	if q.best == 0 {
		q.left = math.Inf(1)
	}
}

// find searches on. It reports whether it starts the season, as there is one worth using, or starts it anew, as there is
// a better one.
func (s *season) find(q *search, h History) bool {
	if !q.step(h) {
		return false
	}
	const better = 0.9
	p, share := int(q.best), q.left
	q.center = 0
	if share >= seasonFrom || s.period > 0 && share >= better*s.share {
		return false
	}
	slots := min(p, maxSlots)
	left, all, ok := h.Fold(p, q.trial[:slots])
	if !ok {
		return false
	}
	*s = season{period: float64(p), slots: int32(slots), age: s.age, share: share, left: left, all: all}
	copy(s.profile[:], q.trial[:slots])
	for _, v := range q.trial[:slots] {
		s.mean += v / float64(slots)
	}
	s.measure()
	return true
}

// revise begins a search for a better period now and then while the season is young: it was found in little more than
// two cycles.
func (s *season) revise(q *search) {
	const every, cycles = 256, 2
	if s.period > 0 && q.center == 0 && s.age < cycles*s.period && int64(s.age)%every == every-1 {
		q.begin(s.period, true)
	}
}

// measure finds how fast the profile moves.
func (s *season) measure() {
	s.rate = 0
	n := int(s.slots)
	for i := range n {
		s.rate += math.Abs(s.profile[(i+1)%n] - s.profile[i])
	}
	s.rate /= s.period
}

// set is what is open since the clock of the place was set: a rhythm that goes by it has moved, one that goes by the sun
// has not. For a cycle the nearer of both is expected of each reading, and nothing is learned; then the better one stays.
// Before anybody knows that, it is what the readings of an incident leave.
type set struct {
	by    float32    // readings by which the phase moves, if it does; 0: nothing is open
	left  [3]float32 // by the phase as it is and as it may be; in an incident as it is, and an hour sooner and later
	tried float32    // readings
	moved bool       // what is expected of the newest reading
}

// move says that the phase may be so many readings further.
func (s *season) move(by float64) {
	if s.period > 0 {
		s.set = set{by: s.set.by + float32(by)}
	}
}

// clearBy is by how many usual residuals one phase must have done better to be settled on before a cycle is over.
const clearBy = 30

// weigh holds both phases against a reading, and settles on one after a cycle, or when that is clear.
func (s *season) weigh(x float64) {
	t := &s.set
	if t.by == 0 {
		return
	}
	var off [2]float64
	for k := range off {
		t.moved = k == 1
		off[k] = math.Abs(x - s.value())
		t.left[k] += float32(min(off[k], 4*s.left))
	}
	t.moved = off[1] < off[0]
	least, most := min(t.left[0], t.left[1]), max(t.left[0], t.left[1])
	told := most-least > clearBy*float32(s.left) && most > 2*least
	if t.tried++; t.tried < float32(s.period) && !told {
		return
	}
	if t.left[1] < t.left[0] {
		s.phase = s.now(true)
	}
	s.set = set{}
}

// now is the phase, moved or not.
func (s *season) now(moved bool) float64 {
	if !moved {
		return s.phase
	}
	return s.shifted(float64(s.set.by))
}

// shifted is the phase so many readings further.
func (s *season) shifted(by float64) float64 {
	phase := math.Mod(s.phase+by, s.period)
	if phase < 0 {
		phase += s.period
	}
	return phase
}

const (
	leastDoubt = 2 // readings of an incident
	nearHour   = 2 // usual residuals that they are off in the mean which are near
	farNow     = 4 // and which are not
)

// suspect takes a reading of a season that has so many readings an hour and may go by a clock; 0 is one that does not. The
// readings of an incident that are all where they were to be an hour sooner or later tell that the clock of the place was
// set, and nobody said so: that hour is tried once the incident is over.
func (s *season) suspect(x, hour float64, held bool) {
	t := &s.set
	switch {
	case t.by != 0:
	case hour == 0:
		*t = set{}
	case held:
		t.tried++
		for k, by := range [...]float64{0, -hour, hour} {
			t.left[k] += float32(min(math.Abs(x-s.valueAt(s.shifted(by))), 2*farNow*s.left))
		}
	case t.tried > 0:
		near, by := t.left[1], -hour
		if t.left[2] < near {
			near, by = t.left[2], hour
		}
		now, n, usual := t.left[0], t.tried, t.tried*float32(s.left)
		*t = set{}
		if n >= leastDoubt && near < nearHour*usual && now > farNow*usual {
			s.move(by)
		}
	}
}

func (s *season) advance(step int) {
	if s.phase += float64(step); s.phase < s.period {
		return
	}
	s.phase = math.Mod(s.phase, s.period)
	s.measure()
	s.lock()
}

// lock corrects phase and period once a cycle by how far the newest cycle came late or early (a phase-locked loop), as
// the period that was found is off by a reading or two.
func (s *season) lock() {
	if s.slope > 0 && s.summed > s.period/2 {
		most := s.period / 50
		late := max(-most, min(most, s.lag/s.slope))
		s.phase = math.Mod(s.phase+s.period+late/2, s.period)
		s.period = max(s.period-late/4, shortest)
	}
	s.lag, s.slope, s.summed = 0, 0, 0
}

func (s *season) at(phase float64) (i, j int, f float64) {
	u := phase / s.period * float64(s.slots)
	i = min(int(u), int(s.slots)-1)
	f = min(u-float64(i), 1)
	if j = i + 1; j == int(s.slots) {
		j = 0
	}
	return i, j, f
}

func (s *season) value() float64 { return s.valueAt(s.now(s.set.moved)) }

func (s *season) valueAt(phase float64) float64 {
	i, j, f := s.at(phase)
	return s.profile[i]*(1-f) + s.profile[j]*f
}

// learn takes in x. It reports whether the season still holds.
func (s *season) learn(x float64, hold bool) bool {
	s.age++
	e := x - s.value()
	gain := 1 / s.period
	s.left += gain * (math.Abs(e) - s.left)
	s.all += gain * (math.Abs(x-s.mean) - s.all)
	s.mean += 0.5 * gain * (x - s.mean)
	if !hold && s.set.by == 0 {
		i, j, f := s.at(s.phase)
		e = max(-4*s.left, min(4*s.left, e))
		slope := (s.profile[j] - s.profile[i]) * float64(s.slots) / s.period
		s.lag += e * slope
		s.slope += slope * slope
		s.summed++
		e *= cycleGain * float64(s.slots) / s.period
		s.profile[i] += (1 - f) * e
		s.profile[j] += f * e
	}
	return s.left < seasonTo*s.all
}

// EncodeState implements state.Part.
func (s *season) EncodeState(w *state.Writer) {
	for _, v := range []float64{s.period, s.phase, s.left, s.all, s.mean, s.rate, s.lag, s.slope, s.summed, s.age, s.share} {
		w.Float(v)
	}
	w.Floats(s.profile[:s.slots])
	for _, v := range s.set.fields() {
		w.Float(float64(*v))
	}
}

// fields are what is kept of it.
func (t *set) fields() [5]*float32 {
	return [...]*float32{&t.by, &t.tried, &t.left[0], &t.left[1], &t.left[2]}
}

// DecodeState implements state.Part.
func (s *season) DecodeState(r *state.Reader) {
	*s = season{period: r.Min("period", 0), phase: r.Min("phase", 0), left: r.Min("rest", 0), all: r.Min("deviation", 0)}
	s.mean, s.rate = r.Finite("mean"), r.Min("rate", 0)
	s.lag, s.slope = r.Finite("lag"), r.Min("slope", 0)
	s.summed = r.Min("readings in a cycle", 0)
	s.age, s.share = r.Min("age", 0), r.Min("share", 0)
	profile := r.Floats("profile", maxSlots)
	s.slots = int32(copy(s.profile[:], profile))
	for _, v := range profile {
		if math.IsNaN(v) || math.Abs(v) > 1e200 {
			r.Fail("the profile has a value of %v", v)
		}
	}
	for k, v := range s.set.fields() {
		x := r.Finite("of a clock that was set")
		if math.Abs(x) > 1e30 || k > 0 && x < 0 {
			r.Fail("of a clock that was set is %v", x)
		}
		*v = float32(x)
	}
	if r.Err() == nil && ((s.slots > 0) != (s.period > 0) || s.phase > s.period || s.period > 0 && s.period < shortest) {
		r.Fail("season of period %v with %d slots at %v", s.period, s.slots, s.phase)
	}
}

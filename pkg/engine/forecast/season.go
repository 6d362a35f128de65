// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package forecast

import (
	"math"

	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const (
	maxSlots    = 96    // of a profile: a quarter of an hour of a day
	profileGain = 0.125 // weight of the newest cycle in the profile
	levelShare  = 1.5   // gain of the level a cycle
	scalePrior  = 17    // residuals that the first guess of their scale counts for
	slotPrior   = 4.0   // visits for which a slot's own scale must wait
	phaseGain   = 0.5   // share of a phase error that is corrected at the end of a cycle
	periodGain  = 0.1   // share of it that is held to be an error of the period
	exactUpTo   = 32    // the finder knows whole periods up to that many readings exactly
)

// Season is an additive seasonal profile of at most 96 slots over a slow level, interpolated linearly between slots,
// with a residual scale that varies over the season. Its period may be fractional; a phase-locked loop keeps it right:
// residuals that go with the slope of the profile show that the season comes early or late. The zero value has no
// period.
type Season struct {
	period   float64 // readings; 0: none
	position float64 // of the newest reading, in readings, below period
	level    float64
	profile  [maxSlots]float64
	visits   [maxSlots]float32
	scales   [maxSlots]float64 // mean absolute residuals of the slots
	overall  Scale
	slots    int
	covary   float64 // in this cycle, of residuals with the slope of the profile
	slope2   float64 // in this cycle, of the slope with itself
}

// Period is the period in readings; 0 where there is none.
func (s *Season) Period() float64 { return s.period }

// reset starts a profile from what the finder remembers, the newest reading being at position 0.
func (s *Season) reset(period float64, f *Finder) bool {
	if r := math.Round(period); period <= exactUpTo && math.Abs(period-r) < 0.2 {
		period = r
	}
	*s = Season{period: period, slots: min(int(period), maxSlots)}
	profile := s.profile[:s.slots]
	if s.slots < 2 || !f.Fold(period, 0, profile) {
		*s = Season{}
		return false
	}
	for _, v := range profile {
		s.level += v / float64(s.slots)
	}
	amplitude := 0.0
	for i := range profile {
		profile[i] -= s.level
		s.visits[i] = 2
		amplitude += math.Abs(profile[i]) / float64(s.slots)
	}
	s.overall = Scale{mean: amplitude, n: scalePrior} // what is left is hardly more than there was
	return true
}

// advance moves the phase by step readings.
func (s *Season) advance(step int) {
	if s.position += float64(step); s.position >= s.period {
		s.lock()
		s.position = math.Mod(s.position, s.period)
	}
}

// lock corrects phase and period at the end of a cycle by how early the season came, in readings: the regression of
// residuals on the slope, drawn to 0 where noise drowns it.
func (s *Season) lock() {
	sigma := s.overall.Sigma()
	early := s.covary / (s.slope2 + 4*sigma*sigma)
	s.covary, s.slope2 = 0, 0
	if s.period <= exactUpTo && s.period == math.Round(s.period) || math.IsNaN(early) {
		return
	}
	early = min(max(early, -s.period/50), s.period/50)
	s.position = max(s.position+phaseGain*early, 0)
	s.period -= periodGain * early
}

// at is the profile at the newest position: slots i and j, with weight f for j.
func (s *Season) at() (i, j int, f float64) {
	u := s.position / s.period * float64(s.slots)
	i = min(int(u), s.slots-1)
	f = min(u-float64(i), 1)
	if j = i + 1; j == s.slots {
		j = 0
	}
	return i, j, f
}

// Value is the profile at the newest position, over the level.
func (s *Season) Value() float64 {
	i, j, f := s.at()
	return s.profile[i]*(1-f) + s.profile[j]*f
}

// Expected is level and profile at the newest position.
func (s *Season) Expected() float64 { return s.level + s.Value() }

// Sigma is the residual scale at the newest position: that of the slot, drawn to that of the whole season while the
// slot had few visits, and never less than a fifth of the latter.
func (s *Season) Sigma() float64 {
	i, j, f := s.at()
	if f >= 0.5 {
		i = j
	}
	v := float64(s.visits[i])
	own := (s.scales[i]*v + s.overall.mean*slotPrior) / (v + slotPrior)
	return max(own, 0.2*s.overall.mean) * toSigma
}

// learn takes in x at the newest position and returns its residual.
func (s *Season) learn(x float64) float64 {
	e := x - s.Expected()
	i, j, f := s.at()
	bounded := e
	if limit := 4 * s.overall.mean; limit > 0 && s.overall.n > 16 {
		bounded = min(max(e, -limit), limit)
	}
	slope := (s.profile[j] - s.profile[i]) * float64(s.slots) / s.period
	s.covary += bounded * slope
	s.slope2 += slope * slope
	visit := float64(s.slots) / s.period // a reading is that part of a visit to its slot
	s.level += levelShare / s.period * bounded
	s.slotLearn(i, (1-f)*visit, bounded)
	s.slotLearn(j, f*visit, bounded)
	s.overall.Add(e, min(0.02, 1/s.period))
	return e
}

func (s *Season) slotLearn(i int, part, e float64) {
	if part <= 0 {
		return
	}
	v := min(float64(s.visits[i])+part, 1/profileGain)
	s.visits[i] = float32(v)
	gain := part / max(v, 1)
	s.profile[i] += gain * e
	s.scales[i] += gain * (math.Abs(e) - s.scales[i])
}

// EncodeState implements state.Part.
func (s *Season) EncodeState(w *state.Writer) {
	w.Float(s.period)
	w.Float(s.position)
	w.Float(s.level)
	w.Float(s.covary)
	w.Float(s.slope2)
	w.Int(int64(s.slots))
	s.overall.EncodeState(w)
	for i := range s.slots {
		w.Float(s.profile[i])
		w.Float(float64(s.visits[i]))
		w.Float(s.scales[i])
	}
}

// DecodeState implements state.Part.
func (s *Season) DecodeState(r *state.Reader) {
	s.period = r.Min("period", 0)
	s.position = r.Min("position", 0)
	s.level = r.Finite("season level")
	s.covary, s.slope2 = r.Finite("covariance with the slope"), r.Min("squared slope", 0)
	s.slots = r.Count("slots", maxSlots)
	s.overall.DecodeState(r)
	for i := range s.slots {
		s.profile[i] = r.Finite("profile")
		s.visits[i] = float32(r.Min("visits", 0))
		s.scales[i] = r.Min("slot scale", 0)
	}
	if r.Err() == nil && (s.slots > 0) != (s.period > 0) || s.position > s.period {
		r.Fail("season of period %v with %d slots at %v", s.period, s.slots, s.position)
	}
}

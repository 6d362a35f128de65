// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import "math"

// pace is how often readings come, as it is seen.
type pace struct {
	cycle     float64 // ns
	regular   float64 // share of intervals that agree with the learned cycle, exponentially weighted
	intervals [warmIntervals]float32
	seen      uint8 // intervals collected so far, up to warmIntervals
}

const warmIntervals = 5

// learn follows the median interval: the median of the first few, then steps of 2 % towards each new one.
func (p *pace) learn(d float64) {
	if p.seen < warmIntervals {
		i := p.seen
		for ; i > 0 && p.intervals[i-1] > float32(d); i-- {
			p.intervals[i] = p.intervals[i-1]
		}
		p.intervals[i] = float32(d)
		p.seen++
		p.cycle = float64(p.intervals[p.seen/2])
		return
	}
	agrees := 0.0
	if math.Abs(d-p.cycle) <= 0.25*p.cycle {
		agrees = 1
	}
	p.regular += (agrees - p.regular) / 16
	if d > p.cycle {
		p.cycle = min(p.cycle*1.02, d)
	} else {
		p.cycle = max(p.cycle/1.02, d)
	}
}

// rhythm is how much readings that are late, missing, repeated or invalid are the way of a stream: a network that loses one
// in ten, evenly, is no fault of a sensor, nor is a gateway that says N/A or each thing twice as often, and a verdict that never ends says nothing. It
// follows the mean of the levels of such faults over the last thousands of readings; a level is a fault's where it is well
// over that.
type rhythm struct {
	n     uint16  // readings, up to rhythmMemory
	gap   float32 // cycles of the longest silence, slowly forgotten
	usual [len(qualityKinds)]float32
}

// In readings.
const (
	rhythmMemory = 2000
	rhythmLeast  = 150 // so many are believed to have been good before the first,
	rhythmValid  = 300 // and so many to have been valid
)

// follow takes the levels after a reading.
func (r *rhythm) follow(levels *[len(qualityKinds)]float32, c *QualityConfig) {
	r.n = min(r.n+1, rhythmMemory)
	for _, i := range [...]int{invalidIndex, missingIndex, duplicateIndex, lateIndex} {
		least := uint16(rhythmLeast)
		if i == invalidIndex {
			least = rhythmValid
		}
		gain := 1 / float32(max(r.n, least))
		// An outage says little of the rhythm: it counts as what would be a fault, and no more.
		r.usual[i] += gain * (min(levels[i], r.trigger(i, c)) - r.usual[i])
	}
	// Of a stream that is usable, every other reading is.
	r.usual[invalidIndex] = min(r.usual[invalidIndex], 0.5*most(c))
}

// outage takes a silence of so many cycles that is over, and returns what it counts for: one lost reading for each time
// that the allowed silence fits in, so that a short one must come again to be a fault; and one where the stream has been
// silent for about as long before.
func (r *rhythm) outage(cycles, allowed float64) float32 {
	known := cycles <= 1.5*float64(r.gap)
	r.gap = max(r.gap, float32(min(cycles, 1e6)))
	if known {
		return 1
	}
	return float32(min(max(math.Round(cycles/allowed), 1), 1e6))
}

// forget makes the longest silence count less with each reading.
func (r *rhythm) forget() { r.gap *= 1 - 1.0/(10*rhythmMemory) }

// silence is for how many cycles a stream that is well falls silent once in 100,000 readings, by the share that it loses.
func (r *rhythm) silence(c *QualityConfig) float64 {
	lost := float64(r.usual[missingIndex]) / float64(10*max(c.Persist, 1))
	if lost <= 0 {
		return 0
	}
	return 1 + math.Log(1e-5)/math.Log(min(lost, 0.9))
}

// none reports whether all readings came when they should, for long.
func (r *rhythm) none() bool {
	return r.usual[invalidIndex]+r.usual[missingIndex]+r.usual[duplicateIndex]+r.usual[lateIndex] < 1e-4
}

// trigger is the level from which a fault makes a verdict: a little under Persist, as older faults count less, over what
// is usual and six times its scatter, as that of counts: losses come in bursts. Of readings that are invalid there may be
// no more than all, so theirs is that of a share: where all of them are, the level is over the trigger, whatever was usual.
func (r *rhythm) trigger(i int, c *QualityConfig) float32 {
	u := r.usual[i]
	if i == invalidIndex {
		scatter := float32(math.Sqrt(float64(u / 2 * max(1-u/most(c), 0))))
		return min(trigger(c)+u+6*scatter, 0.9*most(c))
	}
	return trigger(c) + u + 6*float32(math.Sqrt(float64(u)))
}

// most is the level of a fault that every reading has.
func most(c *QualityConfig) float32 { return 10 * float32(max(c.Persist, 1)) }

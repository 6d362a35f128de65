// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import "time"

// What the time of a reading says is one thing, what clocks are is another: one without a battery begins in 1970, one
// without a net drifts until it is set, one that is set wrong is set right an hour later. A reading must not be lost for
// that, and a device that repeats what it has buffered must not pass for a clock that was set back.
//
// Three rules tell them apart. A time far ahead is believed once the next reading confirms it, unless the time of arrival
// does so at once: a wrong one costs its own reading. A time before the newest is believed where it goes on from before a
// leap, or where the newest was in the future and it is not. And a row of times before the newest that keeps the rhythm is
// that of a clock that was set back, unless it comes in a burst, as a buffer does.

// clock is what these rules need to know, beside the newest time.
type clock struct {
	ahead    int64 // time of the reading before, which was too far ahead to be believed; 0 for none
	before   int64 // newest time before the last leap; 0 for none
	back     int64 // time of the last reading that was older than the newest
	arrived  int64 // when the last reading came; 0 where not known
	believed int64 // when the last one came whose time was believed; 0 where not known
	behind   int64 // by how much the clock was set back behind the time of arrival: so much is no delay
	paced    float32
	leapt    uint8 // readings since that leap
	rhythmic uint8 // older readings in a row that kept the rhythm
	restored bool  // the newest time is that of an earlier process
}

const (
	leapFrom   = 8           // cycles ahead that are a leap
	holdFrom   = 1024        // cycles ahead that are not believed at once where the time of arrival is not known
	futureFrom = time.Minute // after the arrival a time is in the future
	setBack    = 8           // older readings in a row that keep the rhythm, after which a clock was set back
	remember   = 64          // readings for which the time before a leap is remembered
	bursts     = 0.8         // share of arrivals at the pace of readings from which a burst says something
)

// arrive notes when a reading came, and reports whether it came in a burst although new readings usually do not.
func (k *clock) arrive(now int64, beat float64, isNew bool) (burst bool) {
	if now == 0 || beat <= 0 {
		return false
	}
	if k.arrived != 0 {
		atPace := float32(0)
		if float64(now-k.arrived) >= beat/2 {
			atPace = 1
		}
		burst = k.paced >= bursts && atPace == 0
		if isNew {
			k.paced += (atPace - k.paced) / 32
		}
	}
	k.arrived = now
	return burst
}

// passed is the time since the reading before, by what the times of readings say, in ns: where they leap and the readings
// come as they always did, a clock was set, and nothing was silent.
func (k *clock) passed(interval float64, now int64, beat float64) float64 {
	if now == 0 || k.believed == 0 || beat <= 0 || k.paced < bursts || interval <= leapFrom*beat {
		return interval
	}
	if came := float64(now - k.believed); came >= beat/2 && came <= leapFrom*beat {
		return came
	}
	return interval
}

// delay is how long a reading was on its way, 0 where the time of arrival is not known.
func (k *clock) delay(at, now int64) int64 {
	if now == 0 {
		return 0
	}
	k.behind = min(k.behind, max(now-at, 0)) // or it has been set right since
	return now - at - k.behind
}

// beat is the best guess at the cycle, 0 where there is none.
func (q *Quality) beat(c *QualityConfig) float64 {
	if cycle := q.expected(c); cycle > 0 || q.seen < warmIntervals {
		return cycle
	}
	return q.cycle
}

// forward takes a time after the newest, and reports whether it is believed.
func (q *Quality) forward(at, now int64, beat float64) bool {
	k := &q.clock
	k.rhythmic, k.restored = 0, false
	if k.before != 0 {
		if k.leapt++; k.leapt >= remember {
			k.before = 0
		}
	}
	interval := float64(at - q.last)
	if beat <= 0 || interval <= leapFrom*beat {
		k.ahead = 0
		return true
	}
	confirmed := k.ahead != 0 && at >= k.ahead
	future := now != 0 && at-now > int64(futureFrom)
	doubtful := interval > holdFrom*beat
	if now != 0 {
		doubtful = future && (doubtful || q.last-now <= int64(futureFrom))
	}
	if doubtful && !confirmed {
		k.ahead = at
		return false
	}
	k.ahead, k.before, k.leapt = 0, q.last, 0
	return true
}

// backward takes a time before the newest, and reports whether it is believed all the same: the clock was wrong before.
func (q *Quality) backward(at, now int64, burst bool, beat float64) bool {
	k := &q.clock
	rhythm := beat > 0 && !burst && k.back != 0 && float64(at-k.back) > beat/2 && float64(at-k.back) < beat*3/2
	k.back, k.ahead = at, 0
	if !rhythm {
		k.rhythmic = 0
	}
	k.rhythmic++
	q.older++
	switch {
	case q.seen == 0: // the only one before was wrong, or this one is
	case k.before != 0 && at > k.before:
	case now != 0 && q.last-now > int64(futureFrom) && at-now <= int64(futureFrom) && float64(now-at) < max(float64(futureFrom), leapFrom*beat):
	case k.restored && beat > 0 && float64(q.last-at) > rewind*beat:
	case k.rhythmic >= setBack || q.older >= rewind:
		if now != 0 && k.paced >= bursts {
			k.behind = now - at
		}
	default:
		return false
	}
	k.before, k.back, k.rhythmic, k.restored = 0, 0, 0, false
	return true
}

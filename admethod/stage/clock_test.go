// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

// What clocks do to the times of readings costs few of them: one for a wrong time, a handful for a clock that is set.
func TestQualityFollowsClocks(t *testing.T) {
	const year = 365 * 24 * 60 // cycles of a minute
	at := func(times ...float64) (s []stamp) {
		for i, t := range times {
			s = append(s, stamp{t, float64(5000 + i)})
		}
		return s
	}
	tests := []struct {
		name string
		then []stamp // after a hundred readings
		held int     // at most
	}{
		{"a time in the future, once", slices.Concat(at(12*year), regularly(101, 99)), 1},
		{"an hour ahead, once", slices.Concat(at(160), regularly(101, 99)), 0},
		{"in the future again and again", slices.Concat(at(12*year), regularly(101, 20), at(12*year), regularly(122, 20), at(12*year), regularly(143, 20)), 3},
		{"in the future twice in a row", slices.Concat(at(12*year, 12*year+1), regularly(102, 98)), 1},
		{"from 1970 to now", regularly(56*year, 100), 1},
		{"set an hour ahead", regularly(160, 100), 0},
		{"set two hours back", regularly(100-120, 100), setBack},
		{"set ten minutes back", regularly(90, 100), setBack},
		{"set back by years", regularly(-3*year, 100), setBack},
		{"an outage of a day", regularly(100+24*60, 100), 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q Quality
			c := DefaultQuality()
			c.Cycle = testCycle
			run(&q, &c, regularly(0, 100))
			for i := range tt.then { // that they are no repeats
				tt.then[i].value += 0.25
			}
			_, passed, _ := run(&q, &c, tt.then)
			if held := len(tt.then) - len(passed); held > tt.held {
				t.Errorf("%d readings were held back, want at most %d", held, tt.held)
			}
		})
	}
}

// live feeds readings that arrive at times of their own.
func live(q *Quality, c *QualityConfig, at, now time.Time, every, pace time.Duration, n int) (held int) {
	for i := range n {
		stamp := at.Add(time.Duration(i) * every)
		if _, pass := q.Observe(stamp.UnixNano(), now.Add(time.Duration(i)*pace).UnixNano(), float64(i*37%1009)+0.5, 0, c); !pass {
			held++
		}
	}
	return held
}

// A device that sends what it has buffered, in a burst and older than what it sent since, is no clock that was set back:
// its readings do not reach the detector.
func TestQualityKnowsABufferByItsPace(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	c := DefaultQuality()
	c.Cycle = time.Minute
	for _, tt := range []struct {
		name string
		pace time.Duration
		held func(n int) bool
	}{
		{"a buffer", time.Second, func(n int) bool { return n == 40 }},
		{"a clock that was set back", time.Minute, func(n int) bool { return n <= setBack }},
	} {
		var q Quality
		if held := live(&q, &c, start, start, time.Minute, time.Minute, 100); held != 0 {
			t.Fatalf("%d readings in time were held back", held)
		}
		now := start.Add(100 * time.Minute)
		if held := live(&q, &c, now.Add(-80*time.Minute+time.Second), now, time.Minute, tt.pace, 40); !tt.held(held) {
			t.Errorf("%s: %d of 40 readings were held back", tt.name, held)
		}
	}
}

// Where the time of arrival is known, it tells which of two times was wrong.
func TestQualityTrustsTheArrival(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	c := DefaultQuality()
	c.Cycle = time.Minute
	for _, tt := range []struct {
		name  string
		first time.Time // times of the first hundred
		then  time.Time
		held  int
	}{
		{"a clock that was a year ahead is set right", start.AddDate(1, 0, 0), start.Add(100 * time.Minute), 0},
		{"one that began in 1970 is set right", time.Unix(0, 0), start.Add(100 * time.Minute), 0},
		{"an outage of a week", start.AddDate(0, 0, -7), start.Add(100 * time.Minute), 0},
		{"a clock is set a year ahead", start, start.AddDate(1, 0, 0), 1},
	} {
		var q Quality
		if held := live(&q, &c, tt.first, start, time.Minute, time.Minute, 100); held != 0 {
			t.Errorf("%s: %d of the first readings were held back", tt.name, held)
		}
		if held := live(&q, &c, tt.then, start.Add(100*time.Minute), time.Minute, time.Minute, 100); held != tt.held {
			t.Errorf("%s: %d readings were held back, want %d", tt.name, held, tt.held)
		}
	}
}

// A process whose predecessor's clock was ahead loses no reading.
func TestQualityAfterARestartWithAnotherClock(t *testing.T) {
	c := DefaultQuality()
	var before, after Quality
	run(&before, &c, regularly(1_000_000, 100))
	if err := state.Restore(&after, state.Bytes(&before)); err != nil {
		t.Fatal(err)
	}
	if flags, passed, _ := run(&after, &c, regularly(0, 100)); len(passed) != 100 {
		t.Errorf("%d of 100 readings passed: flags %b", len(passed), flags)
	}
}

// The first reading of all may be the one whose time is wrong.
func TestQualityAfterAWrongBeginning(t *testing.T) {
	var q Quality
	c := DefaultQuality()
	flags, passed, _ := run(&q, &c, append([]stamp{{1e7, 1}}, regularly(0, 50)...))
	if len(passed) != 51 || slices.Contains(flags, driver.OutOfOrder) {
		t.Errorf("%d of 51 readings passed, flags %b", len(passed), flags)
	}
}

// A clock of a device that is set, while its readings come as they always did, is neither a silence nor a delay: it costs
// the readings in it, however far it is set, also where the process begins anew meanwhile.
func TestQualityTellsAStepFromASilence(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	const hour = time.Hour
	for _, cycle := range []time.Duration{time.Second, time.Minute} {
		for _, step := range []time.Duration{10 * time.Minute, 2 * hour, 365 * 24 * hour, -10 * cycle, -2 * hour, -365 * 24 * hour} {
			t.Run(cycle.String()+" "+step.String(), func(t *testing.T) {
				q, now, held, verdicts := new(Quality), start, 0, make(map[driver.Kind]int)
				c := DefaultQuality()
				c.Cycle = cycle
				for i, off := range []time.Duration{0, step, step, 0} {
					for j := range 300 {
						now = now.Add(cycle)
						if _, pass := q.Observe(now.Add(off).UnixNano(), now.UnixNano(), float64((i*300+j)*37%1009)+0.5, 0, &c); !pass {
							held++
						}
						if kind, _ := q.Judge(&c); kind != driver.KindNone {
							verdicts[kind]++
						}
					}
					if i == 1 {
						q = restarted(t, q)
						q.Resume(now.UnixNano())
					}
				}
				if n := verdicts[driver.KindOutOfOrder]; n > setBack || len(verdicts) > 1 || len(verdicts) == 1 && n == 0 || held > setBack {
					t.Errorf("verdicts %v, %d readings held back; want at most %d of readings out of order", verdicts, held, setBack)
				}
				// The clock is right again, and what is late is late.
				now = now.Add(10 * cycle)
				if flags, _ := q.Observe(now.Add(-7*cycle).UnixNano(), now.UnixNano(), 1, 0, &c); flags&driver.Late == 0 {
					t.Errorf("flags %v of a reading that was on its way for 7 cycles", flags)
				}
			})
		}
	}
}

// restarted is what a process that begins anew makes of the state.
func restarted(t *testing.T, q *Quality) *Quality {
	var w state.Writer
	q.EncodeState(&w)
	q.EncodeFaults(&w)
	r, again := state.NewReader(w.Bytes), new(Quality)
	again.DecodeState(r)
	again.DecodeFaults(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return again
}

// Where a device is silent and its clock goes on, that is a silence, whether it sends what it has kept or not.
func TestQualityTellsASilenceFromAStep(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	c := DefaultQuality()
	c.Cycle = time.Second
	var q Quality
	live(&q, &c, start, start, time.Second, time.Second, 300)
	now := start.Add(2 * time.Hour)
	if flags, _ := q.Observe(now.UnixNano(), now.UnixNano(), 1, 0, &c); flags&driver.Gap == 0 {
		t.Errorf("flags %v after a silence of two hours", flags)
	}
	live(&q, &c, now.Add(time.Second), now.Add(time.Second), time.Second, time.Second, 300)
	// Of a day that the network was away the device kept the beginning and the end, and sends that in a burst.
	kept := now.Add(301 * time.Second)
	now = kept.Add(24 * time.Hour)
	live(&q, &c, kept, now, time.Second, time.Millisecond, 60)
	now = now.Add(60 * time.Millisecond)
	if flags, _ := q.Observe(now.Add(-time.Minute).UnixNano(), now.UnixNano(), 1, 0, &c); flags&driver.Gap == 0 {
		t.Errorf("flags %v where most of a day is missing from a buffer", flags)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
)

const testCycle = 10 * time.Second

// stamp is a reading of the tests: when it was taken, in cycles, and what.
type stamp struct {
	at    float64
	value float64
}

// regularly makes n readings, one a cycle, of ever-changing value.
func regularly(from, n int) []stamp {
	s := make([]stamp, n)
	for i := range s {
		s[i] = stamp{float64(from + i), float64((from + i) * 37 % 101)}
	}
	return s
}

// run feeds readings and returns the flags of each, what reached the detector, and the kind that persists at the end.
func run(q *Quality, c *QualityConfig, stamps []stamp) (flags []driver.Flags, passed []stamp, kind driver.Kind) {
	epoch := time.Unix(1_700_000_000, 0)
	for _, s := range stamps {
		at := epoch.Add(time.Duration(s.at * float64(testCycle)))
		flag := driver.Flags(0)
		if math.IsNaN(s.value) { // as the stage before says
			flag = driver.NotANumber
		}
		f, pass := q.Observe(at.UnixNano(), 0, s.value, flag, c)
		flags = append(flags, f)
		if pass {
			passed = append(passed, s)
		}
		kind, _ = q.Judge(c)
	}
	return flags, passed, kind
}

func TestQualityFlags(t *testing.T) {
	base := regularly(0, 20)
	tests := []struct {
		name  string
		then  []stamp
		flags []driver.Flags
		pass  int // of then
	}{
		{"in time", regularly(20, 3), []driver.Flags{0, 0, 0}, 3},
		{"a little jitter is in time", []stamp{{20.3, 1}, {20.8, 2}}, []driver.Flags{0, 0}, 2},
		{"late by 0.8 cycles", []stamp{{20.8, 1}, {21, 2}}, []driver.Flags{driver.Late, 0}, 2},
		{"one reading lost", []stamp{{21, 1}}, []driver.Flags{driver.Gap}, 1},
		{"silence", []stamp{{60, 1}}, []driver.Flags{driver.Gap}, 1},
		{"repeated at once", []stamp{base[19]}, []driver.Flags{driver.Duplicate}, 0},
		{"a buffer repeated after a reconnection", base[10:20], slices.Repeat([]driver.Flags{driver.Duplicate}, 10), 0},
		{"same time, other value: a coarse clock", []stamp{{19, 555}}, []driver.Flags{0}, 1},
		{"swapped neighbours", []stamp{{21, 1}, {20, 2}}, []driver.Flags{driver.Gap, driver.OutOfOrder}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q Quality
			c := DefaultQuality()
			c.Cycle = testCycle
			run(&q, &c, base)
			flags, passed, _ := run(&q, &c, tt.then)
			if !slices.Equal(flags, tt.flags) || len(passed) != tt.pass {
				t.Errorf("flags %b, %d passed; want %b, %d", flags, len(passed), tt.flags, tt.pass)
			}
		})
	}
}

// A single fault is noise; one that persists is a verdict of its own kind, and goes away when readings are good again.
func TestQualityPersistence(t *testing.T) {
	tests := []struct {
		name string
		kind driver.Kind
		then func(i int) []stamp // i-th faulty stretch
	}{
		{"readings lost", driver.KindMissing, func(i int) []stamp { return []stamp{{float64(21 + 2*i), float64(i)}} }},
		{"late", driver.KindLate, func(i int) []stamp {
			at := 20 + 2.2*float64(i)
			return []stamp{{at + 0.7, float64(i)}, {at + 1.2, float64(i) + 0.5}}
		}},
		{"repeated", driver.KindDuplicate, func(i int) []stamp {
			s := stamp{float64(20 + i), float64(1000 + i)}
			return []stamp{s, s}
		}},
		{"out of order", driver.KindOutOfOrder, func(i int) []stamp {
			return []stamp{{float64(20+2*i) + 1, float64(1000 + i)}, {float64(20 + 2*i), float64(2000 + i)}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q Quality
			c := DefaultQuality()
			c.Cycle = testCycle
			run(&q, &c, regularly(0, 20))
			if _, _, kind := run(&q, &c, tt.then(0)); kind != driver.KindNone {
				t.Errorf("one fault makes a verdict %q", kind)
			}
			var kind driver.Kind
			n := 1
			for ; n < 20 && kind == driver.KindNone; n++ {
				_, _, kind = run(&q, &c, tt.then(n))
			}
			if kind != tt.kind || n > 6 {
				t.Errorf("verdict %q after %d faults, want %q after at most 6", kind, n, tt.kind)
			}
			if _, _, kind = run(&q, &c, regularly(100_000, 20)); kind != driver.KindNone {
				t.Errorf("verdict %q stands after 20 good readings", kind)
			}
		})
	}
}

func TestQualityStuckClock(t *testing.T) {
	var q Quality
	c := DefaultQuality()
	c.Cycle = testCycle
	run(&q, &c, regularly(0, 20))
	var stuck []stamp
	for i := range 30 {
		stuck = append(stuck, stamp{19, float64(1000 + i)})
	}
	_, passed, kind := run(&q, &c, stuck)
	if kind != driver.KindStuckClock || len(passed) != len(stuck) {
		t.Errorf("kind %q, %d of %d passed; want stuckClock, all", kind, len(passed), len(stuck))
	}
}

// Without a known cycle it is learned, if there is one: readings that come irregularly are never late.
func TestQualityLearnsTheCycle(t *testing.T) {
	c := DefaultQuality()
	var regular Quality
	flags, _, _ := run(&regular, &c, append(regularly(0, 60), stamp{70, 1}))
	if got := flags[len(flags)-1]; got != driver.Gap {
		t.Errorf("ten readings missing: flags %b, want Gap", got)
	}

	rng := rand.New(rand.NewPCG(1, 2))
	var irregular Quality
	var stamps []stamp
	at := 0.0
	for i := range 2000 {
		at += rng.ExpFloat64()
		stamps = append(stamps, stamp{at, float64(i)})
	}
	flags, passed, kind := run(&irregular, &c, stamps)
	if n := len(slices.DeleteFunc(flags, func(f driver.Flags) bool { return f == 0 })); n > 0 || kind != driver.KindNone || len(passed) != len(stamps) {
		t.Errorf("readings at random times: %d flagged, verdict %q, %d of %d passed", n, kind, len(passed), len(stamps))
	}
}

func TestQualityStateSurvivesRestart(t *testing.T) {
	c := DefaultQuality()
	var before, after Quality
	run(&before, &c, regularly(0, 50))
	if err := state.Restore(&after, state.Bytes(&before)); err != nil {
		t.Fatal(err)
	}
	// The device repeats its buffer to the new process.
	if flags, passed, _ := run(&after, &c, regularly(40, 10)); len(passed) != 0 {
		t.Errorf("repeats pass after a restart: flags %b", flags)
	}
}

// Silence counts from when there was somebody to read: not over a restart of the mapper, nor over a pause of it.
func TestQualitySilenceThatIsNotTheDevices(t *testing.T) {
	c := DefaultQuality()
	c.Cycle = time.Second
	const pause = 37 * time.Second
	restarted := func(q *Quality, _ time.Time) {
		var w state.Writer
		q.EncodeState(&w)
		q.DecodeState(state.NewReader(w.Bytes))
	}
	for name, ended := range map[string]func(*Quality, time.Time){
		"nobody's": nil, "restart": restarted, "pause": func(q *Quality, now time.Time) { q.Resume(now.UnixNano()) },
		"restart, with a clock": func(q *Quality, now time.Time) {
			restarted(q, now)
			q.Resume(now.UnixNano())
		},
	} {
		t.Run(name, func(t *testing.T) {
			var q Quality
			at := time.Unix(1_700_000_000, 0)
			read := func() driver.Flags {
				flags, _ := q.Observe(at.UnixNano(), at.UnixNano(), 1, 0, &c)
				at = at.Add(time.Second)
				return flags
			}
			for range 20 {
				read()
			}
			at = at.Add(pause)
			if ended != nil {
				ended(&q, at)
			}
			if overdue := q.Overdue(at.UnixNano(), &c); name != "restart" && (overdue > 0) != (ended == nil) {
				t.Errorf("overdue %v times", overdue)
			}
			flags := read()
			kind, _ := q.Judge(&c)
			if device := ended == nil; (flags&driver.Gap != 0) != device || (kind == driver.KindMissing) != device {
				t.Errorf("flags %b, verdict %q", flags, kind)
			}
			// What is missing from then on is.
			if at = at.Add(10 * time.Second); q.Overdue(at.UnixNano(), &c) == 0 {
				t.Error("not overdue after ten seconds of silence")
			}
			if flags := read(); flags&driver.Gap == 0 {
				t.Errorf("flags %b after ten seconds of silence", flags)
			}
		})
	}
}

// A mapper that reads every 10 ms on a busy machine is not late by its own scheduling.
func TestQualityForgivesSchedulingDelays(t *testing.T) {
	var q Quality
	c := DefaultQuality()
	c.Cycle = 10 * time.Millisecond
	at := time.Unix(1_700_000_000, 0)
	for i := range 200 {
		at = at.Add(c.Cycle)
		if i%7 == 0 {
			at = at.Add(150 * time.Millisecond)
		}
		if flags, _ := q.Observe(at.UnixNano(), 0, float64(i), 0, &c); flags != 0 {
			t.Fatalf("reading %d: flags %b", i, flags)
		}
	}
}

func TestQualityDoesNotAllocate(t *testing.T) {
	var q Quality
	c := DefaultQuality()
	at := int64(1e18)
	if n := testing.AllocsPerRun(1000, func() {
		at += int64(testCycle)
		q.Observe(at, at, float64(at), 0, &c)
		q.Judge(&c)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

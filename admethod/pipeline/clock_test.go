// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

const year = 365 * 24 * time.Hour

// steps are by how much the wall clock is ahead, for twenty readings each.
var steps = map[string][]time.Duration{
	"not at all": {0}, "ahead": {0, year}, "ahead and back": {0, year, 0}, "back": {year, 0},
	"two hours ahead and back": {0, 2 * time.Hour, 0}, "all the time": {0, 3 * year, year, 4 * year, 2 * year, 0},
}

// What the quality stage hears of readings that the mapper stamps comes from the monotonic clock: however the wall clock is
// set, no reading has a fault, silence is there once it is, and no stall of the mapper.
func TestWallClockThatSteps(t *testing.T) {
	began := time.Now()
	for name, steps := range steps {
		t.Run(name, func(t *testing.T) {
			var (
				c      clock
				q      stage.Quality
				now    = began
				config = stage.DefaultQuality()
			)
			config.Cycle = time.Second
			c.begin(drivertest.Stepped(began, steps[0]))
			for _, ahead := range steps {
				for i := range 20 {
					now = now.Add(time.Second)
					at := drivertest.Stepped(now, ahead)
					if at.Sub(now) != 0 || at.Round(0).Sub(now.Round(0)) != ahead {
						t.Fatalf("%v is not %v with a wall clock %v ahead", at, now, ahead)
					}
					if pause := c.advance(at); pause != 0 {
						t.Errorf("the mapper stood still for %v", pause)
					}
					ns, present, steady := c.times(at)
					if flags, pass := q.Observe(ns, present, 1, 0, &config); flags != 0 || !pass || !steady {
						t.Fatalf("reading %d at %v ahead: flags %v, passes %v", i, ahead, flags, pass)
					}
					if d := c.wall().Sub(at); d != 0 {
						t.Fatalf("the present is %v off", d)
					}
				}
			}
			last := drivertest.Stepped(now, steps[len(steps)-1])
			if s := q.Overdue(c.steady(last.Add(4*time.Second)), &config); s != 0 {
				t.Errorf("silence %v after 4 s", s)
			}
			if s := q.Overdue(c.steady(last.Add(8*time.Second)), &config); s == 0 {
				t.Error("no silence after 8 s")
			}
		})
	}
}

// A process that stood still is told from a wall clock that was set.
func TestPauseOfTheProcess(t *testing.T) {
	var c clock
	now := time.Now()
	c.begin(now)
	if pause := c.advance(now.Add(5 * time.Second)); pause != 5*time.Second || c.resumed.Load() != now.Add(5*time.Second).UnixNano() {
		t.Errorf("a pause of %v, want 5 s", pause)
	}
	// A node that slept: the monotonic clock stood, and devices were not read.
	now = now.Add(5100 * time.Millisecond)
	if pause := c.advance(drivertest.Stepped(now, time.Hour)); pause != 0 || c.resumed.Load() != c.steady(now) {
		t.Errorf("a pause of %v, resumed at %v", pause, c.resumed.Load())
	}
}

// A binding hears of readings by the clock that they are stamped with.
func TestBindingWhileTheWallClockSteps(t *testing.T) {
	h := &Handler{}
	now := time.Now()
	h.clock.begin(now)
	config, err := admethod.ParseSettings(map[string]any{"detector": "x", "quality.cycle": "1s"})
	if err != nil {
		t.Fatal(err)
	}
	stream := new(countedStream)
	b := &Binding{handler: h, config: &config, refs: 1, stream: stream}
	for _, ahead := range []time.Duration{0, year, 0} {
		for range 20 {
			now = now.Add(time.Second)
			h.clock.advance(drivertest.Stepped(now, ahead))
			b.Observe(drivertest.Stepped(now, ahead), 1)
		}
	}
	if s := b.Stats(); s != (admethod.BindingStats{Readings: 60}) || stream.rows != 60 {
		t.Errorf("%+v, and %d readings reach the detector; want all of 60, with no fault", s, stream.rows)
	}
}

// Whoever looks for silence may have to wait for a property that is busy; the clock does not.
func TestClockOfABusyHandler(t *testing.T) {
	h, err := NewHandler(Options{Adapters: new(admethod.AdapterRegistry), Sinks: new(admethod.SinkRegistry), Drivers: driver.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	config, err := admethod.ParseSettings(map[string]any{"detector": "x"})
	if err != nil {
		t.Fatal(err)
	}
	b := &Binding{handler: h, setup: new(setup), config: &config, refs: 1}
	b.mu.Lock()
	h.mu.Lock()
	h.bindings[b.Key()] = b
	h.mu.Unlock()
	tick := time.NewTicker(coarseTick / 10)
	defer tick.Stop()
	began := h.clock.now.Load()
	for limit := time.After(time.Minute); time.Duration(h.clock.now.Load()-began) < 2*sweepEvery; {
		select {
		case <-tick.C:
			h.Stats()
		case <-limit:
			t.Fatal("the clock stands still")
		}
	}
	b.mu.Unlock()
	h.mu.Lock()
	delete(h.bindings, b.Key())
	h.mu.Unlock()
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

type countedStream struct {
	admethod.Stream
	rows int
}

func (s *countedStream) TrySubmit(driver.Row) bool { s.rows++; return true }

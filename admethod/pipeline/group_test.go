// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// Members of a group are scored together, whatever the order in which they are read.
func TestGroupAlignsReadings(t *testing.T) {
	var rows []string
	watch := drivertest.Func("watch", func(row driver.Row, out *driver.Result) {
		var values []string
		for _, s := range row {
			mark := ""
			if s.Flags&driver.Held != 0 {
				mark = "*"
			}
			values = append(values, fmt.Sprintf("%s=%v%s", s.Key.Property, s.Value, mark))
		}
		rows = append(rows, strings.Join(values, " "))
		out.Judge(0, driver.KindNone)
	})
	b := newBench(t, pipeline.Options{Replay: true}, watch)
	meta := admethod.Meta{Cycle: time.Second}
	settings := map[string]any{"group": "room"}
	second := b.bind(t, "b", "watch", settings, meta)
	first := b.bind(t, "a", "watch", settings, meta)
	at := func(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }
	second.Observe(at(0), 10)
	first.Observe(at(0), 1)
	first.Observe(at(1), 2)
	second.Observe(at(1), 20)
	first.Observe(at(2), 3) // b is not read this time
	first.Observe(at(3), 4)
	second.Observe(at(3), 40)
	b.flush(t)
	want := []string{"a=1 b=10", "a=2 b=20", "a=3 b=20*", "a=4 b=40"}
	if !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

// One reading that is missed costs one row, it does not mix cycles in all rows that follow.
func TestGroupKeepsCyclesApart(t *testing.T) {
	var rows []string
	watch := drivertest.Func("watch", func(row driver.Row, out *driver.Result) {
		var values []string
		for _, s := range row {
			values = append(values, fmt.Sprint(s.Value))
		}
		rows = append(rows, strings.Join(values, " "))
		out.Judge(0, driver.KindNone)
	})
	b := newBench(t, pipeline.Options{Replay: true}, watch)
	meta := admethod.Meta{Cycle: time.Second}
	settings := map[string]any{"group": "room", "quality.missing": 0}
	var members []*pipeline.Binding
	for _, name := range []string{"a", "b", "c"} {
		members = append(members, b.bind(t, name, "watch", settings, meta))
	}
	for cycle := range 5 {
		for i, m := range members {
			if cycle == 2 && i == 0 {
				continue
			}
			m.Observe(epoch.Add(time.Duration(cycle)*time.Second+time.Duration(i)*10*time.Millisecond), float64(cycle))
		}
	}
	b.flush(t)
	if want := []string{"0 0 0", "1 1 1", "1 2 2", "3 3 3", "4 4 4"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
}

func TestGroupBlamesAndClears(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	meta := admethod.Meta{Cycle: time.Second}
	settings := map[string]any{"group": "room", "heartbeat": "0s"}
	x := b.bind(t, "x", "over", settings, meta)
	y := b.bind(t, "y", "over", settings, meta)
	for i, v := range []float64{1, 500, 500, 1} {
		at := epoch.Add(time.Duration(i) * time.Second)
		x.Observe(at, 1)
		y.Observe(at, v)
	}
	b.flush(t)
	// y stays away for longer than 4 cycles: the group cannot be judged, and says for want of whom.
	for i := range 10 {
		x.Observe(epoch.Add(time.Duration(4+i)*time.Second), 1)
		b.flush(t)
	}
	b.flush(t)
	if got, want := b.sink.story(keyOf("y")), "normal warning:spike normal unknown"; got != want {
		t.Errorf("y: %q, want %q", got, want)
	}
	if got, want := b.sink.story(keyOf("x")), "normal unknown"; got != want {
		t.Errorf("x: %q, want %q", got, want)
	}
	for _, r := range b.sink.results { // each member's verdict has its own reading
		if r.Severity == driver.Warning && r.Value != 500 || r.Severity == driver.Normal && r.Key == keyOf("x") && r.Value != 1 {
			t.Errorf("verdict on %v has the value %v", r.Key, r.Value)
		}
	}
	last := b.sink.results[len(b.sink.results)-1]
	if want := "group room: no recent reading of default/sensor-1/y"; last.Message != want {
		t.Errorf("message %q, want %q", last.Message, want)
	}
}

// A member that joins later, or goes, makes other rows from then on; the others lose no reading.
func TestGroupTakesLateJoinersAndLeavers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rows []string
		watch := drivertest.Func("watch", func(row driver.Row, out *driver.Result) {
			var values []string
			for _, s := range row {
				values = append(values, fmt.Sprint(s.Key.Property, s.Value))
			}
			rows = append(rows, strings.Join(values, " "))
			out.Judge(0, driver.KindNone)
		})
		b := newBench(t, pipeline.Options{}, watch)
		meta := admethod.Meta{Cycle: time.Second}
		settings := map[string]any{"group": "room"}
		x := b.bind(t, "x", "watch", settings, meta)
		z := b.bind(t, "z", "watch", settings, meta)
		cycle := func(n int, members ...*pipeline.Binding) {
			<-time.After(time.Second)
			for _, m := range members {
				m.Observe(time.Now(), float64(n))
			}
			b.flush(t)
		}
		cycle(1, x, z)
		y := b.bind(t, "y", "watch", settings, meta)
		cycle(2, x, y, z)
		x.Close()
		<-time.After(time.Minute) // it lingers for a while, in case that it is bound again
		cycle(3, y, z)
		if want := []string{"x1 z1", "x2 y2 z2", "y3 z3"}; !slices.Equal(rows, want) {
			t.Errorf("rows %q, want %q", rows, want)
		}
	})
}

// What a group has learned survives a restart, the state of its members' stages included.
func TestGroupSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	rows, at := 0, epoch
	counting := driver.NewFactory(driver.Info{Name: "count", Members: 8}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { return &rowCounter{total: &rows}, nil })
	run := func(texts ...string) {
		b := newBench(t, pipeline.Options{Replay: true, StateDir: dir}, counting)
		meta := admethod.Meta{DataType: "string", Cycle: time.Second}
		settings := map[string]any{"group": "room"}
		x, y := b.bind(t, "x", "count", settings, meta), b.bind(t, "y", "count", settings, meta)
		for _, text := range texts {
			at = at.Add(time.Second)
			x.ObserveAny(at, text)
			y.ObserveAny(at, text)
			b.flush(t)
		}
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run("idle", "run", "jam")
	run("jam")
	if rows != 4 {
		t.Errorf("%d rows counted over a restart, want 4", rows)
	}
}

// rowCounter counts rows; the count is its learned state. It reports it where the test can see it.
type rowCounter struct {
	n     byte
	total *int
}

func (c *rowCounter) Detect(_ driver.Row, out *driver.Result) {
	c.n++
	*c.total = int(c.n)
	out.Judge(0, driver.KindNone)
}

func (c *rowCounter) MarshalBinary() ([]byte, error) { return []byte{c.n}, nil }

func (c *rowCounter) UnmarshalBinary(data []byte) error {
	c.n = data[0]
	return nil
}

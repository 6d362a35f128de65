// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// counting is a detector that takes its time, for a reading and for its state, which is the number of readings and how
// often it was saved.
type counting struct {
	saved          int // times
	n              int
	reading, state time.Duration
	hang           chan struct{} // judging waits for it; nil: does not
}

func (c *counting) Detect(_ driver.Row, out *driver.Result) {
	if c.hang != nil && c.n > 0 {
		<-c.hang
	}
	<-time.After(c.reading)
	c.n++
	out.Judge(0, driver.KindNone)
}

func (c *counting) MarshalBinary() ([]byte, error) {
	<-time.After(c.state)
	c.saved++
	return fmt.Append(nil, c.n, " ", c.saved), nil
}

func (c *counting) UnmarshalBinary([]byte) error { return nil }

func countingDriver(name string, d counting) driver.Factory {
	return driver.NewFactory(driver.Info{Name: name}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { own := d; return &own, nil })
}

// snapshotter is an adapter that takes a snapshot every ten seconds of a clock that tests move.
func snapshotter(t *testing.T, options map[string]any, factories ...driver.Factory) *Adapter {
	t.Helper()
	all := map[string]any{"lanes": 1, "snapshot": "10s", "hang": "1h"}
	maps.Copy(all, options)
	a, err := New(admethod.AdapterSettings{
		Drivers: driver.NewRegistry(factories...), Hooks: new(admethod.Hooks), StateDir: t.TempDir(), Options: all,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return a
}

func openStream(t *testing.T, a *Adapter, tenant, property, detector string) admethod.Stream {
	t.Helper()
	s, err := a.Open(admethod.StreamSettings{
		Members: []driver.Member{{Key: driver.Key{Namespace: tenant, Device: "d", Property: property}}},
		Config:  admethod.ADMethodConfig{Detector: detector, Threshold: driver.DefaultThreshold}, Tenant: tenant,
		Deliver: func(*driver.Result, driver.Row) {}, Dropped: func(int) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// kept is the state that the file has of a stream: the number of readings, and how often it was saved until then.
func kept(t *testing.T, a *Adapter, id string) (readings, saved string) {
	t.Helper()
	dir := a.store.(*directory)
	records, err := dir.read(dir.path(1, ".snapshot"), time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	readings, saved, _ = strings.Cut(string(records[id].State), " ")
	return readings, saved
}

// A lane that is busy delays the snapshot of its own streams alone, and these keep the one before.
func TestSnapshotOfABusyLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		a := snapshotter(t, nil, countingDriver("hangs", counting{hang: hang}), countingDriver("calm", counting{}))
		hangs, calm := openStream(t, a, "one", "p", "hangs"), openStream(t, a, "two", "p", "calm")
		row := driver.Row{{At: time.Now()}}
		hangs.TrySubmit(row)
		calm.TrySubmit(row)
		<-time.After(11 * time.Second)
		hangs.TrySubmit(row) // from here on the lane is busy
		for range 5 {
			calm.TrySubmit(row)
			<-time.After(10 * time.Second)
		}
		if got, _ := kept(t, a, "two/d/p"); got < "4" {
			t.Errorf("of the calm one %q readings are kept, want 4 or 5", got)
		}
		if got, _ := kept(t, a, "one/d/p"); got != "1" {
			t.Errorf("of the one whose lane is busy %q readings are kept, want those before, 1", got)
		}
		close(hang)
		if err := a.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := kept(t, a, "one/d/p"); got != "2" {
			t.Errorf("in the end %q readings are kept, want 2", got)
		}
	})
}

// Under more readings than can be judged, and states that take long to write, each stream is saved within three periods.
func TestSnapshotUnderSaturation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := snapshotter(t, map[string]any{"queue": 1000}, countingDriver("heavy", counting{reading: 200 * time.Millisecond, state: 2 * time.Second}))
		streams := make([]admethod.Stream, 8)
		for i := range streams {
			streams[i] = openStream(t, a, "one", fmt.Sprint(i), "heavy")
		}
		feed := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
				for _, s := range streams {
					s.TrySubmit(driver.Row{{At: time.Now()}})
				}
			}
		}
		feed(45 * time.Second) // to look between two snapshots
		before := make([]string, len(streams))
		for round := range 5 {
			for i := range streams {
				_, now := kept(t, a, fmt.Sprintf("one/d/%d", i))
				if now == "" || now == before[i] {
					t.Errorf("round %d: stream %d was not saved within three periods: saved %q times", round, i, now)
				}
				before[i] = now
			}
			feed(30 * time.Second)
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

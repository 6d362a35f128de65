// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
)

// passed is a store from which another process goes on: what is saved is written, and read anew when it is loaded.
type passed struct {
	data []byte
	runs int64
}

func (*passed) Open()          {}
func (*passed) Close() error   { return nil }
func (*passed) String() string { return "memory" }
func (p *passed) Load(retain time.Duration) (map[string]inprocess.Record, int64, error) {
	p.runs++
	all, err := inprocess.DecodeRecords(p.data, time.Now(), retain)
	return all, p.runs, err
}

func (p *passed) Save(records []inprocess.Record, missing map[string]struct{}, now time.Time, _ time.Duration) error {
	if len(missing) > 0 {
		return fmt.Errorf("%d streams are missing", len(missing))
	}
	p.data = nil
	for i := range records {
		var err error
		if p.data, err = inprocess.AppendRecord(p.data, &records[i], now); err != nil {
			return err
		}
	}
	return nil
}

// entry is one of a log: readings, and when they were taken into it.
type entry struct {
	at       time.Time
	readings []source.Reading
}

// told is what the log is judged to be, by intakes each of which goes on where the one before stopped: before the entries
// of the numbers.
func told(tb testing.TB, c intake.Config, log []entry, stops []int) (all []string) {
	tb.Helper()
	stopped := false // what is told of the end is of nobody's concern: somebody goes on
	c.Driven, c.Told = true, func(r *driver.Result) {
		if !stopped {
			all = append(all, fmt.Sprintf("%+v", *r))
		}
	}
	store := new(passed)
	var fed []intake.Fed
	var now, resumed int64
	from := 0
	for _, to := range append(slices.Clone(stops), len(log)) {
		var adapter *inprocess.Adapter
		c.Adapters = new(admethod.AdapterRegistry)
		c.Adapters.Register(inprocess.Name, inprocess.FactoryWith(store, func(a *inprocess.Adapter) { adapter = a }))
		in, err := intake.New(c)
		if err != nil {
			tb.Fatal(err)
		}
		stopped = false
		err = in.Run(tb.Context(), func(ctx context.Context) error {
			in.SetTime(now, resumed)
			f, err := in.Feed(in.Client("log", []string{"*"}, intake.Limits{Rate: -1}))
			if err != nil {
				return err
			}
			defer f.Close(ctx)
			if err := f.Restore(fed); err != nil { //nolint:contextcheck // a series outlives what opens it
				return err
			}
			for _, e := range log[from:to] {
				if err := in.Advance(ctx, e.at); err != nil {
					return err
				}
				if err := f.Take(ctx, e.readings); err != nil {
					tb.Log(err)
				}
				if err := in.Flush(ctx); err != nil {
					return err
				}
			}
			fed = f.Fed()
			now, resumed = in.Time()
			stopped = true
			if adapter != nil {
				return adapter.Save(ctx)
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
		from = to
	}
	return all
}

// plantLog is a log of properties with faults: outliers, levels, silences, repeats, texts, members of a group, an entry
// without readings now and then, and a time in which nobody wrote.
func plantLog(seed uint64, entries int) (log []entry) {
	random := rand.New(rand.NewPCG(seed, 1))
	names := []string{"alone", "noisy", "word", "room-a", "room-b", "silent"}
	about := map[string]*source.Property{"word": {DataType: "string"}, "silent": {Cycle: time.Second}}
	var last source.Reading
	now := began
	for i := range entries {
		now = now.Add(time.Second)
		if i == entries/2 {
			now = now.Add(time.Minute)
		}
		e := entry{at: now}
		for j, name := range names {
			r := at(name, 0, 20+3*math.Sin(float64(i)/7+float64(j))+random.NormFloat64()*0.2)
			r.At, r.Property = now.Add(-time.Duration(random.IntN(100))*time.Millisecond), about[name]
			switch {
			case name == "word":
				r.Value, r.Text = 0, []string{"open", "closed", "ajar"}[min(random.IntN(40), 2)]
			case name == "silent" && i%150 > 100:
				continue
			case random.IntN(60) == 0:
				r.Value += 50
			case random.IntN(80) == 0:
				r.Value = math.NaN()
			case i%200 > 170 && name == "noisy":
				r.Value += 9
			}
			e.readings = append(e.readings, r)
			if random.IntN(50) == 0 {
				e.readings = append(e.readings, last)
			}
			last = r
		}
		if i%17 == 0 {
			e.readings = nil
		}
		log = append(log, e)
	}
	return slices.DeleteFunc(log, func(e entry) bool { return len(e.readings) > 0 && e.readings[0].At.IsZero() })
}

// Whoever goes on where another stopped says what that would have said, to the bit.
func TestDrivenIntakeGoesOnExactly(t *testing.T) {
	entries := 700
	if testing.Short() {
		entries = 400
	}
	for seed, detector := range []string{"auto", "ewma"} {
		t.Run(detector, func(t *testing.T) {
			c := intake.Config{
				Defaults: map[string]any{"detector": detector, "heartbeat": "10s"},
				Routes:   []intake.Route{{Property: "room-*", Settings: map[string]any{"group": "room", "detector": "autogroup"}}},
			}
			log := plantLog(uint64(seed), entries)
			want := told(t, c, log, nil)
			var stops []int
			for stop := 3; stop < len(log); stop += 1 + (stop*7)%41 {
				stops = append(stops, stop)
			}
			if diff := cmp.Diff(want, told(t, c, log, stops)); diff != "" {
				t.Errorf("with %d stops, of %d verdicts: %s", len(stops), len(want), diff[:min(len(diff), 4000)])
			}
			if len(want) < entries/3 {
				t.Errorf("%d verdicts in %d entries: the log shows nothing", len(want), entries)
			}
		})
	}
}

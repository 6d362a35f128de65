// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func signalNamed(t *testing.T, name string) *Signal {
	t.Helper()
	i := slices.IndexFunc(Signals, func(s Signal) bool { return s.Name == name })
	if i < 0 {
		t.Fatalf("no signal %q", name)
	}
	return &Signals[i]
}

func TestSuiteIsComplete(t *testing.T) {
	for _, f := range Faults {
		if f.Doc == "" || len(f.Kinds) == 0 || f.Readings[""] == 0 || (f.effect == nil) == (f.deliver == nil) {
			t.Errorf("fault %q is not complete: %+v", f.Name, f)
		}
		for _, name := range f.Signals {
			signalNamed(t, name)
		}
		for name := range f.Also {
			if !slices.Contains(f.Signals, name) {
				t.Errorf("fault %q has kinds for %q, which it does not have", f.Name, name)
			}
		}
	}
}

// Signals are what their descriptions say.
func TestSignals(t *testing.T) {
	const n = 10 * day
	for name, want := range map[string]struct{ low, high, levels float64 }{
		"constant":   {21.5, 21.5, 1},
		"noisy":      {44, 56, 0},
		"seasonal":   {13, 27, 0},
		"binary":     {0, 1, 2},
		"counter":    {0, 20_000, 0},
		"multi-mode": {5, 85, 0},
	} {
		next := signalNamed(t, name).make(rand.New(rand.NewPCG(1, 1)))
		low, high := math.Inf(1), math.Inf(-1)
		levels := make(map[float64]bool)
		for range n {
			v := next(noEffect)
			low, high = min(low, v), max(high, v)
			levels[v] = true
		}
		if low < want.low-1e-9 || high > want.high+1e-9 {
			t.Errorf("%s ranges from %v to %v, want %v to %v", name, low, high, want.low, want.high)
		}
		if want.levels > 0 && float64(len(levels)) != want.levels || want.levels == 0 && len(levels) < 500 {
			t.Errorf("%s has %d levels", name, len(levels))
		}
	}
}

func TestEpisodes(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	for i := range Faults {
		f := &Faults[i]
		for _, name := range f.Signals {
			t.Run(f.Name+"/"+name, func(t *testing.T) {
				s := signalNamed(t, name)
				ep := newEpisode(s, f, 1, 0)
				again := newEpisode(s, f, 1, 0)
				if diff := cmp.Diff(ep.readings, again.readings); diff != "" {
					t.Errorf("equal seeds give different episodes:\n%s", diff)
				}
				if other := newEpisode(s, f, 2, 0); len(other.readings) == len(ep.readings) && other.begin == ep.begin {
					t.Error("another seed gives the same episode")
				}
				if ep.begin < training+day || ep.begin > training+2*day+20 || ep.end < ep.begin || len(ep.readings) != ep.end+grace {
					t.Fatalf("fault from %d to %d of %d readings", ep.begin, ep.end, len(ep.readings))
				}
				for i, r := range ep.readings {
					if math.IsNaN(r.Value) {
						t.Fatalf("reading %d is not a number", i)
					}
					// All is well before the fault: in order, none missing.
					if i > 0 && i < ep.begin {
						if d := r.At.Sub(ep.readings[i-1].At); d < 58*time.Second || d > 62*time.Second {
							t.Fatalf("reading %d comes %v after the one before", i, d)
						}
					}
				}
			})
		}
	}
}

// Faults of delivery do what they say to twenty readings.
func TestDelivery(t *testing.T) {
	at := func(i int) time.Time { return time.Unix(int64(60*i), 0) }
	source := make([]dataset.Reading, 20)
	for i := range source {
		source[i] = dataset.Reading{At: at(i), Value: float64(i)}
	}
	for seed := range uint64(50) {
		spoil := func(f func([]dataset.Reading, *rand.Rand) ([]dataset.Reading, int)) ([]dataset.Reading, int) {
			return f(slices.Clone(source), rand.New(rand.NewPCG(seed, 0)))
		}
		if got, first := spoil(lose); len(got) >= len(source) || first != 0 || len(got) > 0 && got[0] == source[0] {
			t.Errorf("seed %d: of %d readings %d are left, from %d on", seed, len(source), len(got), first)
		}
		got, _ := spoil(delay)
		for i := 1; i < len(got); i++ {
			if d := got[i].At.Sub(got[i-1].At); d < 90*time.Second || d > 150*time.Second {
				t.Errorf("seed %d: a late reading after %v", seed, d)
			}
		}
		got, first := spoil(repeat)
		if len(got) != 2*len(source) || !slices.Contains(got[:first], got[first]) {
			t.Errorf("seed %d: %d readings, the one at %d is no repeat", seed, len(got), first)
		}
		for i := range first {
			if slices.Contains(got[:i], got[i]) {
				t.Errorf("seed %d: repeats begin at %d, before %d", seed, i, first)
			}
		}
		got, first = spoil(shuffle)
		if slices.Equal(got, source) || !slices.Equal(got[:first], source[:first]) || got[first] == source[first] {
			t.Errorf("seed %d: not shuffled from %d on: %v", seed, first, got)
		}
		slices.SortFunc(got, func(a, b dataset.Reading) int { return a.At.Compare(b.At) })
		if !slices.Equal(got, source) {
			t.Errorf("seed %d: shuffling changed the readings", seed)
		}
	}
}

func options(tb testing.TB, f driver.Factory) Options {
	tb.Helper()
	c, err := admethod.ParseSettings(map[string]any{"detector": f.Info().Name})
	if err != nil {
		tb.Fatal(err)
	}
	return Options{Config: c, Drivers: driver.NewRegistry(f), Seed: 1, Episodes: 3}
}

// over says that what is over the limit is of the given kind.
func over(limit float64, kind driver.Kind) driver.Factory {
	return drivertest.Func("over", func(row driver.Row, out *driver.Result) {
		if math.Abs(row[0].Value-50) > limit {
			out.Judge(1, kind)
		} else {
			out.Judge(0, driver.KindNone)
		}
	})
}

func TestRunCounts(t *testing.T) {
	for name, c := range map[string]struct {
		detector            driver.Factory
		detected, rightKind int
		delay               int
		alarms              bool
	}{
		"right":      {over(6, driver.KindSpike), 3, 3, 0, false},
		"wrong kind": {over(6, driver.KindFreeze), 3, 0, 0, false},
		"blind":      {over(1000, driver.KindSpike), 0, 0, -1, false},
		"nervous":    {over(2.5, driver.KindSpike), 3, 3, 0, true}, // one normal reading in 80, and the two after it
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, c.detector)
			o.Faults, o.Signals = []string{"spike"}, []string{"noisy"}
			cells, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if len(cells) != 1 || cells[0].Fault != "spike" || cells[0].Signal != "noisy" {
				t.Fatalf("cells are %+v", cells)
			}
			got := cells[0].Tally
			if got.Episodes != 3 || got.Detected != c.detected || got.RightKind != c.rightKind || got.MedianDelay() != c.delay {
				t.Errorf("got %+v, want %d detected, %d of the right kind, after %d", got, c.detected, c.rightKind, c.delay)
			}
			if got.Normal < 3*day || got.Normal > 6*day {
				t.Errorf("%d normal readings", got.Normal)
			}
			rate := got.ReadingRate()
			if c.alarms && (rate < 150 || rate > 600 || got.AlarmRate() > rate) || !c.alarms && rate > 0 {
				t.Errorf("%v false readings and %v false alarms in 10,000", rate, got.AlarmRate())
			}
		})
	}
}

// Faults of delivery are the quality stage's to find, whatever the detector.
func TestQualityStageIsMeasuredToo(t *testing.T) {
	o := options(t, over(1000, driver.KindSpike))
	o.Faults, o.Signals = []string{"duplicate", "out of order"}, []string{"constant"}
	cells, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cells {
		if c.Detected != c.Episodes || c.RightKind != c.Episodes || c.FalseReading > 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestRunEndsWithItsContextAndWithFailures(t *testing.T) {
	o := options(t, drivertest.Panics(100))
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("error is %v, want one that tells of the panic", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, options(t, over(6, driver.KindSpike))); err == nil {
		t.Error("no error though the context has ended")
	}
	o.Faults, o.Signals, o.Episodes = []string{"flood"}, []string{"morse"}, 0
	_, err := Run(t.Context(), o)
	for _, part := range []string{`"flood"`, `"morse"`, "episodes: got 0"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error is %v, want one that says %s", err, part)
		}
	}
}

func ExampleTally() {
	var t Tally
	t.Add(&Tally{Episodes: 1, Detected: 1, RightKind: 1, Delays: []int{4}, Normal: 5000, FalseAlarms: 1, FalseReading: 3})
	t.Add(&Tally{Episodes: 1, Detected: 1, Delays: []int{10}, Normal: 5000})
	t.Add(&Tally{Episodes: 2, Normal: 10000})
	fmt.Println(t.Recall(), t.KindShare(), t.MedianDelay(), t.AlarmRate(), t.ReadingRate())
	// Output: 0.5 0.5 4 0.5 1.5
}

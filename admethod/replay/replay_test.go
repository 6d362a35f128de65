// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// echo is a detector whose score is the reading, so that each outcome tells whose it is.
func echo() driver.Factory {
	return drivertest.Func("echo", func(row driver.Row, out *driver.Result) {
		out.Expected = row[0].Value
		if row[0].Value >= 0 {
			out.Judge(row[0].Value, driver.KindSpike)
		}
	})
}

func configured(tb testing.TB, settings map[string]any) admethod.ADMethodConfig {
	tb.Helper()
	c, err := admethod.ParseSettings(settings)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func open(tb testing.TB, f driver.Factory, settings map[string]any) *replay.Stream {
	tb.Helper()
	settings["detector"] = f.Info().Name
	s, err := replay.Open(tb.Context(), replay.Options{
		Config: configured(tb, settings), Drivers: driver.NewRegistry(f), Meta: admethod.Meta{DataType: "double", Cycle: time.Minute},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestOutcomesBelongToTheirReadings(t *testing.T) {
	s := open(t, echo(), map[string]any{"clear": 1})
	minute := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	s.Observe(minute(0), 0.1)
	s.Observe(minute(0), 0.1) // again
	s.Observe(minute(1), 0.96)
	s.Observe(minute(0), 0.3) // late for its place
	s.Observe(minute(2), math.NaN())
	s.ObserveAny(minute(3), "0.4")
	s.ObserveAny(minute(4), "closed")
	s.ObserveAny(minute(5), nil)
	s.Observe(minute(6), -1) // the detector has nothing to say
	s.Observe(minute(7), 1)
	if s.Len() != 10 {
		t.Errorf("%d readings wait, want 10", s.Len())
	}
	got, err := s.Drain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	of := func(score float64, severity driver.Severity, kind driver.Kind) replay.Outcome {
		return replay.Outcome{Score: score, Severity: severity, Kind: kind, Expected: score, Lower: nan, Upper: nan}
	}
	want := []replay.Outcome{
		of(0.1, driver.Normal, ""),
		of(nan, driver.Unknown, driver.KindDuplicate),
		of(0.96, driver.Warning, driver.KindSpike),
		of(nan, driver.Unknown, driver.KindOutOfOrder),
		of(nan, driver.Unknown, driver.KindInvalid),
		of(0.4, driver.Normal, ""),
		of(nan, driver.Unknown, driver.KindInvalid),
		// The third invalid reading of a few makes a fault of the readings, which stands beside the detector's verdict.
		of(nan, driver.Warning, driver.KindInvalid),
		{Score: nan, Severity: driver.Warning, Kind: driver.KindInvalid, Expected: -1, Lower: nan, Upper: nan},
		of(1, driver.Critical, driver.KindSpike),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(replay.Outcome{}, "Onset", "Incident"), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s.Len() != 0 {
		t.Errorf("%d readings wait after a drain", s.Len())
	}
}

// However many readings are handed in between two drains, and whatever is held back, each has its own outcome.
func TestBatchesDoNotMatter(t *testing.T) {
	readings := make([]dataset.Reading, 3*replay.MaxBatch+7)
	for i := range readings {
		readings[i] = dataset.Reading{At: start.Add(time.Duration(i) * time.Minute), Value: float64(i%1000) / 2000}
		if i%10 == 9 {
			readings[i] = readings[i-1]
		}
	}
	options := replay.Options{
		Config:  configured(t, map[string]any{"detector": "echo", "quality.persist": 1000}),
		Drivers: driver.NewRegistry(echo()),
	}
	n := 0
	err := replay.Run(t.Context(), options, readings, func(i int, o *replay.Outcome) {
		if i != n {
			t.Fatalf("outcome %d comes as number %d", i, n)
		}
		n++
		switch {
		case i%10 == 9:
			if o.Kind != driver.KindDuplicate || !math.IsNaN(o.Score) {
				t.Fatalf("reading %d, a repeat: %+v", i, o)
			}
		case o.Score != readings[i].Value:
			t.Fatalf("reading %d has score %v, want %v", i, o.Score, readings[i].Value)
		}
	})
	if err != nil || n != len(readings) {
		t.Errorf("%d outcomes of %d readings, error %v", n, len(readings), err)
	}
}

func TestFailuresAreErrors(t *testing.T) {
	s := open(t, drivertest.Panics(3), map[string]any{})
	for i := range 10 {
		s.Observe(start.Add(time.Duration(i)*time.Minute), 1)
	}
	if _, err := s.Drain(t.Context()); err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("error is %v, want one that tells of the panic", err)
	}
	for name, settings := range map[string]map[string]any{
		"detector": {"detector": "nobody"}, "adapter": {"adMethodName": "pigeon", "detector": "echo"},
	} {
		_, err := replay.Open(t.Context(), replay.Options{Config: configured(t, settings), Drivers: driver.NewRegistry(echo())})
		if err == nil || !strings.Contains(err.Error(), "unknown "+name) {
			t.Errorf("error is %v, want one on the %s", err, name)
		}
	}
}

// What outcomes tell of an incident is gathered by its identifier.
func TestIncidents(t *testing.T) {
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	var all replay.Incidents
	one := driver.Incident{ID: 7, Phase: driver.Began, Start: at(1), Severity: driver.Warning, Kind: driver.KindSpike}
	two := driver.Incident{ID: 9, Phase: driver.Began, Start: at(2)}
	worse := one
	worse.Phase, worse.Severity, worse.Kind = driver.Lasts, driver.Critical, driver.KindLevel
	over := worse
	over.Phase, over.End = driver.NewNormal, at(3)
	var began []bool
	for i, told := range []driver.Incident{{}, one, two, worse, over, {}} {
		began = append(began, all.Add(at(i), told))
	}
	two.End = at(2) // so far
	want := []replay.Incident{{Incident: over, First: 1, Readings: 2}, {Incident: two, First: 2, Readings: 1}}
	if diff := cmp.Diff(want, all.Done); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(began, []bool{false, true, true, false, false, false}) {
		t.Errorf("heard of first: %v", began)
	}
}

func ExampleRun() {
	config, err := admethod.ParseSettings(map[string]any{"detector": "echo"})
	if err != nil {
		fmt.Println(err)
		return
	}
	readings := []dataset.Reading{
		{At: start, Value: 0.2},
		{At: start.Add(time.Minute), Value: 0.97},
	}
	options := replay.Options{Config: config, Drivers: driver.NewRegistry(echo())}
	err = replay.Run(context.Background(), options, readings, func(i int, o *replay.Outcome) {
		fmt.Printf("%d %v %v %q\n", i, o.Score, o.Severity, o.Kind)
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 0 0.2 normal ""
	// 1 0.97 warning "spike"
}

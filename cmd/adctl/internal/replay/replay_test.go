// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/replay"
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
	if diff := cmp.Diff(want, got, cmpopts.EquateNaNs()); diff != "" {
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

func TestAlerts(t *testing.T) {
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	var alerts replay.Alerts
	for i := range 60 {
		o := replay.Outcome{Score: 0.1, Severity: driver.Normal}
		switch i {
		case 5:
			o = replay.Outcome{Score: math.NaN(), Severity: driver.Warning, Kind: driver.KindMissing}
		case 6, 16: // ten others between them
			o = replay.Outcome{Score: 0.96, Severity: driver.Warning, Kind: driver.KindSpike}
		case 7:
			o = replay.Outcome{Score: 1, Severity: driver.Critical, Kind: driver.KindSpike}
		case 28, 40: // eleven others between them
			o = replay.Outcome{Score: math.NaN(), Severity: driver.Warning, Kind: driver.KindLate}
		}
		alerts.Add(at(i), &o)
	}
	want := []replay.Alert{
		{First: 5, Last: 16, Begin: at(5), End: at(16), Readings: 4, Severity: driver.Critical, Score: 1, Kind: driver.KindSpike},
		{First: 28, Last: 28, Begin: at(28), End: at(28), Readings: 1, Severity: driver.Warning, Score: math.NaN(), Kind: driver.KindLate},
		{First: 40, Last: 40, Begin: at(40), End: at(40), Readings: 1, Severity: driver.Warning, Score: math.NaN(), Kind: driver.KindLate},
	}
	if diff := cmp.Diff(want, alerts.Done, cmpopts.EquateNaNs(), cmpopts.IgnoreUnexported(replay.Alert{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
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

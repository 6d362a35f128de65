// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// sum judges a row by the sum of its values, and blames the members from the second on, the last first.
func sum(members int) driver.Factory {
	type config struct{}
	return driver.NewFactory(driver.Info{Name: "sum", Members: members}, func() config { return config{} },
		func(driver.Settings, config) (driver.Detector, error) { return sumDetector{}, nil })
}

type sumDetector struct{}

func (sumDetector) Detect(row driver.Row, out *driver.Result) {
	total := 0.0
	for i := range row {
		total += row[i].Value
	}
	if out.Judge(total, driver.KindCorrelation); out.Severity.Anomalous() {
		for i := len(row) - 1; i > 0; i-- {
			out.Causes = append(out.Causes, driver.Cause{Key: row[i].Key, Weight: 0.5})
		}
	}
}

func openGroup(t *testing.T, f driver.Factory, settings map[string]any, names ...string) *replay.Group {
	t.Helper()
	settings["detector"] = f.Info().Name
	o := replay.GroupOptions{Config: configured(t, settings), Drivers: driver.NewRegistry(f)}
	for _, name := range names {
		o.Members = append(o.Members, replay.Member{Name: name})
	}
	g, err := replay.OpenGroup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return g
}

// cells are numbers; NaN is a missing one.
func cells(values ...float64) []input.Cell {
	out := make([]input.Cell, len(values))
	for i, v := range values {
		out[i] = input.Cell{Value: v, Missing: math.IsNaN(v)}
	}
	return out
}

var nan = math.NaN()

// Whatever members lack a reading, each verdict is on the row that it is returned for.
func TestRowsStayAligned(t *testing.T) {
	row := func(score float64) replay.RowOutcome { return replay.RowOutcome{Score: score, Severity: driver.Normal} }
	lacks := func(kind driver.Kind, names ...string) replay.RowOutcome {
		return replay.RowOutcome{Score: nan, Kind: kind, Blamed: names}
	}
	for name, c := range map[string]struct {
		values [][]float64 // of the members c, a, b
		want   []replay.RowOutcome
	}{
		"complete":              {[][]float64{{0.1, 0, 0}, {0.2, 0, 0}}, []replay.RowOutcome{row(0.1), row(0.2)}},
		"the first lacks":       {[][]float64{{0.1, 0.2, 0.3}, {nan, 0.3, 0.4}, {0, 0.1, 0}}, []replay.RowOutcome{row(0.6), row(0.8), row(0.1)}},
		"the second lacks":      {[][]float64{{0.1, 0.2, 0.3}, {0.1, nan, 0.1}, {0, 0.1, 0}}, []replay.RowOutcome{row(0.6), row(0.4), row(0.1)}},
		"the last lacks":        {[][]float64{{0.1, 0.2, 0.3}, {0.1, 0.1, nan}, {0, 0.1, 0}}, []replay.RowOutcome{row(0.6), row(0.5), row(0.1)}},
		"one lacks for long":    {[][]float64{{0.1, 0.2, 0.3}, {nan, 0, 0}, {nan, 0.1, 0}, {0.2, 0.1, 0}}, []replay.RowOutcome{row(0.6), row(0.1), row(0.2), row(0.3)}},
		"others lack next":      {[][]float64{{0.1, 0.2, 0.3}, {nan, 0, 0}, {0.1, nan, 0}, {0.2, 0.1, 0}}, []replay.RowOutcome{row(0.6), row(0.1), row(0.1), row(0.3)}},
		"nobody is in both":     {[][]float64{{0.1, 0.2, 0.3}, {nan, 0, 0}, {0.3, nan, nan}, {0.2, 0.1, 0}}, []replay.RowOutcome{row(0.6), lacks(driver.KindMissing, "c"), row(0.3), row(0.3)}},
		"an empty row":          {[][]float64{{0.1, 0.2, 0.3}, {nan, nan, nan}, {0.2, 0.1, 0}}, []replay.RowOutcome{row(0.6), lacks(driver.KindMissing, "c", "a", "b"), row(0.3)}},
		"a member joins late":   {[][]float64{{0.1, nan, 0.3}, {0.1, nan, 0.3}, {0.2, 0.1, 0}, {0.1, 0, 0}}, []replay.RowOutcome{lacks(driver.KindMissing, "a"), lacks(driver.KindMissing, "a"), row(0.3), row(0.1)}},
		"the last row lacks":    {[][]float64{{0.1, 0.2, 0.3}, {0.2, nan, 0}}, []replay.RowOutcome{row(0.6), lacks(driver.KindMissing, "a")}},
		"everybody is infinite": {[][]float64{{0.1, 0.2, 0.3}, {math.Inf(1), math.Inf(1), math.Inf(1)}, {0.2, 0, 0}}, []replay.RowOutcome{row(0.6), lacks(driver.KindInvalid), row(0.2)}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, batch := range []int{1, 2, 100} {
				g := openGroup(t, sum(8), map[string]any{}, "c", "a", "b")
				var got []replay.RowOutcome
				for i, values := range c.values {
					g.Observe(start.Add(time.Duration(i)*time.Minute), cells(values...))
					last := i == len(c.values)-1
					if i%batch < batch-1 && !last {
						continue
					}
					outcomes, err := g.Drain(t.Context(), last)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, outcomes...)
				}
				if diff := cmp.Diff(c.want, got, judgement, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-12)); diff != "" {
					t.Errorf("in batches of %d (-want +got):\n%s", batch, diff)
				}
			}
		})
	}
}

func TestRowsNameTheBlamed(t *testing.T) {
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Minute) }
	g := openGroup(t, sum(8), map[string]any{"mute": "00:02-00:03", "clear": 1}, "c", "a", "b")
	for i, v := range []float64{0.97, 0.1, 0.97, 1} {
		g.Observe(at(i), cells(v, 0, 0))
	}
	g.Observe(at(3), cells(1, 0, 0)) // again
	got, err := g.Drain(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	want := []replay.RowOutcome{
		// Rows have their members sorted by name.
		{Score: 0.97, Severity: driver.Warning, Kind: driver.KindCorrelation, Blamed: []string{"c", "b"}},
		{Score: 0.1, Severity: driver.Normal},
		{Score: 0.97, Severity: driver.Normal}, // in a maintenance window
		{Score: 1, Severity: driver.Critical, Kind: driver.KindCorrelation, Blamed: []string{"c", "b"}},
		{Score: nan, Kind: driver.KindDuplicate},
	}
	if diff := cmp.Diff(want, got, judgement, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGroupFailuresAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		settings map[string]any
		want     string
	}{
		"too many members": {map[string]any{}, "member"},
		"each":             {map[string]any{"rows.evaluate": "each"}, "want cycle"},
		"no such detector": {map[string]any{"detector": "nobody"}, "unknown detector"},
	} {
		settings := c.settings
		if settings["detector"] == nil {
			settings["detector"] = "sum"
		}
		_, err := replay.OpenGroup(t.Context(), replay.GroupOptions{
			Config: configured(t, settings), Drivers: driver.NewRegistry(sum(1)),
			Members: []replay.Member{{Name: "a"}, {Name: "b"}},
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one that says %q", name, err, c.want)
		}
	}
}

// judgement leaves the rest of an outcome aside.
var judgement = cmpopts.IgnoreFields(replay.RowOutcome{}, "Onset", "Expected", "Lower", "Upper", "Incident")

// A group's rows tell of incidents as the readings of a property do.
func TestRowsTellOfIncidents(t *testing.T) {
	g := openGroup(t, sum(8), map[string]any{"clear": 2}, "c", "a", "b")
	values := []float64{0.1, 0.97, 0.1, 0.97, 0.1, 0.1, 0.1}
	for i, v := range values {
		g.Observe(start.Add(time.Duration(i)*time.Minute), cells(v, 0, 0))
	}
	got, err := g.Drain(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	phases := []driver.Phase{0, driver.Began, driver.Lasts, driver.Lasts, driver.Lasts, driver.Returned, 0}
	onsets := []float64{0.1, 0.97, 0, 0, 0, 0, 0.1}
	for i, o := range got {
		open := phases[i].Open()
		if o.Incident.Phase != phases[i] || o.Severity.Anomalous() != open || (o.Kind != "") != open || (len(o.Blamed) > 0) != open {
			t.Errorf("row %d: %+v, want phase %v", i, o, phases[i])
		}
		if math.Abs(o.Onset-onsets[i]) > 1e-9 && phases[i] != driver.Returned {
			t.Errorf("row %d: onset %v, want %v", i, o.Onset, onsets[i])
		}
	}
}

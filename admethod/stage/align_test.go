// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// What the readings of two members, a and b, at given seconds, become.
func TestRows(t *testing.T) {
	tests := []struct {
		name   string
		each   bool
		maxAge time.Duration
		read   string // a member a byte, a second each; a dot is a second without a reading
		want   []string
	}{
		{"in turn, in any order", false, 0, "abba", []string{"a0 b1", "a3 b2"}},
		{"one comes round first: the other's last reading stands for it", false, time.Minute, "abaab", []string{"a0 b1", "a2 b1*", "a3 b4"}},
		{"each reading makes a row", true, time.Minute, "aba", []string{"stale 1", "a0* b1", "a2 b1*"}},
		{"nothing of a member yet", false, 0, "aa", []string{"stale 1"}},
		{"too old", false, 2 * time.Second, "ab..aa", []string{"a0 b1", "stale 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			slots := []stage.Slot{{Key: driver.Key{Property: "a"}, Each: tt.each}, {Key: driver.Key{Property: "b"}, Each: tt.each}}
			rows := stage.NewRows(slots, tt.maxAge, nil, func(row driver.Row, stale int) {
				if stale >= 0 {
					got = append(got, fmt.Sprint("stale ", stale))
					return
				}
				var parts []string
				for _, s := range row {
					held := map[bool]string{true: "*"}[s.Flags&driver.Held != 0]
					parts = append(parts, fmt.Sprint(s.Key.Property, s.Value, held))
				}
				got = append(got, strings.Join(parts, " "))
			})
			for i, c := range []byte(tt.read) {
				if c == '.' {
					continue
				}
				rows.Observe(int(c-'a'), &driver.Sample{
					Key: slots[c-'a'].Key, At: time.Unix(int64(i+1), 0), Value: float64(i),
				})
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A member that joins later leaves the readings of the others as they were.
func TestRowsOutliveAChangeOfMembers(t *testing.T) {
	var got []float64
	a, b, c := stage.Slot{Key: driver.Key{Property: "a"}}, stage.Slot{Key: driver.Key{Property: "b"}}, stage.Slot{Key: driver.Key{Property: "c"}}
	emit := func(row driver.Row, stale int) {
		for _, s := range row {
			got = append(got, s.Value)
		}
		if stale >= 0 {
			t.Errorf("slot %d is stale", stale)
		}
	}
	at := time.Unix(100, 0)
	old := stage.NewRows([]stage.Slot{a, c}, 0, nil, func(driver.Row, int) {})
	old.Observe(0, &driver.Sample{Key: a.Key, At: at, Value: 1})
	old.Observe(1, &driver.Sample{Key: c.Key, At: at, Value: 3})
	rows := stage.NewRows([]stage.Slot{a, b, c}, 0, old, emit)
	rows.Observe(1, &driver.Sample{Key: b.Key, At: at, Value: 2})
	rows.Observe(1, &driver.Sample{Key: b.Key, At: at.Add(time.Second), Value: 4})
	if want := []float64{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("row %v, want %v", got, want)
	}
}

// A group's verdict goes to whom it blames.
func TestShare(t *testing.T) {
	a, b := driver.Key{Device: "d", Property: "a"}, driver.Key{Device: "d", Property: "b"}
	row := driver.Row{{Key: a, Value: 1}, {Key: b, Value: 2}}
	tests := []struct {
		name   string
		causes []driver.Cause
		a, b   driver.Severity
	}{
		{"nobody is blamed: everybody", nil, driver.Warning, driver.Warning},
		{"one is", []driver.Cause{{Key: b, Weight: 1}}, driver.Normal, driver.Warning},
		{"the device is", []driver.Cause{{Key: driver.Key{Device: "d"}, Weight: 1}}, driver.Warning, driver.Warning},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := driver.Result{Threshold: 0.95, Causes: tt.causes}
			r.Reset(row)
			r.Threshold, r.Causes = 0.95, tt.causes
			r.Judge(0.97, driver.KindCorrelation)
			ra, rb := stage.Share(&r, row, 0, a), stage.Share(&r, row, 1, b)
			if ra.Severity != tt.a || rb.Severity != tt.b || ra.Value != 1 || rb.Value != 2 {
				t.Errorf("a %v (%v), b %v (%v); want %v, %v", ra.Severity, ra.Value, rb.Severity, rb.Value, tt.a, tt.b)
			}
		})
	}
}

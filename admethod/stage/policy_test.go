// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"math"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMuteWindows(t *testing.T) {
	// 2026-11-20 is a Friday.
	tests := []struct {
		window string
		at     string
		muted  bool
	}{
		{"22:00-06:00", "2026-11-20 23:00", true},
		{"22:00-06:00", "2026-11-20 05:59", true},
		{"22:00-06:00", "2026-11-20 06:00", false},
		{"22:00-06:00", "2026-11-20 12:00", false},
		{"Sat-Sun", "2026-11-20 23:59", false},
		{"Sat-Sun", "2026-11-21 00:00", true},
		{"saturday", "2026-11-22 00:00", false},
		{"Fri-Mon", "2026-11-23 12:00", true},
		{"Fri-Mon", "2026-11-24 12:00", false},
		{"Fri 22:00-06:00", "2026-11-21 05:00", true}, // began on Friday
		{"Fri 22:00-06:00", "2026-11-20 05:00", false},
		{"Mon-Fri 12:00-12:30", "2026-11-20 12:29", true},
		{"00:00-24:00", "2026-11-20 00:00", true},
	}
	for _, tt := range tests {
		t.Run(tt.window+" at "+tt.at, func(t *testing.T) {
			w, err := parseWindow(tt.window)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse("2006-01-02 15:04", tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.contains(at); got != tt.muted {
				t.Errorf("muted %t, want %t", got, tt.muted)
			}
		})
	}
	for _, wrong := range []string{"", "noon", "25:00-26:00", "Mo 10:00-11:00", "Mon-", "Mon 10:00", "10:00-"} {
		if _, err := parseWindow(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

func TestPolicy(t *testing.T) {
	nan := math.NaN()
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name                          string
		policy                        PolicyConfig
		value, expected, lower, upper float64
		kind                          driver.Kind
		anomalous                     bool
	}{
		{"everything by default", DefaultPolicy(), 10, 20, nan, nan, driver.KindSpike, true},
		{"up: high is anomalous", PolicyConfig{Direction: "up"}, 30, 20, nan, nan, driver.KindSpike, true},
		{"up: low is not", PolicyConfig{Direction: "up"}, 10, 20, nan, nan, driver.KindSpike, false},
		{"down: low is anomalous", PolicyConfig{Direction: "down"}, 10, 20, nan, nan, driver.KindSpike, true},
		{"down: high is not", PolicyConfig{Direction: "down"}, 30, nan, 15, 25, driver.KindSpike, false},
		{"a small deviation", PolicyConfig{MinDeviation: 11}, 30, 20, nan, nan, driver.KindSpike, false},
		{"a large deviation", PolicyConfig{MinDeviation: 9}, 30, 20, nan, nan, driver.KindSpike, true},
		{"no forecast: the direction is unknown", PolicyConfig{Direction: "up", MinDeviation: 100}, 30, nan, nan, nan, driver.KindSpike, true},
		{"up: what stands still is anomalous at any height", PolicyConfig{Direction: "up"}, 10, 20, nan, nan, driver.KindFreeze, true},
		{"what stands still deviates little", PolicyConfig{MinDeviation: 11}, 20.5, 20, nan, nan, driver.KindFreeze, true},
		{"maintenance", PolicyConfig{Mute: []string{"11:00-13:00"}}, 30, 20, nan, nan, driver.KindSpike, false},
		{"maintenance elsewhere", PolicyConfig{Mute: []string{"11:00-13:00"}, Timezone: "Asia/Shanghai"}, 30, 20, nan, nan, driver.KindSpike, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPolicy(&tt.policy)
			if err != nil {
				t.Skip(err) // no time zone data here
			}
			r := driver.Result{Key: driver.Key{Device: "d", Property: "p"}, At: noon, Threshold: 0.95}
			r.Value, r.Expected, r.Lower, r.Upper = tt.value, tt.expected, tt.lower, tt.upper
			r.Judge(0.97, tt.kind)
			new(Incident).Judge(&r, false, p)
			if got := r.Severity.Anomalous(); got != tt.anomalous || r.Score != 0.97 {
				t.Errorf("anomalous %t, score %v; want %t, 0.97", got, r.Score, tt.anomalous)
			}
		})
	}
}

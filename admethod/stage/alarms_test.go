// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package stage_test

import (
	"math"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/stage"
	"github.com/kubeedge/edge-anomaly/driver"
)

// So many false alarms in a time are a threshold, by the cadence of readings.
func TestAlarms(t *testing.T) {
	tests := []struct {
		text  string
		cycle time.Duration
		want  float64 // readings to one false alarm; 0: no threshold
	}{
		{"1/week", time.Minute, 7 * 24 * 60},
		{"3/day", 10 * time.Second, 2880},
		{"0.5/month", time.Second, 60 * 86400},
		{" 1 / hour ", 100 * time.Millisecond, 36000},
		{"1/day", 0, 0}, // how many readings that is, nobody knows
		{"1/hour", time.Hour, 1 / driver.TailProbability(0.5)}, // as often as there are readings: bounded
		{"1/year", time.Microsecond, 1 / driver.TailProbability(0.9999)},
		{"", time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			var a stage.Alarms
			if err := a.UnmarshalText([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			got := a.Threshold(tt.cycle)
			if tt.want == 0 {
				if got != 0 {
					t.Errorf("threshold %v, want none", got)
				}
				return
			}
			if every := 1 / driver.TailProbability(got); math.Abs(every/tt.want-1) > 1e-6 {
				t.Errorf("threshold %v: one in %v, want one in %v", got, every, tt.want)
			}
			var again stage.Alarms
			if err := again.UnmarshalText([]byte(a.String())); err != nil || again != a {
				t.Errorf("%q is read as %v, %v", a, again, err)
			}
		})
	}
	for _, wrong := range []string{"1", "week", "1/fortnight", "0/day", "-1/day", "NaN/day", "1e9/day", "1/day/day"} {
		if err := new(stage.Alarms).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
}

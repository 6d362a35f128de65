// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"testing"
	"time"
)

// A clock of a place is set when its offset changes; times that are written with another offset are of another place.
func TestZoneTellsWhenItsClockIsSet(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	winter := time.Date(2026, time.March, 29, 0, 59, 0, 0, time.UTC)
	summer := winter.Add(time.Minute)
	fixed := func(name string, hours int) *time.Location { return time.FixedZone(name, 3600*hours) }
	for name, c := range map[string]struct {
		times []time.Time
		want  time.Duration // in all
	}{
		"UTC":                    {[]time.Time{winter, summer}, 0},
		"summer begins":          {[]time.Time{winter.In(berlin), summer.In(berlin), summer.Add(time.Hour).In(berlin)}, time.Hour},
		"and ends":               {[]time.Time{summer.In(berlin), summer.AddDate(0, 8, 0).In(berlin)}, -time.Hour},
		"a zone of a recording":  {[]time.Time{winter.In(fixed("local", 0)), summer.In(fixed("local", 1))}, time.Hour},
		"offsets that are mixed": {[]time.Time{winter.In(fixed("", 1)), summer, summer.In(fixed("", 2)), summer.In(fixed("", 1))}, 0},
		"another place":          {[]time.Time{winter.In(berlin), summer.In(fixed("EST", -5)), summer.In(berlin)}, 0},
	} {
		var z zone
		var got time.Duration
		for _, at := range c.times {
			got += z.set(at)
		}
		if got != c.want {
			t.Errorf("%s: set by %v, want %v", name, got, c.want)
		}
	}
	var z zone
	if n := testing.AllocsPerRun(100, func() { z.set(summer.In(berlin)) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"strings"
	"testing"
	"time"
)

func texted(marks []tick) string {
	var all []string
	for _, m := range marks {
		all = append(all, m.text)
	}
	return strings.Join(all, " ")
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		lo, hi float64
		most   int
		want   string
	}{
		{0, 10, 4, "0 5 10"}, {-1, 1, 4, "-1.0 -0.5 0.0 0.5 1.0"}, {20.2, 21.8, 3, "20.5 21.0 21.5"}, {0, 1, 1, "0 1"},
		{0, 3e7, 3, "0 1e+07 2e+07 3e+07"}, {1e-9, 4e-9, 3, "1e-09 2e-09 3e-09 4e-09"}, {0, 0.06, 3, "0.00 0.02 0.04 0.06"},
	} {
		if got := texted(ticks(c.lo, c.hi, c.most)); got != c.want {
			t.Errorf("%v to %v: %q, want %q", c.lo, c.hi, got, c.want)
		}
	}
	for _, c := range [][2]float64{{-math.MaxFloat64, math.MaxFloat64}, {5, 5}, {math.NaN(), 1}} {
		if got := ticks(c[0], c[1], 4); len(got) > 9 {
			t.Errorf("%v: %d marks", c, len(got))
		}
	}
}

func TestTimeTicks(t *testing.T) {
	for span, want := range map[time.Duration]string{
		time.Second:      "00:00:00.000 00:00:00.200",
		time.Minute:      "00:00:00 00:00:10",
		2 * time.Hour:    "00:00 00:30",
		12 * time.Hour:   "00:00 02:00",
		7 * day:          "1 Mar 2026 2 Mar 2026",
		36 * time.Hour:   "1 Mar 00:00 1 Mar 06:00",
		20 * 365 * day:   "",
		200 * 365 * day:  "",
		time.Microsecond: "00:00:00.000",
	} {
		marks := timeTicks(start, start.Add(span), 8, func(shown time.Time) time.Time { return shown })
		if got := texted(marks); !strings.HasPrefix(got, want) || len(marks) > 12 || len(marks) == 0 {
			t.Errorf("%v: %q, want it to begin with %q", span, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500 * time.Millisecond: "1.5 s", 90 * time.Second: "1 min 30 s", 100 * time.Minute: "1 h 40 min", 36 * time.Hour: "36 h 00 min", 60 * time.Hour: "2.5 days",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rhythm is a recording in the local times of a place, as they are written there without an offset, from three weeks
// before its clock is set until two weeks after.
func rhythm(place *time.Location, set time.Time, of func(local, utc time.Time) float64) string {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("time,temp\n")
	for at := set.AddDate(0, 0, -21); at.Before(set.AddDate(0, 0, 14)); at = at.Add(10 * time.Minute) {
		local := at.In(place)
		fmt.Fprintf(&b, "%s,%.4f\n", local.Format(time.DateTime), of(local, at)+0.3*rng.NormFloat64())
	}
	return b.String()
}

// When summer begins and ends, neither what goes by the clock of the place nor what goes by the sun is a fault, whether the
// place is named or is to be guessed from an hour that is missing or there twice.
func TestClocksThatAreSetAreNoFault(t *testing.T) {
	place, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	hours := func(at time.Time) float64 { return float64(at.Hour()) + float64(at.Minute())/60 }
	for name, of := range map[string]func(local, utc time.Time) float64{
		"office": func(local, _ time.Time) float64 {
			if h := local.Hour(); h >= 7 && h < 18 {
				return 25
			}
			return 20
		},
		"smooth": func(local, _ time.Time) float64 { return 20 + 5*math.Sin(2*math.Pi*hours(local)/24) },
		"sun":    func(_, utc time.Time) float64 { return 12 + 5*math.Sin(2*math.Pi*hours(utc)/24) },
	} {
		for season, set := range map[string]time.Time{
			"spring": time.Date(2026, time.March, 29, 1, 0, 0, 0, time.UTC),
			"autumn": time.Date(2026, time.October, 25, 1, 0, 0, 0, time.UTC),
		} {
			for _, zone := range []string{"", "Europe/Berlin"} {
				t.Run(name+" "+season+" "+zone, func(t *testing.T) {
					args := []string{"detect", file(t, "a.csv", rhythm(place, set, of)), "-o", "json"}
					if zone != "" {
						args = append(args, "--timezone", zone)
					}
					code, stdout, stderr := adctl(t, "", args...)
					var all []summary
					if err := json.Unmarshal([]byte(stdout), &all); code != exitOK || err != nil {
						t.Fatalf("exit status %d, error %v: %s", code, err, stderr)
					}
					if zone == "" {
						has(t, "standard error", stderr, "clocks were set")
					}
					if !strings.Contains(all[0].JudgedBy[0].Shows, "season") {
						t.Errorf("the detector shows %q, want a season", all[0].JudgedBy[0].Shows)
					}
					for _, i := range all[0].Incidents {
						if !i.Began.Before(set) {
							t.Errorf("a false alarm: %+v", i)
						}
					}
				})
			}
		}
	}
}

// A summary tells the time by the clock that wrote the file, and calls no time UTC that nobody says is.
func TestTimesAreShownByTheClockOfTheFile(t *testing.T) {
	place, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	set := time.Date(2026, time.March, 29, 1, 0, 0, 0, time.UTC)
	fault := set.AddDate(0, 0, 7) // 03:00 in summer
	text := rhythm(place, set, func(_, utc time.Time) float64 {
		if d := utc.Sub(fault); d >= 0 && d < 3*time.Hour {
			return 30
		}
		return 20
	})
	name := file(t, "a.csv", text)
	for _, c := range []struct {
		args []string
		says string
		html []string
	}{
		{nil, "2026-04-05T03:00:00  2026-04-05T0", []string{"<th>Began</th>", "<td>2026-04-05 03:00:00</td>"}},
		{[]string{"--timezone", "Europe/Berlin"}, "2026-04-05T03:00:00+02:00  2026-04-05T0",
			[]string{"<th>Began (Europe/Berlin)</th>", "<td>2026-04-05 03:00:00</td>", "3600],[1774746000,7200]]", `"x":"time (Europe/Berlin)"`}},
	} {
		page := filepath.Join(t.TempDir(), "page.html")
		code, _, stderr := adctl(t, "", append([]string{"detect", name, "--report", page, "--output", os.DevNull}, c.args...)...)
		if code != exitOK {
			t.Fatalf("exit status %d: %s", code, stderr)
		}
		has(t, "summary", stderr, c.says)
		has(t, "report", read(t, page), c.html...)
	}
}

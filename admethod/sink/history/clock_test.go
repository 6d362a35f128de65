// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"database/sql"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// What is kept goes by the time that mappers saw pass: readings of other years, and a clock that is another one after each
// restart, drop nothing and keep nothing for ever.
func TestAgeIsWhatMappersSawPass(t *testing.T) {
	c := config(t)
	c.Rows, c.Age = 100, 10*time.Hour // after 5 verdicts there is a look at what is old
	run := func(from time.Time, device string, hours int) {
		t.Helper()
		s := New(c)
		now := from
		s.now = func() time.Time { return now }
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range hours {
			batch := make([]driver.Result, 5)
			for i := range batch {
				batch[i] = verdict(device, now, driver.Normal)
			}
			batch[0].Incident = driver.Incident{ID: uint64(now.Unix()), Phase: driver.Returned, Severity: driver.Warning, Start: now, End: now}
			if err := s.Write(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			now = now.Add(time.Hour)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(device string, hours int) {
		t.Helper()
		verdicts, err := Query(t.Context(), c.Path, Filter{Device: device})
		if err != nil || len(verdicts) != 5*hours {
			t.Errorf("%s: %d verdicts are left, %v; want %d", device, len(verdicts), err, 5*hours)
		}
		incidents, err := Incidents(t.Context(), c.Path, httpapi.IncidentFilter{Device: device})
		if err != nil || len(incidents) != hours {
			t.Errorf("%s: %d incidents are left, %v; want %d", device, len(incidents), err, hours)
		}
	}
	run(noon, "now", 4)
	run(noon.AddDate(1, 0, 0), "ahead", 3)
	run(noon.AddDate(-56, 0, 0), "behind", 3)
	check("now", 4)
	check("ahead", 3)
	check("behind", 3)
	run(noon, "later", 6) // 13 hours by then
	check("now", 0)
	check("later", 6)
}

// A file of an earlier version is taken over: what it holds begins to age.
func TestHistoryOfAnEarlierVersion(t *testing.T) {
	c := config(t)
	db, err := sql.Open("sqlite", dsn(c.Path, "rwc", pragmas))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), schema+incidentSchema+`; INSERT INTO verdicts VALUES (1, 0, 'default', 'old', 'p', 0, '{"device":"old"}')`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := start(t, c)
		fill(t, s, 1)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := Query(t.Context(), c.Path, Filter{Device: "old"}); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v; want what the earlier version wrote", found, err)
	}
}

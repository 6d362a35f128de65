// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/driver"
)

// incident is a verdict of an incident of a device, some minutes after it began at noon.
func incident(id uint64, device string, minute int, phase driver.Phase) driver.Result {
	r := verdict(device, noon.Add(time.Duration(minute)*time.Minute), driver.Warning)
	r.Kind, r.Score, r.Message = driver.KindLevel, 0.97, "2 above what was expected"
	r.Incident = driver.Incident{
		ID: id, Phase: phase, Start: noon, Severity: driver.Warning, Score: 0.97, Kind: driver.KindLevel,
		Cause: driver.Key{Namespace: "default", Device: device, Property: "current"},
	}
	if !phase.Open() {
		r.Severity, r.Kind, r.Score, r.Message, r.Incident.End = driver.Normal, driver.KindNone, 0.1, "", r.At
	}
	return r
}

func write(t *testing.T, s *Sink, batch ...driver.Result) {
	t.Helper()
	if err := s.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// list is what the file has, in short.
func list(t *testing.T, c Config, f httpapi.IncidentFilter) (out []string) {
	t.Helper()
	found, err := Incidents(t.Context(), c.Path, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range found {
		out = append(out, fmt.Sprintf("%s %s %s %s %v", i.ID[15:], i.Device, i.Phase, i.Kind, time.Duration(i.Duration*float64(time.Second))))
	}
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

// An incident is one row, from its beginning to its end, with the last reason that was given.
func TestIncidentIsOneRow(t *testing.T) {
	c := config(t)
	s := start(t, c)
	write(t, s, incident(1, "light-1", 0, driver.Began))
	expect(t, "it begins", list(t, c, httpapi.IncidentFilter{}), "1 light-1 began level 0s")
	worse := incident(1, "light-1", 30, driver.Lasts)
	worse.Incident.Kind, worse.Incident.Severity, worse.Incident.Score, worse.Message = driver.KindDrift, driver.Critical, math.NaN(), "4 above"
	write(t, s, worse)
	expect(t, "it lasts", list(t, c, httpapi.IncidentFilter{}), "1 light-1 lasts drift 30m0s")
	over := incident(1, "light-1", 360, driver.NewNormal)
	over.Incident.Severity = driver.Critical
	write(t, s, over, verdict("light-1", noon.Add(7*time.Hour), driver.Normal))
	expect(t, "it is over", list(t, c, httpapi.IncidentFilter{}), "1 light-1 newNormal level 6h0m0s")
	found, err := Incidents(t.Context(), c.Path, httpapi.IncidentFilter{})
	if err != nil {
		t.Fatal(err)
	}
	i := found[0]
	if i.Message != "4 above" || i.Severity != driver.Critical || !i.Start.Equal(noon) || !i.End.Equal(noon.Add(6*time.Hour)) ||
		i.Cause.Property != "current" || i.Detector != "auto" || i.Model != "m@1" || *i.Score != 0.97 {
		t.Errorf("%+v", i)
	}
}

func TestIncidentsFilter(t *testing.T) {
	c := config(t)
	s := start(t, c)
	critical := incident(2, "light-2", 0, driver.Began)
	critical.Incident.Severity, critical.Incident.Kind = driver.Critical, driver.KindFreeze
	critical.Incident.Start = noon.Add(time.Hour)
	write(t, s, incident(1, "light-1", 0, driver.Began), incident(1, "light-1", 10, driver.Returned), critical, incident(3, "door", 20, driver.Began))
	open, over := true, false
	for _, c2 := range []struct {
		name string
		f    httpapi.IncidentFilter
		want string
	}{
		{"all, the latest first", httpapi.IncidentFilter{}, "2 3 1"},
		{"of namespaces that are seen", httpapi.IncidentFilter{Seen: []string{"none", "def*"}}, "2 3 1"},
		{"of none that is seen", httpapi.IncidentFilter{Seen: []string{"none", "other"}}, ""},
		{"open", httpapi.IncidentFilter{Open: &open}, "2 3"},
		{"over", httpapi.IncidentFilter{Open: &over}, "1"},
		{"kind", httpapi.IncidentFilter{Kind: driver.KindFreeze}, "2"},
		{"severity", httpapi.IncidentFilter{Severity: driver.Critical}, "2"},
		{"device", httpapi.IncidentFilter{Device: "light-*"}, "2 1"},
		{"since it was over", httpapi.IncidentFilter{Since: noon.Add(11 * time.Minute)}, "2 3"},
		{"by id", httpapi.IncidentFilter{ID: "0000000000000003"}, "3"},
		{"data is no SQL", httpapi.IncidentFilter{Kind: "' OR 1=1 --"}, ""},
		{"the first", httpapi.IncidentFilter{Limit: 1}, "2"},
	} {
		found, err := Incidents(t.Context(), c.Path, c2.f)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i := range found {
			ids = append(ids, found[i].ID[15:])
			if f := c2.f; !f.Matches(&found[i]) {
				t.Errorf("%s: memory and file differ in %+v", c2.name, found[i])
			}
		}
		if got := strings.Join(ids, " "); got != c2.want {
			t.Errorf("%s: got %q, want %q", c2.name, got, c2.want)
		}
	}
}

// An incident that was open when the mapper ended goes on, or is over with the next verdict.
func TestIncidentsOverARestart(t *testing.T) {
	c := config(t)
	s := start(t, c)
	write(t, s, incident(1, "light-1", 0, driver.Began), incident(2, "light-2", 0, driver.Began))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = start(t, c)
	write(t, s, incident(1, "light-1", 5, driver.Lasts), verdict("light-2", noon.Add(5*time.Minute), driver.Normal))
	expect(t, "after the restart", list(t, c, httpapi.IncidentFilter{}), "2 light-2 returned level 5m0s", "1 light-1 lasts level 5m0s")
}

func TestIncidentOfAForgottenProperty(t *testing.T) {
	c := config(t)
	s := start(t, c)
	write(t, s, incident(1, "light-1", 0, driver.Began), incident(2, "light-2", 0, driver.Began))
	s.Forget(verdict("light-1", noon, 0).Key)
	write(t, s, incident(2, "light-2", 1, driver.Lasts))
	expect(t, "with the next batch", list(t, c, httpapi.IncidentFilter{Device: "light-1"}), "1 light-1 abandoned level 0s")
	s.Forget(verdict("light-2", noon, 0).Key)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "at the end", list(t, c, httpapi.IncidentFilter{Device: "light-2"}), "2 light-2 abandoned level 0s")
}

// A batch that the disk had no room for is written later, with its incidents.
func TestIncidentsAfterAFullDisk(t *testing.T) {
	c := config(t)
	s := start(t, c)
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count=10"); err != nil {
		t.Fatal(err)
	}
	batch := make([]driver.Result, 256)
	for i := range batch {
		batch[i] = incident(1, "light-1", i, driver.Lasts)
	}
	batch[255] = incident(1, "light-1", 255, driver.Returned)
	if err := s.Write(t.Context(), batch); err == nil {
		t.Fatal("want an error, as the file may not grow")
	}
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count=100000"); err != nil {
		t.Fatal(err)
	}
	write(t, s, batch...)
	expect(t, "after all", list(t, c, httpapi.IncidentFilter{}), "1 light-1 returned level 4h15m0s")
}

func TestIncidentsAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	c := config(t)
	c.Rows, c.Age = 200, time.Hour
	s := start(t, c)
	for i := range uint64(1000) {
		over := incident(i+1, "light-1", 0, driver.Returned)
		if i < 10 {
			over.Incident.End = noon.Add(-2 * time.Hour)
		}
		write(t, s, over)
	}
	if n := len(list(t, c, httpapi.IncidentFilter{Limit: 5000})); n < 200 || n > 250 {
		t.Errorf("%d incidents are kept, want some 200", n)
	}
}

// The API lists what the file has, page by page.
func TestPastOverTheAPI(t *testing.T) {
	c := config(t)
	routes := new(httpapi.Routes)
	s := New(c)
	s.now, s.routes = func() time.Time { return noon }, routes
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(7) {
		write(t, s, incident(i+1, "light-1", 0, driver.Returned))
	}
	api, err := httpapi.New(httpapi.DefaultConfig(), routes)
	if err != nil {
		t.Fatal(err)
	}
	live := incident(8, "light-1", 1, driver.Lasts) // which only the API knows yet
	if err := api.Write(t.Context(), []driver.Result{live}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for page, n := "", 0; n == 0 || page != ""; n++ {
		r := httptest.NewRequest(http.MethodGet, "/v1/incidents?limit=3&page="+page, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		api.Handler().ServeHTTP(w, r)
		var answer struct {
			Incidents []httpapi.Incident
			Next      string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || len(answer.Incidents) > 3 || n > 3 {
			t.Fatalf("%d %s: %v", w.Code, w.Body, err)
		}
		for _, i := range answer.Incidents {
			got = append(got, i.ID[15:])
		}
		page = answer.Next
	}
	expect(t, "all pages", got, "8", "7", "6", "5", "4", "3", "2", "1")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v1/incidents", nil)
	r.Host = "localhost"
	if api.Handler().ServeHTTP(w, r); strings.Contains(w.Body.String(), `"id":"0000000000000007"`) || !strings.Contains(w.Body.String(), `"id":"0000000000000008"`) {
		t.Errorf("after the sink has ended: %s", w.Body)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// during is a verdict of an incident that began at noon.
func during(id uint64, device string, minute int, phase driver.Phase) driver.Result {
	r := verdict(device, driver.Warning)
	r.At, r.Message = noon.Add(time.Duration(minute)*time.Minute), "2 above what was expected"
	r.Incident = driver.Incident{ID: id, Phase: phase, Start: noon, Severity: driver.Warning, Kind: driver.KindLevel, Score: 0.97}
	if !phase.Open() {
		r.Severity, r.Message, r.Incident.End = driver.Normal, "", r.At
	}
	return r
}

// fixture is an API with a token and a directory, and a detector that is told.
type fixture struct {
	*Server
	dir      string
	accepted []string
	refuse   error
}

func newFixture(t *testing.T, batch ...driver.Result) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir()}
	sink, err := Factory().New(admethod.SinkSettings{
		Options:  map[string]any{"address": "127.0.0.1:0", "tokenFile": tokenFile(t)},
		StateDir: f.dir,
		Accept: func(_ context.Context, key driver.Key, span driver.Span) error {
			f.accepted = append(f.accepted, key.String()+" "+span.To.Sub(span.From).String())
			return f.refuse
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.Server = sink.(*Server)
	if err := f.Write(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) ask(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// ids asks for incidents, and returns the last digits of their names.
func (f *fixture) ids(t *testing.T, query string) string {
	t.Helper()
	code, body := f.ask(t, http.MethodGet, "/v1/incidents"+query, "")
	var answer struct{ Incidents []Incident }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || code != http.StatusOK {
		t.Fatalf("%s: %d %s", query, code, body)
	}
	var ids []string
	for _, i := range answer.Incidents {
		ids = append(ids, i.ID[15:])
	}
	return strings.Join(ids, " ")
}

// Without a history, the API knows those that are open and the last that ended.
func TestIncidents(t *testing.T) {
	f := newFixture(t,
		during(1, "light-1", 0, driver.Began), during(2, "light-2", 0, driver.Began), during(3, "door", 5, driver.Lasts),
		during(1, "light-1", 6, driver.NewNormal), verdict("light-3", driver.Normal),
	)
	f.Forget(during(3, "door", 0, driver.Began).Key)
	for query, want := range map[string]string{
		"":                              "3 2 1",
		"?open=true":                    "2",
		"?open=false":                   "3 1",
		"?device=light-*":               "2 1",
		"?severity=critical":            "",
		"?kind=level&limit=1":           "3",
		"?since=2026-01-02T12:07:00Z":   "3 2",
		"?property=power":               "",
		"?namespace=default&device=do*": "3",
	} {
		if got := f.ids(t, query); got != want {
			t.Errorf("%s: got %q, want %q", query, got, want)
		}
	}
	_, body := f.ask(t, http.MethodGet, "/v1/incidents?device=light-1", "")
	want := `{"incidents":[{"namespace":"default","device":"light-1","property":"brightness","id":"0000000000000001","phase":"newNormal",` +
		`"start":"2026-01-02T12:00:00Z","end":"2026-01-02T12:06:00Z","duration":360,"severity":"warning","kind":"level","score":0.97,` +
		`"detector":"auto","message":"2 above what was expected"}]}` + "\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Error(diff)
	}
	for _, query := range []string{"?severity=bad", "?open=perhaps", "?since=yesterday", "?limit=0", "?limit=x", "?page=x", "?page=e30", "?device=["} {
		if code, body := f.ask(t, http.MethodGet, "/v1/incidents"+query, ""); code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, code, body)
		}
	}
}

func TestIncidentsAreBounded(t *testing.T) {
	f := newFixture(t)
	for i := range uint64(3 * mostIncidents) {
		if err := f.Write(t.Context(), []driver.Result{during(i+1, "light-1", 1, driver.Returned)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.ledger.over); n > mostIncidents {
		t.Errorf("%d are remembered", n)
	}
}

func TestHistoryInTrouble(t *testing.T) {
	f := newFixture(t)
	defer f.routes.Past(func(context.Context, IncidentFilter) ([]Incident, error) { return nil, errors.New("secret path") })()
	if code, body := f.ask(t, http.MethodGet, "/v1/incidents", ""); code != http.StatusServiceUnavailable || strings.Contains(body, "secret") {
		t.Errorf("%d %s", code, body)
	}
}

// What people say is kept as a label, with who said it when, and reaches the detector where it was normal.
func TestFeedback(t *testing.T) {
	f := newFixture(t, during(7, "light-1", 0, driver.Began), during(7, "light-1", 6, driver.Returned))
	for _, step := range []struct{ body, want string }{
		{`{"incident":"0000000000000007","verdict":"normal","note":"a party","by":"Ada"}`, `"learned":true`},
		{`{"namespace":"default","device":"light-1","property":"brightness","from":"2026-01-02T12:00:00Z","to":"2026-01-02T12:01:00Z","verdict":"fault"}`, `"learned":false`},
	} {
		if code, body := f.ask(t, http.MethodPost, "/v1/feedback", step.body); code != http.StatusOK || !strings.Contains(body, step.want) {
			t.Fatalf("%d %s, want %s", code, body, step.want)
		}
	}
	if diff := cmp.Diff([]string{"default/light-1/brightness 6m0s"}, f.accepted); diff != "" {
		t.Errorf("the detector was told (-want +got):\n%s", diff)
	}
	said, err := labels.Read(f.dir)
	if err != nil || len(said) != 2 {
		t.Fatalf("%v, %v", said, err)
	}
	if since := time.Since(said[0].Said); since < 0 || since > time.Minute {
		t.Errorf("said %v", said[0].Said)
	}
	said[0].Said, said[1].Said = time.Time{}, time.Time{}
	want := []labels.Label{
		{
			Namespace: "default", Device: "light-1", Property: "brightness", From: noon, To: noon.Add(6*time.Minute + 1),
			Label: "normal", By: "Ada", Incident: "0000000000000007", Note: "a party",
		},
		{Namespace: "default", Device: "light-1", Property: "brightness", From: noon, To: noon.Add(time.Minute + 1), Label: "anomaly", By: "api"},
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	// A detector that cannot learn it is no reason to forget it.
	f.refuse = errors.New("the detector remembers nothing of it")
	code, body := f.ask(t, http.MethodPost, "/v1/feedback", `{"incident":"0000000000000007","verdict":"normal"}`)
	if said, _ = labels.Read(f.dir); code != http.StatusOK || len(said) != 3 || !strings.Contains(body, f.refuse.Error()) {
		t.Errorf("%d %s, %d labels", code, body, len(said))
	}
}

func TestFeedbackRefuses(t *testing.T) {
	f := newFixture(t, during(7, "light-1", 0, driver.Began), during(7, "light-2", 0, driver.Began))
	for _, c := range []struct {
		body string
		want int
	}{
		{`{}`, http.StatusBadRequest},
		{`{"verdict":"maybe","incident":"0000000000000007"}`, http.StatusBadRequest},
		{`{"verdict":"normal","incident":"7"}`, http.StatusBadRequest},
		{`{"verdict":"normal","incident":"0000000000000008"}`, http.StatusNotFound},
		{`{"verdict":"normal","incident":"0000000000000007"}`, http.StatusConflict}, // of two
		{`{"verdict":"normal","incident":"0000000000000007","device":"light-*"}`, http.StatusNotFound},
		{`{"verdict":"normal","device":"light-1","property":"brightness"}`, http.StatusBadRequest},
		{`{"verdict":"normal","device":"a","from":"2026-01-02T12:00:00Z","to":"2026-01-02T11:00:00Z"}`, http.StatusBadRequest},
		{`{"verdict":"normal","incident":"0000000000000007","extra":1}`, http.StatusBadRequest},
		{`{"verdict":"normal","note":"` + strings.Repeat("x", 20<<10) + `"}`, http.StatusBadRequest},
		{`nonsense`, http.StatusBadRequest},
	} {
		if code, body := f.ask(t, http.MethodPost, "/v1/feedback", c.body); code != c.want {
			t.Errorf("%.80s: %d %s, want %d", c.body, code, body, c.want)
		}
	}
	if said, _ := labels.Read(f.dir); len(said) != 0 || len(f.accepted) != 0 {
		t.Errorf("%v was kept, %v learned", said, f.accepted)
	}
	if code, body := f.ask(t, http.MethodPost, "/v1/feedback", `{"verdict":"normal","incident":"0000000000000007","device":"light-2"}`); code != http.StatusOK {
		t.Errorf("of the two, one: %d %s", code, body)
	}
}

// Feedback changes what is learned: nobody gives it without the operator's token, on loopback either.
func TestFeedbackWantsTheToken(t *testing.T) {
	f := newFixture(t, during(7, "light-1", 0, driver.Began))
	const body = `{"incident":"0000000000000007","verdict":"normal"}`
	for _, auth := range []string{"", "Bearer wrong-token-of-16"} {
		r := httptest.NewRequest(http.MethodPost, "/v1/feedback", strings.NewReader(body))
		r.Host = "localhost"
		r.Header.Set("Authorization", auth)
		w := httptest.NewRecorder()
		if f.Handler().ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("%q: %d %s", auth, w.Code, w.Body)
		}
	}
	f.trust = trust{}
	if code, body := f.ask(t, http.MethodPost, "/v1/feedback", body); code != http.StatusForbidden || !strings.Contains(body, "tokenFile") {
		t.Errorf("without a token at all: %d %s", code, body)
	}
	if said, _ := labels.Read(f.dir); len(said) != 0 || len(f.accepted) != 0 {
		t.Errorf("%v was kept, %v learned", said, f.accepted)
	}
}

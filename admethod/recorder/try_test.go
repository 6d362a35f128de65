// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

var boiler = driver.Key{Namespace: "plant", Device: "boiler-1", Property: "temperature"}

// past is a recorder with two days of a thermometer, a reading a minute: it jumps by a bit six times, and by a lot twice,
// which somebody confirmed.
type past struct {
	*recorder.Recorder
	api     *httpapi.Server
	watched admethod.Watched
	known   bool
	from    time.Time
}

const pastReadings = 2 * 24 * 60

func newPast(t *testing.T) *past {
	t.Helper()
	p := &past{from: time.Now().UTC().Add(-pastReadings * time.Minute).Truncate(time.Second), known: true}
	config, err := admethod.ParseSettings(map[string]any{"detector": "ewma", "threshold": 0.9, "sinks": "recorder"})
	if err != nil {
		t.Fatal(err)
	}
	p.watched = admethod.Watched{Config: config, Meta: admethod.Meta{DataType: "double", Cycle: time.Minute}, Members: []driver.Key{boiler}}
	dir := t.TempDir()
	sink, err := recorder.Factory().New(admethod.SinkSettings{
		Hooks: new(admethod.Hooks), StateDir: dir,
		Watched: func(k driver.Key) (admethod.Watched, bool) { return p.watched, p.known && k == boiler },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Recorder = sink.(*recorder.Recorder)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Shutdown(context.WithoutCancel(t.Context())) })
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range pastReadings {
		v := 60 + rng.NormFloat64()
		switch i {
		case 500, 800, 1100, 1400, 1700, 2000:
			v += 6
		case 1200, 2200:
			v += 40
		}
		p.Hooks().Reading(&driver.Sample{Key: boiler, At: p.at(i), Value: v}, false)
	}
	waittest.Eventually(t, "all is recorded", func() bool { return p.Stats().Written == pastReadings })
	for _, i := range []int{1200, 2200} {
		err := labels.Add(dir, labels.Label{Namespace: "plant", Device: "boiler-1", From: p.at(i), To: p.at(i + 2), Label: "anomaly", Said: p.at(i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if p.api, err = httpapi.New(httpapi.Config{Address: "127.0.0.1:0"}, httpapi.Default); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *past) at(i int) time.Time { return p.from.Add(time.Duration(i) * time.Minute) }

func (p *past) ask(ctx context.Context, path string, more ...string) (int, string) {
	q := url.Values{"namespace": {boiler.Namespace}, "device": {boiler.Device}, "property": {boiler.Property}}
	for i := 0; i+1 < len(more); i += 2 {
		if q.Add(more[i], more[i+1]); q.Has("property") && more[i] == "property" {
			q.Set("property", more[i+1])
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path+"?"+q.Encode(), nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	p.api.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// A chart of what is recorded has no more points than it asks for, and every extreme.
func TestReadings(t *testing.T) {
	p := newPast(t)
	for _, tt := range []struct {
		name     string
		query    []string
		n, parts int
		highest  bool
	}{
		{"all", nil, pastReadings, 800, true},
		{"in few points", []string{"points", "50"}, pastReadings, 50, true},
		{"an hour", []string{"from", p.at(1190).Format(time.RFC3339), "to", p.at(1250).Format(time.RFC3339)}, 60, 60, true},
		{"an hour without it", []string{"from", p.at(100).Format(time.RFC3339), "to", p.at(160).Format(time.RFC3339)}, 60, 60, false},
		{"of another property", []string{"property", "pressure"}, 0, 0, false},
	} {
		code, body := p.ask(t.Context(), "/v1/readings", tt.query...)
		var got recorder.Points
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
			t.Fatal(tt.name, code, body, err)
		}
		highest := math.Inf(-1)
		for i := range got.At {
			highest = max(highest, got.Max[i])
			if got.Min[i] > got.Max[i] || i > 0 && got.At[i] <= got.At[i-1] {
				t.Fatalf("%s: point %d is %v … %v at %v", tt.name, i, got.Min[i], got.Max[i], got.At[i])
			}
		}
		if got.N != tt.n || len(got.At) > tt.parts || tt.n > 0 && len(got.At) < tt.parts*9/10 || (highest > 90) != tt.highest {
			t.Errorf("%s: %d readings in %d points up to %v, want %d in %d", tt.name, got.N, len(got.At), highest, tt.n, tt.parts)
		}
	}
	// When it was last so high or low is told, and since when that is known.
	for _, tt := range []struct {
		value, side, to string
		at              int // -1: never
	}{
		{"90", "up", "", 2200}, {"90", "up", p.at(2200).Format(time.RFC3339), 1200}, {"90", "", p.at(1000).Format(time.RFC3339), -1}, {"10", "down", "", -1},
	} {
		code, body := p.ask(t.Context(), "/v1/seen", "value", tt.value, "side", tt.side, "to", tt.to)
		var got recorder.Seen
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK || got.From == nil || !got.From.Equal(p.from) {
			t.Fatal(code, body, err)
		}
		if (got.At == nil) != (tt.at < 0) || got.At != nil && !got.At.Equal(p.at(tt.at)) {
			t.Errorf("%+v: %s", tt, body)
		}
	}
	for _, bad := range [][]string{{"value", "x"}, {"value", "NaN"}, {"value", "1", "side", "left"}} {
		if code, body := p.ask(t.Context(), "/v1/seen", bad...); code != http.StatusBadRequest {
			t.Errorf("%v: %d %s", bad, code, body)
		}
	}
	_, body := p.ask(t.Context(), "/v1/readings")
	if n := strings.Count(body, `"kind":"anomaly"`); n != 2 {
		t.Errorf("%d labels: %s", n, body)
	}
	for _, bad := range [][]string{{"points", "1"}, {"points", "x"}, {"from", "noon"}, {"to", "1999-01-01T00:00:00Z", "from", "2000-01-01T00:00:00Z"}, {"property", ""}} {
		if code, body := p.ask(t.Context(), "/v1/readings", bad...); code != http.StatusBadRequest {
			t.Errorf("%v: %d %s", bad, code, body)
		}
	}
}

// Other settings are tried on what is recorded: fewer alarms, and the confirmed faults are still found.
func TestTry(t *testing.T) {
	p := newPast(t)
	code, body := p.ask(t.Context(), "/v1/try", "set", "threshold=0.9995")
	var got recorder.Trial
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
		t.Fatal(code, body, err)
	}
	if got.Readings != pastReadings || got.Faults != 2 || got.Now.Found != 2 || got.Tried.Found != 2 {
		t.Errorf("%d readings, %d faults, of which %d and %d are found", got.Readings, got.Faults, got.Now.Found, got.Tried.Found)
	}
	if got.Now.Alarms < 6 || got.Tried.Alarms >= got.Now.Alarms || got.Now.PerWeek == nil || *got.Now.PerWeek < 3*float64(got.Now.Alarms) {
		t.Errorf("%d alarms, %d tried", got.Now.Alarms, got.Tried.Alarms)
	}
	if len(got.Now.Incidents) != got.Now.Alarms || len(got.Now.At) < 300 || len(got.Now.At) != len(got.Now.Upper) || len(got.Chart.At) < 500 {
		t.Errorf("the chart: %d incidents, %d of the band, %d points", len(got.Now.Incidents), len(got.Now.At), len(got.Chart.At))
	}
	if want := "anomalyDetection:\n  detector: ewma\n  sinks: recorder\n  threshold: 0.9995\n"; got.YAML != want {
		t.Errorf("YAML %q", got.YAML)
	}
	// Twice the same gives the same.
	if _, again := p.ask(t.Context(), "/v1/try", "set", "threshold=0.9995"); len(again) != len(body) {
		t.Errorf("%d bytes, then %d", len(body), len(again))
	}
}

func TestTryRefuses(t *testing.T) {
	p := newPast(t)
	for _, tt := range []struct {
		set, want string
		code      int
	}{
		{"threshold", "key=value", http.StatusBadRequest},
		{"threshold=high", "threshold", http.StatusBadRequest},
		{"treshold=0.9", "threshold", http.StatusBadRequest},
		{"detector=wizard", "wizard", http.StatusBadRequest},
		{"detector.window=-1", "window", http.StatusBadRequest},
		{"model=../../etc/passwd", "want a key", http.StatusBadRequest},
		{"grpc.address=evil:1", "want a key", http.StatusBadRequest},
		{"group=all", "want a key", http.StatusBadRequest},
	} {
		if code, body := p.ask(t.Context(), "/v1/try", "set", tt.set); code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %s", tt.set, code, body)
		}
	}
	if code, body := p.ask(t.Context(), "/v1/try", "from", "2001-01-01T00:00:00Z", "to", "2001-01-02T00:00:00Z"); code != http.StatusNotFound {
		t.Errorf("of a time of which nothing is recorded: %d %s", code, body)
	}
	p.watched.Members = append(p.watched.Members, driver.Key{Device: "boiler-2"})
	if code, body := p.ask(t.Context(), "/v1/try"); code != http.StatusConflict || !strings.Contains(body, "together") {
		t.Errorf("of a group: %d %s", code, body)
	}
	p.known = false
	if code, body := p.ask(t.Context(), "/v1/try"); code != http.StatusNotFound {
		t.Errorf("not watched: %d %s", code, body)
	}
}

// One is tried at a time, and no longer than who asked stays.
func TestTryIsBounded(t *testing.T) {
	p := newPast(t)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.ask(ctx, "/v1/try", "set", "detector=spectralresidual")
	}()
	busy := false
	waittest.Eventually(t, "the second one is refused", func() bool {
		code, _ := p.ask(t.Context(), "/v1/try", "set", "threshold=high")
		if code != http.StatusBadRequest { // checked before
			t.Error(code)
		}
		select {
		case <-done:
			return true
		default:
		}
		short, end := context.WithCancel(t.Context())
		defer end()
		end()
		code, _ = p.ask(short, "/v1/try")
		busy = code == http.StatusTooManyRequests
		return busy
	})
	leave()
	<-done
	if !busy {
		t.Log("the first was done before")
	}
	if code, body := p.ask(t.Context(), "/v1/try"); code != http.StatusOK {
		t.Errorf("afterwards: %d %s", code, body)
	}
}

// A viewer sees the readings of its namespaces only.
func TestReadingsOfOtherNamespaces(t *testing.T) {
	p := newPast(t)
	api, err := httpapi.New(httpapi.Config{Address: "127.0.0.1:0", Proxy: httpapi.ProxyConfig{
		Header: "X-User", From: []string{"192.0.2.1"}, Namespaces: []string{"office"},
	}}, httpapi.Default)
	if err != nil {
		t.Fatal(err)
	}
	p.api = api
	for _, path := range []string{"/v1/readings", "/v1/seen", "/v1/try", recorder.Path} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path+"?namespace=plant&device=boiler-1&property=temperature&value=1", nil)
		r.Host = "localhost" // comes from 192.0.2.1
		r.Header.Set("X-User", "ada")
		w := httptest.NewRecorder()
		if api.Handler().ServeHTTP(w, r); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", filepath.Base(path), w.Code, w.Body)
		}
	}
}

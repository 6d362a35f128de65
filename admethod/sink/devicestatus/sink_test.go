// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package devicestatus

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestMain(m *testing.M) {
	if ca := os.Getenv(podEnv); ca != "" {
		os.Exit(pod(ca))
	}
	goleak.VerifyTestMain(m)
}

// api is an API server that holds DeviceStatuses and applies merge patches.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]map[string]any // by namespace/name
	writes  map[string][]time.Time
	order   []string
	fail    func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	other   []string                                          // requests that are no patches
}

func newAPI(t *testing.T, names ...string) *api {
	t.Helper()
	a := &api{objects: make(map[string]map[string]any), writes: make(map[string][]time.Time)}
	for _, n := range names {
		a.objects[n] = map[string]any{"status": map[string]any{"state": "ok"}}
	}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil && a.fail(w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/apis/devices.kubeedge.io/v1beta1/namespaces/"), "/")
	w.Header().Set("Content-Type", "application/json")
	if r.Method != http.MethodPatch {
		a.other = append(a.other, r.Method+" "+r.URL.Path)
		if r.Method == http.MethodPost {
			var o map[string]any
			_ = json.Unmarshal(body, &o)
			a.objects[parts[0]+"/"+o["metadata"].(map[string]any)["name"].(string)] = o
		}
		_, _ = w.Write([]byte(`{"kind":"Device","apiVersion":"devices.kubeedge.io/v1beta1","metadata":{"uid":"u-1"}}`))
		return
	}
	if got := r.Header.Get("Content-Type"); got != "application/merge-patch+json" {
		refuse(w, http.StatusUnsupportedMediaType, "UnsupportedMediaType", got)
		return
	}
	name := parts[0] + "/" + parts[2]
	o := a.objects[name]
	if o == nil {
		refuse(w, http.StatusNotFound, "NotFound", name+" not found")
		return
	}
	var patch map[string]any
	_ = json.Unmarshal(body, &patch)
	merge(o, patch)
	a.writes[name] = append(a.writes[name], time.Now())
	a.order = append(a.order, name)
	_ = json.NewEncoder(w).Encode(o)
}

func merge(o, patch map[string]any) {
	for k, v := range patch {
		sub, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(o, k)
		case isMap:
			into, ok := o[k].(map[string]any)
			if !ok {
				into = make(map[string]any)
				o[k] = into
			}
			merge(into, sub)
		default:
			o[k] = v
		}
	}
}

func (a *api) setFail(f func(http.ResponseWriter, *http.Request) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = f
}

// get digs into an object; nil where there is nothing.
func (a *api) get(name string, path ...string) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	var v any = a.objects[name]
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	if m, ok := v.(map[string]any); ok {
		return maps.Clone(m)
	}
	return v
}

func (a *api) severity(name string) any {
	return a.get(name, "status", "extensions", "anomaly-detector", "data", "severity")
}

func start(t *testing.T, a *api, options map[string]any) *Sink {
	t.Helper()
	all := map[string]any{"server": a.URL, "interval": "20ms", "rate": 2000}
	maps.Copy(all, options)
	return startWith(t, all)
}

// startWith starts a sink with these options and no others.
func startWith(t *testing.T, options map[string]any) *Sink {
	t.Helper()
	s, err := New(admethod.SinkSettings{Options: options})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		_ = s.Shutdown(ctx)
	})
	return s
}

func result(device, property string, score float64) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: "default", Device: device, Property: property}, At: time.Unix(100, 0), Value: 5}})
	r.Threshold, r.Detector, r.Confidence = driver.DefaultThreshold, "ewma", 0.75
	r.Judge(score, driver.KindSpike)
	return r
}

func write(t *testing.T, s *Sink, results ...driver.Result) {
	t.Helper()
	if err := s.Write(t.Context(), results); err != nil {
		t.Fatal(err)
	}
}

// The extension as a whole, what goes when it is no longer so, and what others own.
func TestExtension(t *testing.T) {
	a := newAPI(t, "default/light-1", "default/light-2")
	a.objects["default/light-1"]["status"] = map[string]any{
		"twins": []any{"a twin"},
		"extensions": map[string]any{
			"other": map[string]any{"data": 1.0},
			// of a former process
			"anomaly-detector": map[string]any{"data": map[string]any{"properties": map[string]any{"gone": map[string]any{"score": 1.0}}}},
		},
	}
	s := start(t, a, nil)
	r := result("light-1", "power", 0.97)
	r.Expected, r.Lower, r.Upper, r.Model, r.Config, r.Message = 1, 0, math.Inf(1), "m@1", "c1", "too much"
	r.Causes = []driver.Cause{{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "current"}, Weight: 0.5}}
	write(t, s, r, result("light-1", "current", 0.1))
	properties := []string{"status", "extensions", "anomaly-detector", "data", "properties"}
	waittest.Eventually(t, "what a former process left is removed", func() bool {
		m, _ := a.get("default/light-1", properties...).(map[string]any)
		return len(m) == 2 && m["gone"] == nil
	})
	want := map[string]any{
		"score": 0.97, "confidence": 0.75, "severity": "warning", "kind": "spike", "value": 5.0, "expected": 1.0, "lower": 0.0,
		"at": "1970-01-01T00:01:40Z", "since": "1970-01-01T00:01:40Z", "detector": "ewma", "model": "m@1", "config": "c1",
		"message": "too much", "causes": []any{map[string]any{"property": "current", "weight": 0.5}},
	}
	if diff := cmp.Diff(want, a.get("default/light-1", append(properties, "power")...)); diff != "" {
		t.Error(diff)
	}
	data := a.get("default/light-1", properties[:4]...).(map[string]any)
	delete(data, "properties")
	if diff := cmp.Diff(map[string]any{"anomalyScore": 0.97, "confidence": 0.75, "severity": "warning"}, data); diff != "" {
		t.Error(diff)
	}

	// Back to normal: what the new verdict does not have goes.
	write(t, s, result("light-1", "power", 0.2))
	waittest.Eventually(t, "back to normal", func() bool { return a.severity("default/light-1") == "normal" })
	for _, field := range []string{"kind", "expected", "lower", "model", "message", "causes"} {
		if v := a.get("default/light-1", append(properties, "power", field)...); v != nil {
			t.Errorf("%s is still %v", field, v)
		}
	}
	s.Forget(r.Key)
	waittest.Eventually(t, "the property is gone", func() bool {
		m, _ := a.get("default/light-1", properties...).(map[string]any)
		return len(m) == 1
	})
	s.Forget(driver.Key{Namespace: "default", Device: "light-1", Property: "current"})
	waittest.Eventually(t, "the extension is gone", func() bool {
		return a.get("default/light-1", "status", "extensions", "anomaly-detector") == nil && s.Stats().Devices == 0
	})
	wantLeft := map[string]any{"status": map[string]any{"twins": []any{"a twin"}, "extensions": map[string]any{"other": map[string]any{"data": 1.0}}}}
	if diff := cmp.Diff(wantLeft, a.get("default/light-1")); diff != "" {
		t.Errorf("what others own changed:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"status": map[string]any{"state": "ok"}}, a.get("default/light-2")); diff != "" {
		t.Errorf("another device was written:\n%s", diff)
	}
	if len(a.other) > 0 {
		t.Errorf("more than patches: %v", a.other)
	}
}

// While incidents last they are listed, the worst first, and what they say of a property stands, whatever single verdicts
// say between; when they end they go.
func TestIncidents(t *testing.T) {
	a := newAPI(t, "default/light-1")
	s := start(t, a, map[string]any{"heartbeat": "1s"})
	during := func(property string, id uint64, phase driver.Phase, score float64, worst driver.Severity) driver.Result {
		r := result("light-1", property, score)
		r.Incident = driver.Incident{
			ID: id, Phase: phase, Start: time.Unix(90, 0), Severity: worst, Score: 0.97, Kind: driver.KindLevel,
			Cause: driver.Key{Namespace: "default", Device: "sensor-2", Property: "power"},
		}
		if !phase.Open() {
			r.Incident.End = time.Unix(90+6*3600, 0)
		}
		return r
	}
	data := []string{"status", "extensions", "anomaly-detector", "data"}
	first := during("power", 1, driver.Began, 0.97, driver.Warning)
	first.Message = "2 above what was expected"
	write(t, s, first, during("current", 2, driver.Began, 0.999, driver.Critical), result("light-1", "third", 0.1))
	write(t, s, during("power", 1, driver.Lasts, math.NaN(), driver.Warning))
	cause := map[string]any{"device": "sensor-2", "property": "power"}
	want := []any{
		map[string]any{
			"id": "0000000000000002", "property": "current", "start": "1970-01-01T00:01:30Z", "severity": "critical", "kind": "level",
			"score": 0.97, "cause": cause,
		},
		map[string]any{
			"id": "0000000000000001", "property": "power", "start": "1970-01-01T00:01:30Z", "severity": "warning", "kind": "level",
			"score": 0.97, "cause": cause, "message": "2 above what was expected",
		},
	}
	waittest.Eventually(t, "both are listed", func() bool { return cmp.Equal(want, a.get("default/light-1", append(data, "incidents")...)) })
	waittest.Eventually(t, "the verdict between is written", func() bool {
		return a.get("default/light-1", append(data, "properties", "power", "score")...) == nil
	})
	for field, want := range map[string]any{
		"severity": "warning", "kind": "level", "since": "1970-01-01T00:01:30Z", "incident": "0000000000000001", "message": "2 above what was expected",
	} {
		if got := a.get("default/light-1", append(data, "properties", "power", field)...); got != want {
			t.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
	over := during("current", 2, driver.NewNormal, 0.1, driver.Critical)
	write(t, s, over)
	waittest.Eventually(t, "one has ended", func() bool {
		all, _ := a.get("default/light-1", append(data, "incidents")...).([]any)
		return len(all) == 1 && a.severity("default/light-1") == "warning"
	})
	if got := a.get("default/light-1", append(data, "properties", "current", "message")...); got != "new normal after 6 h" {
		t.Errorf("message at the end: %v", got)
	}
	write(t, s, during("power", 1, driver.Returned, 0.1, driver.Warning))
	waittest.Eventually(t, "all have ended", func() bool {
		return a.get("default/light-1", append(data, "incidents")...) == nil && a.severity("default/light-1") == "normal"
	})
	if a.get("default/light-1", append(data, "properties", "power", "incident")...) != nil {
		t.Error("the property still has an incident")
	}
}

// Whatever goes wrong, the latest verdict is there in the end.
func TestFailuresPass(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(w http.ResponseWriter, r *http.Request)
		count func(Stats) uint64
	}{
		"conflict": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 409, "Conflict", "later") }, func(s Stats) uint64 { return s.Conflicts }},
		"throttled": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			refuse(w, 429, "TooManyRequests", "later")
		}, func(s Stats) uint64 { return s.Throttled }},
		"server error": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 500, "InternalError", "boom") }, func(s Stats) uint64 { return s.Failed }},
		"connection cut": {func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = conn.Close()
			}
		}, func(s Stats) uint64 { return s.Failed }},
		"hangs": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body) // only then the server sees that the client is gone
			<-r.Context().Done()
		}, func(s Stats) uint64 { return s.Failed }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, "default/light-1")
			a.setFail(func(w http.ResponseWriter, r *http.Request) bool { c.fail(w, r); return true })
			s := start(t, a, map[string]any{"timeout": "200ms"})
			write(t, s, result("light-1", "power", 0.97))
			waittest.Eventually(t, "the failure is counted", func() bool { return c.count(s.Stats()) > 0 })
			write(t, s, result("light-1", "power", 1))
			a.setFail(nil)
			waittest.Eventually(t, "the latest is written", func() bool { return a.severity("default/light-1") == "critical" })
			waittest.Eventually(t, "nothing waits", func() bool { return s.Stats().Waiting == 0 })
		})
	}
}

// A status that is missing is waited for, or created with its device as owner where that is allowed.
func TestMissing(t *testing.T) {
	a := newAPI(t)
	s := start(t, a, nil)
	write(t, s, result("light-1", "power", 1))
	waittest.Eventually(t, "it is missed", func() bool { return s.Stats().Missing > 0 })
	if len(a.other) > 0 {
		t.Errorf("it must not create nor read: %v", a.other)
	}

	s = start(t, a, map[string]any{"create": true})
	write(t, s, result("light-2", "power", 1))
	waittest.Eventually(t, "it is created", func() bool { return a.severity("default/light-2") == "critical" })
	owner := a.get("default/light-2", "metadata", "ownerReferences").([]any)[0].(map[string]any)
	if owner["uid"] != "u-1" || owner["kind"] != "Device" || owner["name"] != "light-2" {
		t.Errorf("owner is %v", owner)
	}
}

// A namespace that is refused holds up no other, and is not asked again and again.
func TestForbidden(t *testing.T) {
	a := newAPI(t, "default/light-1", "secret/light-1")
	asked := 0
	a.setFail(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/secret/") {
			return false
		}
		asked++
		refuse(w, 403, "Forbidden", "mapper cannot patch devicestatuses in secret")
		return true
	})
	var mu sync.Mutex
	var told []string
	s, err := New(admethod.SinkSettings{
		Options: map[string]any{"server": a.URL, "interval": "20ms", "rate": 2000},
		Hooks: &admethod.Hooks{SinkFailed: func(_ string, err error, _ bool) {
			mu.Lock()
			told = append(told, err.Error())
			mu.Unlock()
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := result("light-1", "power", 1)
	r.Key.Namespace = "secret"
	write(t, s, r)
	waittest.Eventually(t, "it is refused", func() bool { return s.Measure()["forbidden_answers"] == 1 })
	for i := range 10 {
		severity := []float64{0.1, 1}[i%2]
		r.Judge(severity, driver.KindSpike)
		want := r.Severity.String()
		write(t, s, r, result("light-1", "power", severity))
		waittest.Eventually(t, "others are written", func() bool { return a.severity("default/light-1") == want })
	}
	if err := s.Shutdown(t.Context()); err == nil {
		t.Error("Shutdown does not tell what is lost")
	}
	mu.Lock()
	defer mu.Unlock()
	if asked > 2 || len(told) == 0 || !strings.Contains(told[0], "mapper cannot patch devicestatuses in secret") {
		t.Errorf("asked %d times (want once, and once more at the end), told %q", asked, told)
	}
}

// What got worse goes first, what got better next, heartbeats last; one that waited for long goes before all.
func TestRank(t *testing.T) {
	now := time.Unix(1000, 0)
	told := func(score float64) *record {
		d := &record{entries: make(map[string]entry)}
		r := result("d", "p", score)
		d.add(&r, now, driver.English)
		d.told, d.heard, d.toldWorst = d.changes, d.verdicts, d.worst
		return d
	}
	add := func(d *record, score float64) *record {
		r := result("d", "p", score)
		d.add(&r, now, driver.English)
		return d
	}
	order := []*record{add(told(0.1), 0.2), add(told(1), 0.1), add(told(0.1), 0.96), add(told(0.1), 1)}
	for i, d := range order[1:] {
		if d.rank(now) <= order[i].rank(now) {
			t.Errorf("rank %d of %d is not above %d", d.rank(now), i+1, order[i].rank(now))
		}
	}
	if order[1].rank(now.Add(patience+1)) <= order[3].rank(now) {
		t.Error("one that waits for long starves")
	}
	c := DefaultConfig()
	order[0].tried = now
	if at, ok := order[0].due(&c); !ok || at.Sub(now) != c.Heartbeat {
		t.Errorf("a verdict that says the same is due at %v", at)
	}
	if _, ok := told(0.1).due(&c); ok {
		t.Error("without verdicts there is no heartbeat")
	}
}

// Thousands of devices that flap: memory is that of one verdict each, no device is written too often, and the final
// state arrives.
func TestFlapping(t *testing.T) {
	const devices = 300
	names := make([]string, devices)
	for i := range names {
		names[i] = fmt.Sprintf("default/d-%d", i)
	}
	a := newAPI(t, names...)
	s := start(t, a, map[string]any{"interval": "500ms", "devices": devices})
	batch := make([]driver.Result, devices)
	for round := range 200 {
		for i := range batch {
			batch[i] = result(fmt.Sprintf("d-%d", i), "power", []float64{0.1, 1}[(round+i)%2])
		}
		write(t, s, batch...)
	}
	write(t, s, result("one-too-many", "power", 1))
	waittest.Eventually(t, "the final state", func() bool {
		for i := range batch {
			if a.severity(names[i]) != batch[i].Severity.String() {
				return false
			}
		}
		return s.Stats().Waiting == 0
	})
	if got := s.Stats(); got.Devices != devices || got.Refused != 1 {
		t.Errorf("%+v", got)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, at := range a.writes {
		// The server's clock is read after the sink's: a part of the interval may be on the way.
		if n, span := len(at), at[len(at)-1].Sub(at[0]); n > int(span/(400*time.Millisecond))+2 {
			t.Errorf("%s: %d writes within %v", name, n, span)
		}
	}
}

func TestShutdownFlushes(t *testing.T) {
	a := newAPI(t, "default/light-1")
	s := start(t, a, nil)
	write(t, s, result("light-1", "power", 1))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a.severity("default/light-1") != "critical" {
		t.Error("the last verdict is lost")
	}
	if err := s.Start(t.Context()); err == nil {
		t.Error("it starts again")
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"nothing":      {nil, "neither kubeconfig nor server"},
		"both":         {map[string]any{"server": "http://127.0.0.1:10550", "kubeconfig": "x"}, "not both"},
		"no such file": {map[string]any{"kubeconfig": "/does/not/exist"}, "kubeconfig"},
		"token alone":  {map[string]any{"tokenFile": "x"}, "go with server"},
		"no name":      {map[string]any{"server": "http://h", "extension": ""}, "extension"},
		"unknown":      {map[string]any{"sever": "http://h"}, "sever"},
	} {
		if _, err := New(admethod.SinkSettings{Options: c.options}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("power", 0.97, "why", `{"status":{"extensions":{"x":{"data":{"properties":{"a":1}}}}}}`)
	f.Add("\xff", math.NaN(), strings.Repeat("é", 400), `[`)
	f.Fuzz(func(t *testing.T, property string, number float64, message, object string) {
		watched([]byte(object), "x")
		r := result("d", property, number)
		r.Value, r.Expected, r.Message = number, -number, message
		r.Causes = []driver.Cause{{Weight: number}}
		d := record{entries: make(map[string]entry)}
		d.add(&r, time.Unix(0, 0), driver.English)
		body, err := d.render("x", time.Unix(0, 0))
		if err != nil || !json.Valid(body) {
			t.Fatalf("%s: %v", body, err)
		}
		if len(shorten(message, mostMessage)) > mostMessage {
			t.Error("message too long")
		}
	})
}

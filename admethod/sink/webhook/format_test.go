// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// result is a verdict; one that is anomalous is of the property's incident.
func result(property string, at time.Time, score float64, kind driver.Kind) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: "default", Device: "light-1", Property: property}, At: at, Value: 5}})
	r.Threshold, r.Detector, r.Confidence = driver.DefaultThreshold, "ewma", 0.75
	r.Judge(score, kind)
	if r.Severity.Anomalous() {
		h := fnv.New64a()
		h.Write([]byte(property))
		r.Incident = driver.Incident{ID: h.Sum64() | 1, Phase: driver.Lasts, Start: at, Severity: r.Severity, Score: score, Kind: kind}
	}
	return r
}

// ended is the verdict that ends the property's incident.
func ended(property string, at time.Time, as driver.Phase, worst driver.Severity) driver.Result {
	r, is := result(property, at, 0.1, driver.KindNone), result(property, at, 0.97, driver.KindLevel)
	r.Incident = is.Incident
	r.Incident.Phase, r.Incident.End, r.Incident.Severity = as, at, worst
	return r
}

// receiver stands for the other side of post.
type receiver struct {
	err    error
	bodies []string
}

func (r *receiver) post(_ context.Context, _ string, body []byte) error {
	if r.err != nil {
		return r.err
	}
	r.bodies = append(r.bodies, string(body))
	return nil
}

// told empties the receiver and returns the alerts that Alertmanager would have taken, in short: what each is, since and
// until when relative to the start.
func (r *receiver) told(t *testing.T, begin time.Time) (out []string) {
	t.Helper()
	for _, body := range r.bodies {
		var alerts []alert
		if err := json.Unmarshal([]byte(body), &alerts); err != nil {
			t.Fatal(err)
		}
		for _, a := range alerts {
			if err := valid(a); err != nil {
				t.Errorf("%v: %s", err, body)
			}
			out = append(out, fmt.Sprintf("%s %s %v…%v", a.Labels["property"], a.Labels["severity"], a.StartsAt.Sub(begin), a.EndsAt.Sub(begin)))
		}
	}
	slices.Sort(out)
	r.bodies = nil
	return out
}

// valid is what Alertmanager asks of an alert.
func valid(a alert) error {
	switch {
	case a.EndsAt.Before(a.StartsAt):
		return errors.New("the alert ends before it begins")
	case a.Labels["alertname"] == "":
		return errors.New("no alertname")
	}
	for name, value := range a.Labels {
		if !labelName.MatchString(name) || value == "" || !utf8.ValidString(value) {
			return fmt.Errorf("label %q=%q", name, value)
		}
	}
	return nil
}

func items(rs ...driver.Result) (out []latest.Item) {
	for _, r := range rs {
		out = append(out, latest.Item{Result: r})
	}
	return out
}

func newTestAlertmanager(r *receiver) *alertmanager {
	return newAlertmanager(r.post, map[string]string{"alertname": "Anomaly", "site": "hall-7"}, time.Minute, 100)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAlertStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		m := newTestAlertmanager(r)
		begin := time.Now()
		expect := func(what string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, r.told(t, begin)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
		}
		deliver := func(rs ...driver.Result) {
			t.Helper()
			must(t, m.deliver(t.Context(), items(rs...)))
			must(t, m.upkeep(t.Context()))
		}
		pass := func(d time.Duration) { <-time.After(d) }
		deliver(result("a", begin, 0.1, ""), result("b", begin, 0.1, ""))
		expect("normal is not news")
		pass(time.Second)
		deliver(result("a", begin, 0.97, driver.KindSpike))
		expect("it begins", "a warning 0s…4m1s")
		pass(10 * time.Second)
		deliver(result("a", begin.Add(10*time.Second), 0.97, driver.KindDrift))
		expect("it lasts")
		pass(50 * time.Second)
		deliver()
		expect("it is sent again", "a warning 0s…5m1s")
		deliver(result("a", time.Now(), 0.999, driver.KindSpike))
		expect("it gets worse: what routes on critical hears of it", "a critical 1m1s…5m1s", "a warning 0s…5m1s")
		deliver(result("a", time.Now(), 0.97, driver.KindSpike))
		expect("worse it stays")
		deliver(result("a", time.Now(), math.NaN(), driver.KindNone))
		expect("nobody knows how it is")
		pass(time.Minute)
		must(t, m.upkeep(t.Context()))
		expect("both are sent again", "a critical 1m1s…6m1s", "a warning 0s…6m1s")
		deliver(ended("a", time.Now(), driver.Returned, driver.Critical), result("b", time.Now().Add(time.Hour), 0.97, driver.KindSpike))
		expect("one ends, another begins, by a clock that is ahead", "a critical 1m1s…2m1s", "a warning 0s…2m1s", "b warning 2m1s…6m1s")
		deliver(ended("c", time.Now(), driver.NewNormal, driver.Critical))
		expect("one ends that an earlier process told", "c critical 2m1s…2m1s")
		must(t, m.deliver(t.Context(), []latest.Item{
			{Result: driver.Result{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "b"}}, Gone: true},
			{Result: driver.Result{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "never"}}, Gone: true},
		}))
		expect("it is no longer watched", "b warning 2m1s…2m1s")
		pass(time.Hour)
		must(t, m.upkeep(t.Context()))
		expect("nothing is left")
	})
}

// An incident is one alert: whatever its verdicts say meanwhile, its labels are the same, it begins when the incident did,
// and it ends with it.
func TestAlertOfAnIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		m := newTestAlertmanager(r)
		begin := time.Now()
		during := func(id uint64, phase driver.Phase, severity driver.Severity, kind driver.Kind, message string) driver.Result {
			v := result("a", time.Now(), 0.999, kind)
			v.Severity, v.Message = severity, message
			v.Incident = driver.Incident{ID: id, Phase: phase, Start: begin, Severity: driver.Critical, Kind: kind}
			if !phase.Open() {
				v.Incident.End, v.Score, v.Kind = v.At, 0.1, driver.KindNone
			}
			return v
		}
		deliver := func(v driver.Result) {
			t.Helper()
			must(t, m.upkeep(t.Context()))
			must(t, m.deliver(t.Context(), items(v)))
			<-time.After(50 * time.Second)
		}
		deliver(during(1, driver.Began, driver.Critical, driver.KindSpike, "15 above what was expected"))
		deliver(during(1, driver.Lasts, driver.Warning, driver.KindLevel, ""))
		deliver(result("a", time.Now(), math.NaN(), ""))
		deliver(during(1, driver.Lasts, driver.Critical, driver.KindDrift, ""))
		deliver(during(1, driver.NewNormal, driver.Normal, driver.KindDrift, ""))
		deliver(result("a", time.Now(), 0.1, ""))
		var all []alert
		for _, body := range r.bodies {
			var alerts []alert
			must(t, json.Unmarshal([]byte(body), &alerts))
			all = append(all, alerts...)
		}
		if len(all) != 4 {
			t.Fatalf("%d alerts were sent, want it to begin, two resends, and the end", len(all))
		}
		for i, a := range all {
			must(t, valid(a))
			if diff := cmp.Diff(all[0].Labels, a.Labels); diff != "" {
				t.Errorf("labels of number %d: %s", i, diff)
			}
			if !a.StartsAt.Equal(begin) || i < 3 && !a.EndsAt.After(begin.Add(4*time.Minute-1)) || i == 3 && !a.EndsAt.Equal(begin.Add(200*time.Second)) {
				t.Errorf("number %d lasts from %v to %v", i, a.StartsAt.Sub(begin), a.EndsAt.Sub(begin))
			}
			if a.Annotations["description"] != "15 above what was expected" || a.Annotations["incident"] != "0000000000000001" {
				t.Errorf("number %d: %v", i, a.Annotations)
			}
		}
		if got, want := all[3].Annotations["summary"], "default/light-1/a: critical drift: new normal after 3 min 20 s"; got != want {
			t.Errorf("summary %q, want %q", got, want)
		}
	})
}

// The sinks' own words are in the language of the mapper, as the reasons are.
func TestAlertInChinese(t *testing.T) {
	r := new(receiver)
	m := newTestAlertmanager(r)
	m.language = driver.Chinese
	v := result("a", time.Now(), 0.97, driver.KindLevel)
	v.Message = "比预期高 10 °C"
	must(t, m.deliver(t.Context(), items(v)))
	var alerts []alert
	must(t, json.Unmarshal([]byte(r.bodies[0]), &alerts))
	if a := alerts[0].Annotations; a["summary"] != "default/light-1/a：警告 level" || a["description"] != v.Message {
		t.Errorf("%v", a)
	}
}

// What the receiver did not get is told when it is back; what it refused is told again with the next resend.
func TestAlertAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{err: errors.New("away")}
		m := newTestAlertmanager(r)
		begin := time.Now()
		batch := items(result("a", begin, 0.97, driver.KindSpike))
		if err := m.deliver(t.Context(), batch); err == nil || len(m.told) != 0 {
			t.Fatalf("%v, %d told", err, len(m.told))
		}
		r.err = admethod.Permanent(errors.New("no"))
		if err := m.deliver(t.Context(), batch); !errors.Is(err, admethod.ErrPermanent) {
			t.Fatal(err)
		}
		must(t, m.upkeep(t.Context()))
		<-time.After(time.Minute)
		failed := 0
		m.failed = func(error) { failed++ }
		must(t, m.upkeep(t.Context()))
		if failed != 1 {
			t.Errorf("%d refusals are told, want 1", failed)
		}
		r.err = nil
		<-time.After(time.Minute)
		must(t, m.upkeep(t.Context()))
		if diff := cmp.Diff([]string{"a warning 0s…6m0s"}, r.told(t, begin)); diff != "" {
			t.Error(diff)
		}
	})
}

// More alerts than are remembered fire again with each verdict, and all those that are remembered go out in batches.
func TestManyAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(receiver)
		m := newTestAlertmanager(r)
		begin := time.Now()
		var all []driver.Result
		for i := range 150 {
			all = append(all, result(strconv.Itoa(i), begin, 0.97, driver.KindSpike))
		}
		for range 2 {
			must(t, m.deliver(t.Context(), items(all...)))
		}
		must(t, m.upkeep(t.Context()))
		if n := len(r.told(t, begin)); n != 150+50 || len(m.told) != 100 {
			t.Errorf("%d alerts, %d remembered", n, len(m.told))
		}
		<-time.After(time.Minute)
		must(t, m.upkeep(t.Context()))
		if n := len(r.bodies); n != 2 {
			t.Errorf("100 alerts in %d requests", n)
		}
		if n := len(r.told(t, begin)); n != 100 {
			t.Errorf("%d alerts sent again", n)
		}
	})
}

func TestAlertFields(t *testing.T) {
	r := result("power\xff", time.Unix(math.MinInt64, 0), 0.97, driver.KindSpike)
	r.Expected, r.Lower, r.Upper, r.Message, r.Model = 1, math.Inf(-1), 3, "too\xffmuch", "room@3f2a"
	r.Incident.Cause = driver.Key{Namespace: "default", Device: "light-1", Property: "current"}
	rec := new(receiver)
	m := newTestAlertmanager(rec)
	must(t, m.deliver(t.Context(), items(r)))
	var alerts []alert
	if err := json.Unmarshal([]byte(rec.bodies[0]), &alerts); err != nil {
		t.Fatal(err)
	}
	a := alerts[0]
	if a.EndsAt.Before(time.Now()) {
		t.Errorf("ends at %v", a.EndsAt)
	}
	a.EndsAt = time.Time{}
	want := alert{
		Labels: map[string]string{
			"alertname": "Anomaly", "site": "hall-7", "namespace": "default", "device": "light-1", "property": "power\uFFFD", "severity": "warning",
		},
		Annotations: map[string]string{
			"summary": "default/light-1/power\uFFFD: warning spike", "description": "too\uFFFDmuch", "kind": "spike", "score": "0.97",
			"value": "5", "expected": "1", "upper": "3", "incident": verdict.ID(r.Incident.ID), "cause": "default/light-1/current", "detector": "ewma", "model": "room@3f2a",
		},
		StartsAt: time.Unix(0, 0).UTC(),
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
}

func TestEvents(t *testing.T) {
	r := new(receiver)
	c := newCloudEvents(r.post, 2)
	at := time.Unix(1_700_000_000, 0)
	told := func(it latest.Item) (words string) {
		t.Helper()
		r.bodies = nil
		must(t, c.deliver(t.Context(), []latest.Item{it}))
		for _, body := range r.bodies {
			var e event.Event
			must(t, json.Unmarshal([]byte(body), &e))
			must(t, e.Validate())
			var v verdict.Verdict
			must(t, e.DataAs(&v))
			words += fmt.Sprintf("%s %s %s %v %v %v", e.Source(), e.Subject(), e.Extensions()["severity"], v.Severity, v.Kind, v.Message)
			if v.Incident != nil {
				words += fmt.Sprintf("%v", v.Incident.Phase)
				if e.Extensions()["incident"] != v.Incident.ID || e.Extensions()["phase"] != v.Incident.Phase.String() {
					t.Errorf("%s", body)
				}
			}
			if e.Type() != EventType || e.SpecVersion() != "1.0" || e.DataContentType() != "application/json" {
				t.Errorf("%s", body)
			}
		}
		return words
	}
	a := "/namespaces/default/devices/light-1 a "
	for i, step := range []struct {
		it   latest.Item
		want string
	}{
		{latest.Item{Result: result("a", at, math.NaN(), "")}, ""},
		{latest.Item{Result: result("a", at, 0.1, "")}, a + "normal normal  "},
		{latest.Item{Result: result("a", at, 0.1, "")}, ""},
		{latest.Item{Result: result("a", at, 0.97, driver.KindSpike)}, a + "warning warning spike lasts"},
		{latest.Item{Result: result("a", at, 0.97, driver.KindDrift)}, a + "warning warning drift lasts"},
		{latest.Item{Result: result("a", at, 0.999, driver.KindDrift)}, a + "critical critical drift lasts"},
		{latest.Item{Result: result("a", at, 0.999, driver.KindDrift)}, ""},
		{latest.Item{Result: ended("a", at, driver.NewNormal, driver.Critical)}, a + "normal normal  newNormal"},
		{latest.Item{Result: result("a", at, 0.1, "")}, ""},
		{latest.Item{Result: ended("a", at, driver.NewNormal, driver.Critical)}, ""},
		{latest.Item{Result: result("a", at, 0.97, driver.KindSpike)}, a + "warning warning spike lasts"},
		{latest.Item{Result: driver.Result{Key: result("a", at, 0, "").Key}, Gone: true}, a + "unknown unknown  no longer watchedabandoned"},
		{latest.Item{Result: driver.Result{Key: result("a", at, 0, "").Key}, Gone: true}, ""},
		{latest.Item{Result: result("b", at, 0.1, "")}, "/namespaces/default/devices/light-1 b normal normal  "},
		{latest.Item{Result: result("c", at, 0.1, "")}, "/namespaces/default/devices/light-1 c normal normal  "},
		{latest.Item{Result: result("d", at, 0.1, "")}, "/namespaces/default/devices/light-1 d normal normal  "}, // beyond what is remembered
		{latest.Item{Result: result("d", at, 0.1, "")}, "/namespaces/default/devices/light-1 d normal normal  "},
	} {
		if diff := cmp.Diff(step.want, told(step.it)); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	// A failure is tried again with the same id, a refusal is not.
	r.err = errors.New("away")
	if err := c.deliver(t.Context(), items(result("b", at, 0.97, driver.KindSpike))); err == nil {
		t.Error("no error")
	}
	if c.told[result("b", at, 0, "").Key].severity != driver.Normal {
		t.Error("what failed counts as told")
	}
	r.err = admethod.Permanent(errors.New("no"))
	if err := c.deliver(t.Context(), items(result("b", at, 0.97, driver.KindSpike))); !errors.Is(err, admethod.ErrPermanent) {
		t.Error(err)
	}
	r.err = nil
	if told(latest.Item{Result: result("b", at, 0.97, driver.KindSpike)}) != "" {
		t.Error("what was refused is sent again")
	}
}

func TestEventsOfOneReadingDiffer(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	seen := make(map[string]bool)
	for _, r := range []driver.Result{
		result("a", at, 0.97, driver.KindSpike), result("a", at, 0.97, driver.KindDrift), result("a", at, 0.1, ""),
		result("b", at, 0.1, ""), result("", at, 0.1, ""), result("a", at.Add(1), 0.1, ""),
	} {
		body, err := Event(&r)
		must(t, err)
		again, err := Event(&r)
		must(t, err)
		if string(body) != string(again) {
			t.Error("the event of a verdict is not always the same")
		}
		var e event.Event
		must(t, json.Unmarshal(body, &e))
		if seen[e.ID()] {
			t.Errorf("id %q is there twice", e.ID())
		}
		seen[e.ID()] = true
	}
}

// Whatever names and times are, receivers get what their formats allow.
func FuzzFormats(f *testing.F) {
	f.Add("default", "light-1", "power", "too much", int64(1_700_000_000), int64(5), 0.97)
	f.Add("\xff/..", "a?b#c%", "\x00\u2028\U0010FFFF", "\x7f", int64(math.MaxInt64), int64(math.MinInt64), 1.0)
	f.Add("", "", "", "", int64(math.MinInt64), int64(0), 0.96)
	f.Fuzz(func(t *testing.T, namespace, device, property, message string, at, nanos int64, score float64) {
		r := result(property, time.Unix(at, nanos), max(score, 0.96), driver.Kind(message))
		r.Key.Namespace, r.Key.Device, r.Message = namespace, device, message
		body, err := Event(&r)
		if err != nil {
			t.Fatal(err)
		}
		var e event.Event
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		rec := new(receiver)
		m := newTestAlertmanager(rec)
		if err := m.deliver(t.Context(), items(r)); err != nil {
			t.Fatal(err)
		}
		if r.Severity.Anomalous() && len(rec.told(t, time.Now())) != 1 {
			t.Errorf("no alert for %+v", r)
		}
	})
}

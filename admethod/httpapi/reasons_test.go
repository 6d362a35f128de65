// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// incident asks for that of a device.
func (f *fixture) incident(t *testing.T, device string) Incident {
	t.Helper()
	_, body := f.ask(t, http.MethodGet, "/v1/incidents?device="+device, "")
	var answer struct{ Incidents []Incident }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Incidents) != 1 {
		t.Fatalf("%s %v", body, err)
	}
	return answer.Incidents[0]
}

// What is said of an incident is what the newest verdict says, also where that is no news for sinks; of one that is over, what
// the last one said.
func TestReasonIsThatOfNow(t *testing.T) {
	r := during(1, "boiler-1", 0, driver.Began)
	f := newFixture(t, r)
	see := f.Hooks().Verdict
	r.At, r.Incident.Phase, r.Message, r.Translated = noon.Add(13*time.Minute), driver.Lasts, "stands still for 13 min", "已停滞 13 分钟"
	see(&r)
	if i := f.incident(t, "boiler-1"); i.Message != r.Message || i.Translated != r.Translated || i.Duration != 13*60 {
		t.Errorf("%+v", i)
	}
	_, body := f.ask(t, http.MethodGet, "/v1/property?namespace=default&device=boiler-1&property="+r.Key.Property, "")
	var p Property
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Verdict == nil || p.Verdict.Message != r.Message {
		t.Error(body, err)
	}
	end := during(1, "boiler-1", 14, driver.Returned)
	see(&end)
	if err := f.Write(t.Context(), []driver.Result{end}); err != nil {
		t.Fatal(err)
	}
	if i := f.incident(t, "boiler-1"); i.Message != r.Message || i.Translated != r.Translated || i.End == nil {
		t.Errorf("%+v", i)
	}
	if n := f.reasons.n.Load(); n != 0 {
		t.Errorf("%d are held", n)
	}
	if allocs := testing.AllocsPerRun(100, func() { see(&end) }); allocs != 0 {
		t.Errorf("a verdict takes memory %v times", allocs)
	}
}

// Who was blamed first, and is found sound later, is an incident of which the other one is the cause, while it lasts and when it
// is over.
func TestBlameMoves(t *testing.T) {
	light, sensor := during(1, "light-2", 0, driver.Began), during(2, "sensor-1", 0, driver.Began)
	both := []driver.Cause{{Key: light.Key, Weight: 0.5}, {Key: sensor.Key, Weight: 0.5}}
	light.Causes, sensor.Causes = both, both
	f := newFixture(t, light, sensor)
	f.watched = func(driver.Key) (admethod.Watched, bool) {
		return admethod.Watched{Members: []driver.Key{light.Key, sensor.Key}}, true
	}
	cause := func(device, want string) {
		t.Helper()
		if i := f.incident(t, device); i.Cause == nil || i.Cause.Device != want {
			t.Errorf("%s: %+v, want %s", device, i.Cause, want)
		}
	}
	cause("light-2", "light-2")
	cause("sensor-1", "light-2")
	see := f.Hooks().Verdict
	light.At, light.Causes, sensor.At, sensor.Causes = noon.Add(time.Minute), nil, noon.Add(time.Minute), both[1:]
	see(&light)
	see(&sensor)
	cause("light-2", "sensor-1")
	cause("sensor-1", "sensor-1")
	end := during(1, "light-2", 2, driver.Returned)
	see(&end)
	if err := f.Write(t.Context(), []driver.Result{end}); err != nil {
		t.Fatal(err)
	}
	cause("light-2", "sensor-1")
}

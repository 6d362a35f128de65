// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package activity

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

const lockedTogether = `
activities:
- name: property
  match: {metric: "heat_*"}
  command: {shell_file: a.sh}
- name: device
  match: {}
  command: {shell_file: a.sh}
  lock: device
- name: metric
  match: {metric: heat_prophet}
  command: {shell_file: a.sh}
  lock: metric
- name: namespace
  match: {severity: critical}
  command: {shell_file: a.sh}
  lock: namespace
  unlock: [onAnomalyChangeStatus, onRetraining]
`

// Properties that share a lock have an activity run once for all of them, and again when all are back; also over a restart.
func TestSharedLocks(t *testing.T) {
	dir := setup(t, lockedTogether, map[string]string{"a.sh": "exit 0"})
	open := func() *sink {
		s := start(t, dir, nil)
		s.about = func(k driver.Key) admethod.About {
			if k.Property == "ewma" || k.Property == "mad" {
				return admethod.About{Predicted: "heat_prophet"}
			}
			return admethod.About{}
		}
		return s
	}
	s := open()
	names := [...]string{"property", "device", "metric", "namespace"}
	runs := [len(names)]int{}
	step := func(what string, more [len(names)]int, results ...driver.Result) {
		t.Helper()
		s.put(t, results...)
		for i, name := range names {
			runs[i] += more[i]
			s.awaitRuns(t, name, runs[i])
		}
		for i, name := range names {
			if got := s.runs(name); got != runs[i] {
				t.Errorf("%s: %d runs of %s, want %d", what, got, name, runs[i])
			}
		}
	}
	incident := uint64(0)
	of := func(device, property string, severity driver.Severity, phase driver.Phase) driver.Result {
		r := verdict(device, severity)
		r.Key.Property, r.Model = property, property+"@1"
		if phase == driver.Began {
			incident++
		}
		r.Incident = driver.Incident{ID: incident, Phase: phase, Start: r.At, Severity: driver.Critical}
		return r
	}
	ewma, mad := of("light-1", "ewma", driver.Critical, driver.Began), of("light-1", "mad", driver.Critical, driver.Began)
	step("two detectors of one series", [...]int{2, 1, 1, 1}, ewma, mad)
	step("a third property, without a metric", [...]int{0, 0, 0, 0}, of("light-1", "damp", driver.Critical, driver.Began))
	step("another device", [...]int{1, 1, 0, 0}, of("light-2", "mad", driver.Critical, driver.Began))
	over := func(r driver.Result) driver.Result {
		r.Severity, r.Incident.Phase = driver.Normal, driver.Returned
		return r
	}
	step("one detector is back, and breaks again", [...]int{1, 0, 0, 0}, over(ewma), of("light-1", "ewma", driver.Critical, driver.Began))
	step("another model judges another property", [...]int{0, 0, 0, 0}, mad)

	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, runs = open(), [len(names)]int{}
	step("after a restart, it goes on", [...]int{0, 0, 0, 0}, mad)
	retrained := over(ewma)
	retrained.Model = "ewma@2"
	step("the model of the property that it ran on is another one, and that of a property that holds it", [...]int{0, 0, 0, 1}, retrained, mad)
	s.Hooks().ModelLoaded(mad.Key, "mad@2")
	step("it is loaded anew", [...]int{0, 0, 0, 1}, mad)

	w := httptest.NewRecorder()
	for _, name := range []string{"device@default/light-1", "metric@default/heat_prophet"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodDelete, "/v1/locks/"+name, nil)
		r.SetPathValue("name", name)
		if s.deleteLock(w, r); w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	step("two are released by hand", [...]int{0, 1, 1, 0}, mad)

	// All of a device are back.
	s.put(t, over(mad))
	step("the last one is back", [...]int{1, 1, 1, 1}, of("light-1", "mad", driver.Critical, driver.Began))
}

// The locks of properties that nobody watches any more end with time, also those that others share.
func TestSharedLockOfWhatIsGone(t *testing.T) {
	dir := setup(t, strings.ReplaceAll(lockedTogether, "unlock: [onAnomalyChangeStatus, onRetraining]", "unlock: [onRetraining]"), map[string]string{"a.sh": "exit 0"})
	s := start(t, dir, nil)
	now := time.Now()
	s.mu.Lock()
	s.now = func() time.Time { return now }
	s.mu.Unlock()
	bad := verdict("light-1", driver.Critical)
	s.put(t, bad)
	s.Forget(bad.Key)
	held := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.locks.held)
	}
	if held() != 2 { // of device and namespace
		t.Fatalf("%d locks", held())
	}
	s.mu.Lock()
	now = now.Add(keepGone + time.Minute)
	s.mu.Unlock()
	s.put(t)
	if held() != 0 {
		t.Errorf("%d locks are left", held())
	}
}

func TestWrongLock(t *testing.T) {
	_, err := Parse([]byte("activities: [{name: a, command: {shell_file: a.sh}, lock: house}]"), nil)
	if want := `lock: got "house", want property, device, metric or namespace`; err == nil || !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/all"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
)

// rehearsal plays the part of the temperature sensor without processes and in virtual time, so that many rooms with
// other noise tell how reliably the story goes.
type rehearsal struct {
	t        *testing.T
	cycle    time.Duration
	now      time.Time
	room     *room.Room
	detector driver.Detector
	config   admethod.ADMethodConfig
	alarms   int // while nothing was wrong
}

// detection is what the manifests say of it for a device.
func detection(t *testing.T, device string) admethod.ADMethodConfig {
	t.Helper()
	m, err := readManifests(filepath.Join("..", "restful-light-mapper", "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Devices {
		if d.Name != device {
			continue
		}
		config, err := admethod.ParseSettings(d.Spec.Properties[0].PushMethod.AnomalyDetection.Data)
		if err != nil {
			t.Fatal(err)
		}
		return config
	}
	t.Fatalf("no manifest of %s", device)
	return admethod.ADMethodConfig{}
}

func newRehearsal(t *testing.T, seed uint64, speed time.Duration) *rehearsal {
	t.Helper()
	r := &rehearsal{t: t, cycle: time.Second / speed, now: noon.Add(time.Duration(seed) * time.Hour), config: detection(t, temperature.device)}
	var err error
	r.room, err = room.New(room.Config{Seed: seed, Day: 24 * time.Hour / speed, Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	r.detector, err = driver.Open(r.config.Detector, driver.Settings{
		Threshold: r.config.Threshold,
		Members:   []driver.Member{{DataType: "double", Minimum: -40, Maximum: 85, Cycle: r.cycle}},
	}, r.config.Options["detector"])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rehearsal) ask(method, path, body string) (string, bool) {
	w := httptest.NewRecorder()
	r.room.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Body.String(), w.Code == http.StatusOK
}

// read takes a reading a cycle after the last one and returns the verdict on it.
func (r *rehearsal) read() driver.Severity {
	r.now = r.now.Add(r.cycle)
	text, ok := r.ask(http.MethodGet, "/temperature", "")
	if !ok {
		return driver.Unknown // no reading, no verdict
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.t.Fatal(err)
	}
	var out driver.Result
	row := driver.Row{{At: r.now, Value: value}}
	out.Reset(row)
	out.Threshold = r.config.Threshold
	r.detector.Detect(row, &out)
	return out.Severity
}

// quiet takes readings while nothing is wrong.
func (r *rehearsal) quiet(n int) {
	for range n {
		if r.read().Anomalous() {
			r.alarms++
		}
	}
}

// settle takes readings until they have been normal for a while.
func (r *rehearsal) settle() bool {
	limit := int(settleLimit * speed / time.Second)
	for calm := 0; calm < calmReadings; limit-- {
		if limit == 0 {
			return false
		}
		calm++
		if r.read() != driver.Normal {
			calm = 0
		}
	}
	return true
}

// suffer takes readings under a fault until a while after it is found.
func (r *rehearsal) suffer(limit, reported int) (found int) {
	for i := 1; i <= limit && (found == 0 || i <= found+reported); i++ {
		if r.read().Anomalous() && found == 0 {
			found = i
		}
	}
	return found
}

func TestRehearsal(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const rooms = 40
	spoilt := 0 // by a false alarm
	for seed := range uint64(rooms) {
		r := newRehearsal(t, seed, speed)
		moments := rand.New(rand.NewPCG(seed, 1)) // faults come at other times than in the last rehearsal
		r.quiet(warmReadings + moments.IntN(20))
		if !r.settle() {
			t.Fatalf("room %d: no normal verdicts after %d readings", seed, warmReadings)
		}
		for _, f := range faults {
			if f.of != temperature { // time goes by
				r.quiet(calmReadings + quietReadings + moments.IntN(200))
				continue
			}
			if _, ok := r.ask(http.MethodPost, f.path, f.body); !ok {
				t.Fatalf("%v: cannot be injected", f)
			}
			// Silence is found by the time that passes, which is no matter of the detector.
			if found := r.suffer(int(detectLimit/r.cycle), moments.IntN(30)); found == 0 && f.body != string(room.Dropout) {
				t.Errorf("room %d: %v was not found in %v", seed, f, detectLimit)
			}
			r.ask(http.MethodPost, f.path, f.clear)
			if !r.settle() {
				t.Errorf("room %d: not normal %v after %v", seed, settleLimit, f)
			}
			r.quiet(quietReadings + moments.IntN(20))
		}
		if r.alarms > 0 {
			t.Logf("room %d: %d false alarms", seed, r.alarms)
			spoilt++
		}
	}
	// A story has some 3,000 readings of a temperature. Of 1,000 stories none was spoilt.
	if spoilt > 0 {
		t.Errorf("%d of %d stories are spoilt by false alarms, want none", spoilt, rooms)
	}
}

// At the pace of the field, right after the detector has learned: a fault is found soon, and the verdict lasts as long as
// the fault does; at least for as long as what was learned, after which a jump is the new normal.
func TestRehearsalAtPace(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and starts no goroutine")
	}
	const rooms, lasts = 40, 80
	for _, f := range paceFaults {
		for seed := range uint64(rooms) {
			r := newRehearsal(t, seed, 1)
			r.quiet(paceWarm)
			r.ask(http.MethodPost, f.path, f.body)
			at := 0
			for i := 1; i <= paceFound && at == 0; i++ {
				if r.read().Anomalous() {
					at = i
				}
			}
			if at == 0 || r.alarms > 0 {
				t.Errorf("room %d: %v: found after %d of %d readings, %d alarms before", seed, f, at, paceFound, r.alarms)
				continue
			}
			for i := range lasts {
				if severity := r.read(); severity == driver.Normal {
					t.Errorf("room %d: %v: normal after %d of %d readings, while it lasts", seed, f, i+1, lasts)
					break
				}
			}
			r.ask(http.MethodPost, f.path, f.clear)
			if !r.settle() {
				t.Errorf("room %d: not normal after %v", seed, f)
			}
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
	"github.com/kubeedge/edge-anomaly/pkg/model"
)

// lit is a room with a detector of the group, trained as in the demo and set as in the manifest.
type lit struct {
	t        *testing.T
	room     *room.Room
	detector driver.Detector
	row      driver.Row
	out      driver.Result
}

func newLit(t *testing.T) *lit {
	t.Helper()
	r, err := room.New(room.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l := &lit{t: t, room: r, row: make(driver.Row, len(group))}
	config := detection(t, brightness.device)
	settings := driver.Settings{Threshold: config.Threshold, Members: make([]driver.Member, len(group))}
	for i, m := range group {
		settings.Members[i] = driver.Member{Key: driver.Key{Namespace: namespace, Device: m.device, Property: m.property}}
	}
	learner, err := driver.Open(config.Detector, settings, config.Options["detector"])
	if err != nil {
		t.Fatal(err)
	}
	if err := learner.(driver.Trainer).Train(t.Context(), func(yield func(driver.Row) bool) {
		for range 250 { // as many rows as the demo records
			for _, w := range []wish{{light1, "ON"}, {light2, "ON"}, {light1, "OFF"}, {light2, "OFF"}} {
				l.switchTo(w)
				if !yield(l.fill(l.reports())) {
					return
				}
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	trained := model.Trained{Facts: model.Facts{Driver: config.Detector}}
	for _, m := range group {
		trained.Members = append(trained.Members, m.device+"/"+m.property)
	}
	if trained.Payload, err = learner.(encoding.BinaryMarshaler).MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	if settings.Model, err = trained.Encode(); err != nil {
		t.Fatal(err)
	}
	if l.detector, err = driver.Open(config.Detector, settings, config.Options["detector"]); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *lit) ask(method, path, body string) string {
	l.t.Helper()
	w := httptest.NewRecorder()
	l.room.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		l.t.Fatalf("%s %s: %s", method, path, w.Body)
	}
	return w.Body.String()
}

// fill makes a row of the members' reports.
func (l *lit) fill(reports []string) driver.Row {
	for i, text := range reports {
		s := &l.row[i]
		*s = driver.Sample{Key: driver.Key{Namespace: namespace, Device: group[i].device, Property: group[i].property}, At: noon}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			s.Text, value = text, float64(len(text)%2) // OFF, ON: the text counts
		}
		s.Value = value
	}
	return l.row
}

func (l *lit) switchTo(wishes ...wish) {
	l.t.Helper()
	for _, w := range wishes {
		l.ask(http.MethodPut, "/lights/"+simulated(w.light), switched[w.value])
	}
}

// reports are what the members report, as the mapper names it.
func (l *lit) reports() []string {
	l.t.Helper()
	texts := make([]string, len(group))
	for i, m := range group {
		if m == brightness {
			texts[i] = l.ask(http.MethodGet, "/"+m.property, "")
			continue
		}
		texts[i] = "OFF"
		if l.ask(http.MethodGet, "/lights/"+simulated(m), "") == switched["ON"] {
			texts[i] = "ON"
		}
	}
	return texts
}

// blamed are the devices that are blamed after as many rows as the demo dwells in a state of the lights.
func (l *lit) blamed() []string {
	l.t.Helper()
	reports := l.reports()
	for range dwellReadings {
		l.out.Reset(l.fill(reports))
		l.detector.Detect(l.row, &l.out)
	}
	var devices []string
	if l.out.Severity.Anomalous() {
		for _, c := range l.out.Causes {
			devices = append(devices, c.Key.Device)
		}
	}
	return devices
}

// The faults of the room are located by the switches that the story makes, and forgiven by those after the repair.
// While a light is dark and nothing is switched, the answer is that it cannot be told.
func TestGroupRehearsal(t *testing.T) {
	l := newLit(t)
	l.switchTo(rounds...)
	for _, f := range faults {
		if f.of == temperature {
			continue
		}
		l.switchTo(f.before...)
		if got := l.blamed(); got != nil {
			t.Errorf("before %v, %v is blamed", f, got)
		}
		l.ask(http.MethodPost, f.path, f.body)
		got := l.blamed()
		if f.of == light1 && len(got) != 2 {
			t.Errorf("%v while nothing is switched: %v is blamed, want light-1 or brightness-sensor-1", f, got)
		}
		for _, w := range f.during {
			l.switchTo(w)
			got = l.blamed()
		}
		if diff := cmp.Diff([]string{f.of.device}, got); diff != "" {
			t.Errorf("%v: blamed (-want +got):\n%s", f, diff)
		}
		l.ask(http.MethodPost, f.path, f.clear)
		l.blamed()
		for _, w := range f.after {
			l.switchTo(w)
			got = l.blamed()
		}
		if got != nil {
			t.Errorf("after %v is cleared, %v is blamed", f, got)
		}
	}
}

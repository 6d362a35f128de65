// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// points asks for what is recorded of a property of boiler-1 since an hour, in so many points.
func (p *past) points(t *testing.T, property, points string) (got recorder.Points) {
	t.Helper()
	_, body := p.ask(t.Context(), "/v1/readings", "property", property, "points", points, "from", p.at(pastReadings-60).Format(time.RFC3339))
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(body, err)
	}
	return got
}

// What was expected of readings is kept, and thinned like them: of each part the lowest bound and the highest.
func TestBandOfThePast(t *testing.T) {
	p := newPast(t)
	key := driver.Key{Namespace: boiler.Namespace, Device: boiler.Device, Property: "pressure"}
	h := p.Hooks()
	const n = 60
	for i := range n {
		s := driver.Sample{Key: key, At: p.at(pastReadings - n + i), Value: 5}
		h.Reading(&s, true)
		r := driver.Result{Key: key, At: s.At, Value: 5, Severity: driver.Normal, Expected: 4 + float64(i)/100, Lower: 3, Upper: 6, Detector: "ewma"}
		switch {
		case i == 30:
			r.Upper = 9
		case i < 15: // still learning
			r.Expected, r.Lower, r.Upper = math.NaN(), math.NaN(), math.NaN()
		}
		h.Verdict(&r)
	}
	waittest.Eventually(t, "all is recorded", func() bool { return p.Stats().Written == pastReadings+n })
	got := p.points(t, "pressure", "6")
	if got.N != n || len(got.At) != len(got.Expected) || len(got.At) != len(got.Lower) || len(got.At) != len(got.Upper) || len(got.At) > 7 {
		t.Fatalf("%+v", got)
	}
	highest := 0.0
	for i := range got.At {
		if (got.Lower[i] == nil) != (got.Upper[i] == nil) || got.Lower[i] != nil && *got.Lower[i] != 3 {
			t.Errorf("%d: %v %v", i, got.Lower[i], got.Upper[i])
		}
		if got.Upper[i] != nil {
			highest = max(highest, *got.Upper[i])
		}
	}
	if last := got.Expected[len(got.At)-1]; highest != 9 || got.Lower[0] != nil || last == nil || math.Abs(*last-4.59) > 1e-6 {
		t.Errorf("up to %v, at first %v, at last %v", highest, got.Lower[0], last)
	}
	if got := p.points(t, boiler.Property, "6"); got.Expected != nil || got.States != nil {
		t.Errorf("%+v", got)
	}
}

// States are drawn as what they stand for; the readings of the past are numbered as those of now are.
func TestStatesOfThePast(t *testing.T) {
	p := newPast(t)
	for i, text := range []string{"ON", "ON", "OFF", "broken"} {
		p.Hooks().Reading(&driver.Sample{Key: boiler, At: p.at(pastReadings - 4 + i).Add(time.Second), Text: text}, false)
		p.Hooks().Reading(&driver.Sample{Key: driver.Key{Namespace: boiler.Namespace, Device: boiler.Device, Property: "door"}, At: p.at(pastReadings - 4 + i), Text: text}, false)
	}
	waittest.Eventually(t, "all is recorded", func() bool { return p.Stats().Written == pastReadings+8 })
	got := p.points(t, "door", "4000")
	if diff := cmp.Diff([]string{"ON", "OFF", "broken"}, got.States); diff != "" || !cmp.Equal(got.Max, []float64{0, 0, 1, 2}) {
		t.Error(diff, got.Max)
	}
	if got := p.points(t, boiler.Property, "4000"); got.N != 60 || got.States != nil { // of numbers, a text is no reading
		t.Error(got.N, got.States)
	}
	p.watched = admethod.Watched{Config: p.watched.Config, States: []string{"OFF", "ON"}}
	if got := p.points(t, boiler.Property, "4000"); !cmp.Equal(got.States, []string{"OFF", "ON", "broken"}) {
		t.Error(got.States)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// taught is over, but what was accepted is normal.
type taught struct {
	driver.Detector
	spans []driver.Span
}

func (d *taught) Detect(row driver.Row, out *driver.Result) {
	d.Detector.Detect(row, out)
	if len(d.spans) > 0 {
		out.Judge(0, driver.KindNone)
	}
}

func (d *taught) Accept(span driver.Span) error {
	if span.To.Sub(span.From) > time.Hour {
		return errors.New("does not remember so much")
	}
	d.spans = append(d.spans, span)
	return nil
}

var taughts = driver.NewFactory(driver.Info{Name: "taught", Members: 99, Kinds: []driver.Kind{driver.KindSpike}},
	func() levelConfig { return levelConfig{} }, func(driver.Settings, levelConfig) (driver.Detector, error) {
		d, err := over.Open(driver.Settings{Members: make([]driver.Member, 1)}, nil)
		return &taught{Detector: d}, err
	})

// Feedback reaches the detector, ends the incident that it is about as the new normal, and only that.
func TestAccept(t *testing.T) {
	second := func(i int) time.Time { return epoch.Add(time.Duration(i) * time.Second) }
	tests := []struct {
		name, property string
		from, to       int
		wrong, told    string
	}{
		{"of the incident", "t", 20, 49, "", "began@20 newNormal@49"},
		{"of something before it", "t", 5, 10, "", "began@20 returned@50"},
		{"longer than the detector remembers", "t", -7200, 49, "does not remember so much", "began@20"},
		{"backwards", "t", 10, 5, "before it begins", "began@20"},
		{"of a detector that learns nothing", "dull", 20, 49, `detector "over" learns nothing`, "began@20"},
		{"of nothing", "x", 20, 49, "is not watched", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, pipeline.Options{Replay: true}, taughts, over)
			settings := map[string]any{"clear": 1}
			for name, detector := range map[string]string{"t": "taught", "dull": "over"} {
				binding := b.bind(t, name, detector, settings, admethod.Meta{Cycle: time.Second})
				observe(binding, 0, 20, 20)
				observe(binding, 20, 50, 500)
			}
			b.flush(t)
			err := b.Accept(t.Context(), keyOf(tt.property), driver.Span{From: second(tt.from), To: second(tt.to)})
			if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || !strings.Contains(err.Error(), tt.wrong)) {
				t.Errorf("error %v, want %q", err, tt.wrong)
			}
			if tt.wrong == "" {
				again, err := b.tryBind("t", "taught", settings, admethod.Meta{Cycle: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				observe(again, 50, 60, 500)
			}
			b.flush(t)
			if got := b.sink.incidents(tt.property); got != tt.told {
				t.Errorf("the sink heard of %q, want %q", got, tt.told)
			}
		})
	}
}

// Where nobody says how often readings come, false alarms per time go by what is seen.
func TestAlarmsByTheCadenceSeen(t *testing.T) {
	for _, tt := range []struct{ alarms, want string }{
		{"1/hour", "began@500 returned@501"}, // one in 3,600 readings: the threshold, .95, is rarer
		{"1/week", ""},                       // a score of .96 is one in 15,625
	} {
		b := newBench(t, pipeline.Options{Replay: true}, over)
		binding := b.bind(t, "t", "over", map[string]any{"alarms": tt.alarms, "clear": 1}, admethod.Meta{})
		observe(binding, 0, 500, 20)
		observe(binding, 500, 501, 500)
		observe(binding, 501, 600, 20)
		b.flush(t)
		if got := b.sink.incidents("t"); got != tt.want {
			t.Errorf("%s: the sink heard of %q, want %q", tt.alarms, got, tt.want)
		}
	}
}

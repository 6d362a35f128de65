// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// alarm is a sink that alerts, beside the one that remembers all.
type alarm struct{ memory }

func (a *alarm) Forget(key driver.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.results = append(a.results, driver.Result{Key: key, Kind: "forgotten"})
}

func newAlarm(t *testing.T, dir string) (*bench, *alarm) {
	a, sinks := new(alarm), new(admethod.SinkRegistry)
	sinks.Register("alarm", admethod.SinkFactory{
		Name: "alarm", Alerts: true, New: func(admethod.SinkSettings) (admethod.Sink, error) { return a, nil },
	})
	return newBenchOf(t, sinks, pipeline.Options{StateDir: dir, DefaultSinks: []string{"memory", "alarm"}}, over), a
}

// What is muted is told to the sinks that record, and not to those that alert; an alert that stands is taken back, and
// what still lasts when the mute ends is told then.
func TestMute(t *testing.T) {
	for _, property := range []string{"t", ""} { // of the property, or of all of the device
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			b, a := newAlarm(t, dir)
			binding := b.bind(t, "t", "over", map[string]any{"clear": 1, "heartbeat": "10s"}, admethod.Meta{})
			read := func(n int, v float64) {
				for range n {
					binding.Observe(time.Now(), v)
					<-time.After(time.Second)
				}
				b.flush(t)
			}
			read(5, 20)
			read(2, 500)
			if got := a.story(keyOf("t")); got != "normal warning:spike" {
				t.Fatal("before it is muted: ", got)
			}
			m := admethod.Mute{Namespace: "default", Device: "sensor-1", Property: property, Until: time.Now().Add(time.Minute), By: "Ada", Note: "is being cleaned"}
			if err := b.Mute(m); err != nil {
				t.Fatal(err)
			}
			read(20, 500)
			if got := a.story(keyOf("t")); got != "normal warning:spike unknown:forgotten" {
				t.Error("muted: ", got)
			}
			if got := b.sink.story(keyOf("t")); strings.Count(got, "warning") < 3 {
				t.Error("recorded while muted: ", got)
			}
			if all := b.Mutes(); len(all) != 1 || all[0].By != "Ada" || all[0].Since.IsZero() {
				t.Error(all)
			}
			heard := len(a.story(keyOf("t")))
			read(60, 500) // the mute ends
			if got := a.story(keyOf("t"))[heard:]; !strings.Contains(got, "warning") {
				t.Error("after the mute: ", got)
			}
			if all := b.Mutes(); len(all) != 0 {
				t.Error("over: ", all)
			}
		})
	}
}

// Mutes outlast a restart, and are lifted by a time that is over.
func TestMutesAreKept(t *testing.T) {
	dir := t.TempDir()
	m := admethod.Mute{Namespace: "default", Device: "sensor-1", Until: time.Now().Add(time.Hour)}
	t.Run("before", func(t *testing.T) {
		b, _ := newAlarm(t, dir)
		if err := b.Mute(m); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		b, a := newAlarm(t, dir)
		observe(b.bind(t, "t", "over", nil, admethod.Meta{}), 0, 5, 500)
		b.flush(t)
		if got := a.story(keyOf("t")); got != "" || len(b.Mutes()) != 1 {
			t.Error(got, b.Mutes())
		}
		m.Until = time.Time{}
		if err := b.Mute(m); err != nil || len(b.Mutes()) != 0 {
			t.Error(err, b.Mutes())
		}
	})
	t.Run("damaged", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "mutes.json"), []byte("[{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b, _ := newAlarm(t, dir)
		if s := b.Stats(); len(s.Troubles) != 1 || len(b.Mutes()) != 0 {
			t.Error(s.Troubles, b.Mutes())
		}
	})
}

func TestMuteRefuses(t *testing.T) {
	b, _ := newAlarm(t, "")
	for _, m := range []admethod.Mute{{Until: time.Now().Add(time.Hour)}, {Device: "a", Until: time.Now().AddDate(2, 0, 0)}} {
		if err := b.Mute(m); err == nil {
			t.Errorf("%+v is taken", m)
		}
	}
}

// Watched tells how a property is watched, with its group.
func TestWatched(t *testing.T) {
	b, _ := newAlarm(t, "")
	b.bind(t, "t", "over", map[string]any{"threshold": 0.9}, admethod.Meta{Unit: "°C", Model: "boiler"})
	w, ok := b.Watched(keyOf("t"))
	if !ok || w.Config.Threshold != 0.9 || w.Meta.Unit != "°C" || len(w.Members) != 1 || w.Members[0] != keyOf("t") {
		t.Errorf("%v %+v", ok, w)
	}
	if _, ok := b.Watched(keyOf("u")); ok {
		t.Error("what is not watched is")
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // judges
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// recorded makes a directory with a reading that was judged normal, one of text that was judged critical, and one that
// nobody judged; a verdict on a group, and one without a reading, are no readings.
func recorded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sink, err := recorder.Factory().New(admethod.SinkSettings{Hooks: new(admethod.Hooks), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hooks := sink.(admethod.Observer).Hooks()
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "lux"}
	see := func(sample driver.Sample, v driver.Result) {
		sample.Key, v.Key, v.At, v.Value = key, key, sample.At, sample.Value
		hooks.Reading(&sample, true)
		if v.Detector != "" {
			hooks.Verdict(&v)
		}
	}
	see(driver.Sample{At: at, Value: 40}, driver.Result{Detector: "auto", Score: 0.5, Severity: driver.Normal})
	see(driver.Sample{At: at.Add(time.Second), Value: 1, Text: "open"}, driver.Result{Detector: "auto", Score: 1, Severity: driver.Critical, Kind: driver.KindSpike})
	see(driver.Sample{At: at.Add(2 * time.Second), Value: 41}, driver.Result{})
	hooks.Verdict(&driver.Result{Key: driver.Key{Device: "group"}, At: at, Value: math.NaN(), Score: 1, Severity: driver.Critical, Detector: "auto"})
	hooks.Verdict(&driver.Result{Key: key, At: at.Add(time.Minute), Score: 1, Severity: driver.Critical, Kind: driver.KindMissing, Detector: "quality"})
	if err := sink.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sink.Shutdown(t.Context()); err != nil {
		t.Errorf("second shutdown: %v", err)
	}
	hooks.Reading(&driver.Sample{Key: key}, true) // after the end: goes nowhere
	if st := sink.(*recorder.Recorder).Stats(); st.Written != 3 || st.Lost != 0 {
		t.Errorf("stats %+v, want 3 written", st)
	}
	return dir + "/readings"
}

func scan(t *testing.T, dir string) (got []store.Entry) {
	t.Helper()
	err := store.Scan(t.Context(), dir, store.Query{}, func(batch []store.Entry) error {
		got = append(got, batch...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRecorderMirrors(t *testing.T) {
	nan := math.NaN()
	want := []store.Entry{
		{Namespace: "default", Device: "light-1", Property: "lux", At: at, Value: 40, Score: 0.5, Severity: "normal"},
		{Namespace: "default", Device: "light-1", Property: "lux", At: at.Add(time.Second), Value: nan, Text: "open", Score: 1, Severity: "critical", Kind: "spike"},
		{Namespace: "default", Device: "light-1", Property: "lux", At: at.Add(2 * time.Second), Value: 41, Score: nan},
	}
	if diff := cmp.Diff(want, scan(t, recorded(t)), cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// handler runs with the recorder as the only sink; verdicts is a rule, so that each verdict can be told by hand.
func handler(t *testing.T, dir string) *pipeline.Handler {
	t.Helper()
	sinks := new(admethod.SinkRegistry)
	sinks.Register(recorder.Name, recorder.Factory())
	h, err := pipeline.NewHandler(pipeline.Options{Sinks: sinks, DefaultSinks: []string{recorder.Name}, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Shutdown(context.WithoutCancel(t.Context())) })
	return h
}

func config(t *testing.T, settings map[string]any) admethod.ADMethodConfig {
	t.Helper()
	c, err := admethod.ParseSettings(settings)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What is observed is recorded: with its verdict, also texts, what the quality stage holds back, and the members of
// groups, whose verdict is of another time than their readings.
func TestHandlerIsRecorded(t *testing.T) {
	dir := t.TempDir()
	h := handler(t, dir)
	bind := func(property string, settings map[string]any, meta admethod.Meta) *pipeline.Binding {
		b, err := h.Bind(driver.Key{Namespace: "default", Device: "light-1", Property: property}, config(t, settings), meta)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	limits := map[string]any{"detector": "range", "detector.lower": 0, "detector.upper": 100}
	lux := bind("lux", limits, admethod.Meta{DataType: "double"})
	door := bind("door", map[string]any{"detector": "ewma"}, admethod.Meta{DataType: "string"})
	one := bind("one", map[string]any{"detector": "pca", "group": "room"}, admethod.Meta{DataType: "double"})
	two := bind("two", map[string]any{"detector": "pca", "group": "room"}, admethod.Meta{DataType: "double"})
	lux.Observe(at, 40)
	lux.Observe(at, 40) // again
	lux.ObserveAny(at.Add(time.Second), "n/a")
	lux.Observe(at.Add(2*time.Second), 4000)
	door.ObserveAny(at, "open")
	one.Observe(at, 1)
	two.Observe(at.Add(time.Millisecond), 2)
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := h.Stats().Sinks[recorder.Name].Own
	if own == nil || own["lost_readings"] != 0 || own["failing"] != 0 {
		t.Errorf("counts of the sink: %v", own)
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range scan(t, dir+"/readings") {
		got[e.Property] += fmt.Sprintf("%d:%v:%s:%s ", e.At.Sub(at).Milliseconds(), e.Value, e.Text, e.Severity)
	}
	want := map[string]string{
		"lux":  "0:40::normal 0:40:: 1000:NaN:n/a: 2000:4000::critical ",
		"door": "0:NaN:open:unknown ",
		"one":  "0:1::unknown ", "two": "1:2::unknown ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The rows of a server of detectors reach the recorder too, but for readings that are not new.
func TestAttachmentIsRecorded(t *testing.T) {
	dir := t.TempDir()
	h := handler(t, dir)
	keys := []driver.Key{{Namespace: "edge-1", Device: "pump", Property: "flow"}, {Namespace: "edge-1", Device: "pump", Property: "mode"}}
	answers := make(chan struct{}, 8)
	a, err := h.Attach(pipeline.AttachSettings{
		Group: "edge-1/pump", Config: config(t, map[string]any{"detector": "pca"}),
		Members: []driver.Member{{Key: keys[0], DataType: "double"}, {Key: keys[1], DataType: "double"}},
		Answer:  func(uint64, *driver.Result, driver.Row) { answers <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	row := driver.Row{{Key: keys[0], At: at, Value: 1}, {Key: keys[1], At: at, Value: 2}}
	a.TrySubmit(row, 1)
	row[0].At, row[0].Value = at.Add(time.Second), 3
	row[1].Flags = driver.Held
	a.TrySubmit(row, 2)
	for range 2 {
		<-answers
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range scan(t, dir+"/readings") {
		got = append(got, fmt.Sprint(e.Property, e.Value, e.Severity))
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{"flow1unknown", "flow3unknown", "mode2unknown"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNoDirectory(t *testing.T) {
	if _, err := recorder.Factory().New(admethod.SinkSettings{}); err == nil || !strings.Contains(err.Error(), "dir") {
		t.Errorf("error is %v", err)
	}
}

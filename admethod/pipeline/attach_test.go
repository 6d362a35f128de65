// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

func rowOf(at time.Time, values map[string]float64, properties ...string) driver.Row {
	row := make(driver.Row, len(properties))
	for i, p := range properties {
		row[i] = driver.Sample{Key: keyOf(p), At: at, Value: values[p]}
	}
	return row
}

// A server's stream answers every row, and tells the sinks what a binding would tell them.
func TestAttachAnswersEveryRow(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	for _, tt := range []struct {
		name  string
		group string
		props []string
		story map[string]string
	}{
		{"one property", "", []string{"t"}, map[string]string{"t": "normal warning:spike normal"}},
		{"a group", "default/group/g", []string{"u", "v"}, map[string]string{"u": "normal warning:spike normal", "v": "normal"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config, err := admethod.ParseSettings(map[string]any{"detector": "over", "heartbeat": "0s"})
			if err != nil {
				t.Fatal(err)
			}
			s := pipeline.AttachSettings{Group: tt.group, Config: config}
			for _, p := range tt.props {
				s.Members = append(s.Members, driver.Member{Key: keyOf(p)})
			}
			var mu sync.Mutex
			var answers []string
			s.Answer = func(number uint64, r *driver.Result, row driver.Row) {
				mu.Lock()
				defer mu.Unlock()
				if number != uint64(len(answers))*10 {
					t.Errorf("answer %d is of row %d", len(answers), number)
				}
				if len(row) != len(tt.props) || r.Config != config.Fingerprint() {
					t.Errorf("answer on a row of %d under config %q", len(row), r.Config)
				}
				answers = append(answers, r.Severity.String())
			}
			a, err := b.Attach(s)
			if err != nil {
				t.Fatal(err)
			}
			for i, value := range []float64{1, 500, 2, 3, 4} {
				row := rowOf(epoch.Add(time.Duration(i)*time.Second), map[string]float64{tt.props[0]: value}, tt.props...)
				if !a.TrySubmit(row, uint64(i)*10) {
					t.Error("a row was dropped")
				}
			}
			b.flush(t)
			a.Close()
			a.Close()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff([]string{"normal", "warning", "normal", "normal", "normal"}, answers); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
			for property, want := range tt.story {
				if got := b.sink.story(keyOf(property)); got != want {
					t.Errorf("the sink heard %q of %s, want %q", got, property, want)
				}
			}
		})
	}
}

func TestAttachRefuses(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	config, err := admethod.ParseSettings(map[string]any{"detector": "over"})
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := admethod.ParseSettings(map[string]any{"detector": "ovr"})
	if err != nil {
		t.Fatal(err)
	}
	one, two := []driver.Member{{Key: keyOf("t")}}, []driver.Member{{Key: keyOf("t")}, {Key: keyOf("u")}}
	for name, s := range map[string]pipeline.AttachSettings{
		"no configuration":           {Members: one},
		"no members":                 {Config: config},
		"two members without group":  {Config: config, Members: two},
		"a detector that is unknown": {Config: unknown, Members: one},
	} {
		if a, err := b.Attach(s); err == nil {
			a.Close()
			t.Errorf("%s: no error", name)
		} else {
			t.Log(err)
		}
	}
}

// watcher is a sink that observes the handler and forgets.
type watcher struct {
	memory
	judged int
	gone   []driver.Key
}

func (w *watcher) Forget(key driver.Key) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = append(w.gone, key)
	w.results = append(w.results, driver.Result{Key: key, Kind: "forgotten"})
}

func (w *watcher) Hooks() *admethod.Hooks {
	return &admethod.Hooks{Judged: func(driver.Key, time.Duration) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.judged++
	}}
}

// A sink may watch the handler, and hears in order that a property is no longer watched.
func TestSinkObservesAndForgets(t *testing.T) {
	w := new(watcher)
	sinks := new(admethod.SinkRegistry)
	sinks.Register("watcher", admethod.SinkFactory{New: func(s admethod.SinkSettings) (admethod.Sink, error) {
		if s.Stats == nil || s.Hooks == nil {
			t.Error("a sink is made without Stats or Hooks")
		}
		return w, nil
	}})
	h := sinktest.Handler(t, pipeline.Options{
		Drivers: driver.NewRegistry(over), Adapters: inprocessOnly(), Sinks: sinks, DefaultSinks: []string{"watcher"},
	})
	for _, threshold := range []string{"0.9", "0.95"} { // another configuration is another binding
		binding := sinktest.Watch(t, h, keyOf("t"), map[string]any{"detector": "over", "threshold": threshold}, admethod.Meta{})
		for i := range 20 * admethod.JudgedEvery {
			binding.Observe(epoch.Add(time.Duration(i)*time.Second), 1)
			if err := h.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.gone) != 1 || w.gone[0] != keyOf("t") {
		t.Errorf("forgotten %v, want the first binding of t", w.gone)
	}
	if w.judged < 10 {
		t.Errorf("%d readings timed of %d, want one in %d", w.judged, 40*admethod.JudgedEvery, admethod.JudgedEvery)
	}
	if last := w.results[len(w.results)-1]; last.Kind == "forgotten" {
		t.Error("the second binding's verdict came before the first was forgotten")
	}
}

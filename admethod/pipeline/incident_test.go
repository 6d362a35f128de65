// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// incidents is what the sink heard of the incidents of one property: how they began and ended, and the seconds since epoch
// of when.
func (m *memory) incidents(property string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var words []string
	for _, r := range m.results {
		if i := r.Incident; r.Key == keyOf(property) && i.ID != 0 && i.Phase != driver.Lasts {
			at := i.Start
			if !i.Phase.Open() {
				at = i.End
			}
			words = append(words, fmt.Sprintf("%v@%v", i.Phase, at.Sub(epoch).Seconds()))
		}
	}
	return strings.Join(words, " ")
}

// level judges as over does, and keeps state, as there is none to speak of.
type level struct{ driver.Detector }

func (level) MarshalBinary() ([]byte, error) { return []byte("level"), nil }
func (level) UnmarshalBinary([]byte) error   { return nil }

type levelConfig struct{}

var levels = driver.NewFactory(driver.Info{Name: "level", Members: 99, Kinds: []driver.Kind{driver.KindSpike}},
	func() levelConfig { return levelConfig{} }, func(driver.Settings, levelConfig) (driver.Detector, error) {
		d, err := over.Open(driver.Settings{Members: make([]driver.Member, 1)}, nil)
		return level{d}, err
	})

func observe(b *pipeline.Binding, from, to int, v float64) {
	for i := from; i < to; i++ {
		b.Observe(epoch.Add(time.Duration(i)*time.Second), v)
	}
}

// A sink hears of an incident when it begins and when it ends.
func TestIncidentsReachTheSinks(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", nil, admethod.Meta{Cycle: time.Second})
	observe(binding, 0, 100, 20)
	observe(binding, 100, 400, 500)
	observe(binding, 400, 402, 20)
	observe(binding, 402, 450, 500)
	observe(binding, 450, 500, 20)
	b.flush(t)
	if got, want := b.sink.incidents("t"), "began@100 returned@450"; got != want {
		t.Errorf("the sink heard of %q, want %q", got, want)
	}
}

// An incident whose property is no longer watched, or is from now on watched in another way, is told to be abandoned.
func TestIncidentsAreAbandoned(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, b *bench, binding *pipeline.Binding)
	}{
		{"bound in another way", func(t *testing.T, b *bench, _ *pipeline.Binding) {
			b.bind(t, "t", "over", map[string]any{"clear": 7}, admethod.Meta{Cycle: time.Second})
			b.flush(t)
		}},
		{"the handler shuts down and keeps nothing", func(t *testing.T, b *bench, _ *pipeline.Binding) {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}},
		{"its detector panics", func(t *testing.T, b *bench, binding *pipeline.Binding) {
			observe(binding, 50, 51, -1)
			b.flush(t)
		}},
	}
	fragile := drivertest.Func("over", func(row driver.Row, out *driver.Result) {
		if row[0].Value < 0 {
			panic("negative")
		}
		d, err := over.Open(driver.Settings{Members: make([]driver.Member, 1)}, nil)
		if err != nil {
			panic(err)
		}
		d.Detect(row, out)
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, pipeline.Options{Replay: true}, fragile)
			binding := b.bind(t, "t", "over", nil, admethod.Meta{Cycle: time.Second})
			observe(binding, 0, 20, 20)
			observe(binding, 20, 50, 500)
			b.flush(t)
			tt.end(t, b, binding)
			got := b.sink.incidents("t")
			if want := "began@20 abandoned@"; !strings.HasPrefix(got, want) || strings.Count(got, "@") != 2 {
				t.Errorf("the sink heard of %q, want %q", got, want+"…")
			}
		})
	}
}

// A detector that has nothing to keep has its incident kept all the same; where there is no directory for it, that ends with
// the mapper.
func TestIncidentOfADetectorWithoutState(t *testing.T) {
	dir := t.TempDir()
	for _, life := range []struct {
		dir, want string
		from      int
	}{{"", "began@20 abandoned@49", 0}, {dir, "began@20", 0}, {dir, "", 50}} {
		b := newBench(t, pipeline.Options{Replay: true, StateDir: life.dir}, over)
		binding := b.bind(t, "t", "over", nil, admethod.Meta{Cycle: time.Second})
		if life.from == 0 {
			observe(binding, 0, 20, 20)
		}
		observe(binding, max(life.from, 20), life.from+50, 500)
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.sink.incidents("t"); got != life.want {
			t.Errorf("from %d on, kept in %q: the sink heard of %q, want %q", life.from, life.dir, got, life.want)
		}
	}
}

// An incident outlives a restart of the mapper: it is told once.
func TestIncidentOutlivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	settings := map[string]any{"heartbeat": "10s"}
	meta := admethod.Meta{Cycle: time.Second}
	first := newBench(t, pipeline.Options{Replay: true, StateDir: dir}, levels)
	binding := first.bind(t, "t", "level", settings, meta)
	observe(binding, 0, 20, 20)
	observe(binding, 20, 50, 500)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := first.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	second := newBench(t, pipeline.Options{Replay: true, StateDir: dir}, levels)
	binding = second.bind(t, "t", "level", settings, meta)
	observe(binding, 50, 80, 500)
	observe(binding, 80, 100, 20)
	second.flush(t)
	if got, want := first.sink.incidents("t")+" "+second.sink.incidents("t"), "began@20 returned@80"; got != want {
		t.Errorf("the sinks heard of %q, want %q", got, want)
	}
	ids := make(map[uint64]bool)
	for _, r := range append(first.sink.results, second.sink.results...) {
		if r.Incident.ID != 0 {
			ids[r.Incident.ID] = true
		}
	}
	if len(ids) != 1 {
		t.Errorf("identifiers %v, want one", ids)
	}
}

// The readings of a member that is silent are missing: one incident from the first moment to the next reading.
func TestSilenceIsOneIncident(t *testing.T) {
	b := newBench(t, pipeline.Options{Replay: true}, over)
	binding := b.bind(t, "t", "over", nil, admethod.Meta{Cycle: time.Second})
	observe(binding, 0, 30, 20)
	observe(binding, 300, 400, 20)
	b.flush(t)
	if got, want := b.sink.incidents("t"), "began@300 returned@"; !strings.HasPrefix(got, want) {
		t.Errorf("the sink heard of %q, want %q…", got, want)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func overServers(t *testing.T, test func(*testing.T, *exporter, *server, map[string]any)) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers")
	}
	for name, c := range servers {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			s := c.start(t, e.URL)
			options := maps.Clone(c.options)
			options["url"] = s.url
			test(t, e, s, options)
		})
	}
}

// received are the readings of a property, at their times.
func received(in *sourcetest.Intake, property string) (all []promapi.Point, past int) {
	for _, r := range in.Readings() {
		if r.Key.Property == property {
			all = append(all, promapi.Point{Time: r.At.Format(inMillis), Value: fmt.Sprint(r.Value)})
			if r.Past {
				past++
			}
		}
	}
	return all, past
}

const inMillis = "2006-01-02T15:04:05.000Z"

// age is how old the last of readings is.
func age(t *testing.T, all []promapi.Point) time.Duration {
	t.Helper()
	at, err := time.Parse(inMillis, all[len(all)-1].Time)
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(at)
}

// Programs of a server that are killed, and a source that goes on or is made anew, lose nothing between them, and nothing
// comes twice; while the exporter is down, nothing is repeated.
func TestRealServers(t *testing.T) {
	overServers(t, testRealServer)
}

func testRealServer(t *testing.T, e *exporter, s *server, options map[string]any) {
	waittest.Eventually(t, "there is a past", func() bool { return len(s.samples(t)) >= 80 })
	in, dir := new(sourcetest.Intake), t.TempDir()
	var r sourcetest.Reports
	options["queries"] = []any{map[string]any{"query": "x"}, map[string]any{"query": "x * 2", "metric": "double"}}
	run := func() (stop func() error) {
		source, err := prometheus.New(settings(t, dir, &r, options))
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.Run(t, source, in)
	}
	count := func(property string) int { all, _ := received(in, property); return len(all) }
	stop := run()
	waittest.Eventually(t, "the past, and what comes", func() bool { return count("x") >= 110 && count("double") >= 5 })
	if _, past := received(in, "x"); past < 20 {
		t.Errorf("%d readings of the past, want 20 at least", past)
	}
	for _, anew := range []bool{false, true} {
		for _, p := range s.programs {
			p.end()
			waittest.Eventually(t, "it is told", func() bool { return r.Now(part) != "" })
			if p.healthy {
				waittest.Eventually(t, "it is answered without it", func() bool { all, _ := received(in, "x"); return r.Now(part) == "" && age(t, all) > 4*time.Second })
			}
			if anew {
				if err := stop(); err != nil {
					t.Error(err)
				}
			}
			p.Process = p.start()
			before := len(s.samples(t))
			waittest.Eventually(t, "it scrapes again", func() bool { return len(s.samples(t)) > before+10 })
			n, m := count("x"), count("double")
			if anew {
				stop = run()
			}
			waittest.Eventually(t, "readings again", func() bool { return r.Now(part) == "" && count("x") > n+20 && count("double") > m+3 })
		}
	}
	e.down.Store(true)
	quiet, err := time.ParseDuration(options["delay"].(string))
	if err != nil {
		t.Fatal(err)
	}
	quiet += 3 * time.Second
	var settled int
	waittest.Eventually(t, "nothing comes any more", func() bool {
		before := settled
		all, _ := received(in, "x")
		doubles, _ := received(in, "double")
		settled = len(all)
		return settled == before && age(t, all) > quiet && age(t, doubles) > quiet
	})
	all, _ := received(in, "x")
	var want []promapi.Point
	for _, p := range s.samples(t) {
		at, err := p.At()
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Float()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, promapi.Point{Time: at.Format(inMillis), Value: fmt.Sprint(v)})
	}
	ended := func(p promapi.Point) bool { return p.Value == "NaN" } // so VictoriaMetrics shows the end of a series
	all, want = slices.DeleteFunc(all, ended), slices.DeleteFunc(want, ended)
	if !slices.Equal(all, want) {
		t.Errorf("%d readings are not the %d samples that the server has", len(all), len(want))
	}
	doubles, _ := received(in, "double")
	seen := make(map[string]bool)
	for _, p := range doubles {
		if seen[p.Time] {
			t.Errorf("the expression came twice at %s", p.Time)
		}
		seen[p.Time] = true
	}
	t.Logf("%d samples, %d evaluations", len(all), len(doubles))
}

// With what a server has of the past, the first reading that is live is judged, and a fault is found at once.
func TestWarmAtOnce(t *testing.T) {
	overServers(t, testWarmAtOnce)
}

func testWarmAtOnce(t *testing.T, e *exporter, s *server, options map[string]any) {
	waittest.Eventually(t, "there is a past", func() bool { return len(s.samples(t)) >= 150 })
	var mu sync.Mutex
	var verdicts []driver.Result
	in, err := intake.New(intake.Config{
		Defaults: map[string]any{"detector": "ewma"},
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) {
			mu.Lock()
			defer mu.Unlock()
			verdicts = append(verdicts, r.Clone())
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var r sourcetest.Reports
	source, err := prometheus.New(settings(t, "", &r, options))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- in.Run(ctx, in.Source(in.Client("prometheus", []string{"default"}, intake.Limits{}), source))
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	told := func() []driver.Result {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(verdicts)
	}
	waittest.Eventually(t, "verdicts", func() bool { return len(told()) >= 5 })
	if first := told()[0]; first.Severity != driver.Normal {
		t.Errorf("the first verdict is %v (%s), want normal", first.Severity, first.Message)
	}
	e.fault.Store(100)
	broke := time.Now()
	waittest.Eventually(t, "the fault is found", func() bool {
		return slices.ContainsFunc(told(), func(r driver.Result) bool { return r.Severity == driver.Critical })
	})
	t.Logf("the fault is found after %v", time.Since(broke).Round(time.Millisecond))
}

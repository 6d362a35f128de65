// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// exporter is scraped by Prometheus: a sine of a counter, with a fault where there is one.
type exporter struct {
	*httptest.Server
	scrapes atomic.Int64
	fault   atomic.Int64
	down    atomic.Bool
}

func newExporter(t *testing.T) *exporter {
	t.Helper()
	e := new(exporter)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if e.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		n := e.scrapes.Add(1)
		_, _ = fmt.Fprintf(w, "# TYPE x gauge\nx{i=\"press\"} %v\n", 20+math.Sin(float64(n))+float64(e.fault.Load()))
	}))
	t.Cleanup(e.Close)
	return e
}

// server is Debian's Prometheus.
type server struct {
	url   string
	start func() *sinktest.Process
}

func newServer(t *testing.T, target string) *server {
	t.Helper()
	path := sinktest.Program(t, "prometheus")
	dir, address := t.TempDir(), sinktest.FreeAddress(t)
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(target, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &server{url: "http://" + address, start: func() *sinktest.Process {
		return sinktest.Start(t, path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	}}
}

// samples are those that the server has of x; nil where it does not answer.
func (s *server) samples(t *testing.T) (all []promapi.Point) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/query?query="+url.QueryEscape("x[1h]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := promapi.Decode(io.LimitReader(resp.Body, 1<<24))
	if err != nil || len(answer.Series) != 1 {
		return nil
	}
	return answer.Series[0].Points
}

// A server that is killed, and a source that is made anew, lose nothing between them, and nothing comes twice; while the
// exporter is down, nothing is repeated.
func TestRealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus")
	}
	e := newExporter(t)
	s := newServer(t, e.URL)
	process := s.start()
	waittest.Eventually(t, "there is a past", func() bool { return len(s.samples(t)) >= 50 })
	in, dir := new(sourcetest.Intake), t.TempDir()
	var r sourcetest.Reports
	run := func() (stop func() error) {
		source, err := prometheus.New(settings(t, dir, &r, map[string]any{
			"url": s.url, "step": "200ms", "delay": "1s", "device": "{i}", "queries": []any{
				map[string]any{"query": "x"}, map[string]any{"query": "x * 2", "metric": "double"},
			},
		}))
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.Run(t, source, in)
	}
	of := func(property string) (all []promapi.Point, past int) {
		for _, r := range in.Readings() {
			if r.Key.Property == property {
				all = append(all, promapi.Point{Time: r.At.Format(time.RFC3339Nano), Value: fmt.Sprint(r.Value)})
				if r.Past {
					past++
				}
			}
		}
		return all, past
	}
	stop := run()
	has := func(n int) func() bool {
		return func() bool { all, _ := of("x"); return len(all) >= n }
	}
	waittest.Eventually(t, "the past, and what comes", has(80))
	if _, past := of("x"); past < 50 {
		t.Errorf("%d readings of the past, want 50 at least", past)
	}
	for range 2 {
		process.Kill()
		waittest.Eventually(t, "it is told", func() bool { now := r.Now(part); return now != "" })
		if err := stop(); err != nil {
			t.Error(err)
		}
		process = s.start()
		before := len(s.samples(t))
		waittest.Eventually(t, "Prometheus scrapes again", func() bool { return len(s.samples(t)) > before+10 })
		n, _ := of("x")
		stop = run()
		waittest.Eventually(t, "readings again", has(len(n)+20))
	}
	e.down.Store(true)
	var settled int
	waittest.Eventually(t, "nothing comes any more", func() bool {
		all, _ := of("x")
		same := len(all) == len(s.samples(t)) && len(all) == settled
		settled = len(all)
		return same
	})
	waittest.Eventually(t, "its end is seen", func() bool {
		all, _ := of("double")
		at, err := time.Parse(time.RFC3339Nano, all[len(all)-1].Time)
		return err == nil && time.Since(at) > 3*time.Second
	})
	all, _ := of("x")
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
		want = append(want, promapi.Point{Time: at.Format(time.RFC3339Nano), Value: fmt.Sprint(v)})
	}
	if !slices.Equal(all, want) {
		t.Errorf("%d readings are not the %d samples that the server has", len(all), len(want))
	}
	doubles, _ := of("double")
	seen := make(map[string]bool)
	for _, p := range doubles {
		if seen[p.Time] {
			t.Errorf("the expression came twice at %s", p.Time)
		}
		seen[p.Time] = true
	}
	t.Logf("%d samples, %d evaluations", len(all), len(doubles))
}

// With what Prometheus has of the past, the first reading that is live is judged, and a fault is found at once.
func TestWarmAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus")
	}
	e := newExporter(t)
	s := newServer(t, e.URL)
	s.start()
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
	source, err := prometheus.New(settings(t, "", &r, map[string]any{"url": s.url, "step": "200ms"}))
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

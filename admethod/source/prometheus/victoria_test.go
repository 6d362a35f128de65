// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

const inMillis = "2006-01-02T15:04:05.000Z"

// newVictoria is VictoriaMetrics, where it is installed; nothing here installs it. It shows samples in their order only after a
// while, which its latencyOffset is for: here some seconds instead of half a minute.
func newVictoria(t *testing.T, target string) *server {
	t.Helper()
	path, err := exec.LookPath("victoria-metrics")
	if err != nil || os.Getenv(sinktest.EnvPrograms) == "" {
		t.Skip("victoria-metrics is not installed, or this is not make monitoring")
	}
	dir, address := t.TempDir(), sinktest.FreeAddress(t)
	config := filepath.Join(dir, "scrape.yml")
	text := fmt.Sprintf("global: {scrape_interval: 100ms, scrape_timeout: 100ms}\nscrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(target, "http://"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &server{url: "http://" + address, start: func() *sinktest.Process {
		return sinktest.Start(t, path, "-promscrape.config="+config, "-storageDataPath="+filepath.Join(dir, "data"), "-httpListenAddr="+address,
			"-search.latencyOffset=3s", "-inmemoryDataFlushInterval=1s", "-loggerLevel=ERROR")
	}}
}

// With VictoriaMetrics the past comes first as well, then what comes, in order, and nothing twice, over a restart of it.
func TestRealVictoriaMetrics(t *testing.T) {
	e := newExporter(t)
	s := newVictoria(t, e.URL)
	process := s.start()
	waittest.Eventually(t, "there is a past", func() bool { return len(s.samples(t)) >= 30 })
	in := new(sourcetest.Intake)
	var r sourcetest.Reports
	source, err := prometheus.New(settings(t, t.TempDir(), &r, map[string]any{
		"url": s.url, "step": "1s", "delay": "4s", "settle": "4s", "device": "{i}", "queries": []any{
			map[string]any{"query": "x"}, map[string]any{"query": "x * 2", "metric": "double"},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, source, in)
	of := func(property string) (all []promapi.Point, past int) {
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
	count := func(property string) int { all, _ := of(property); return len(all) }
	waittest.Eventually(t, "the past, and what comes", func() bool { return count("x") >= 60 && count("double") >= 5 })
	if _, past := of("x"); past < 20 {
		t.Errorf("%d readings of the past, want 20 at least", past)
	}
	process.Stop()
	waittest.Eventually(t, "it is told", func() bool { return r.Now(part) != "" })
	s.start()
	waittest.Eventually(t, "it works again", func() bool { return r.Now(part) == "" })
	n, m := count("x"), count("double")
	waittest.Eventually(t, "readings again", func() bool { return count("x") > n+30 && count("double") > m+3 })
	e.down.Store(true)
	var settled int
	waittest.Eventually(t, "nothing comes any more", func() bool {
		before := settled
		settled = count("x")
		all, _ := of("x")
		at, err := time.Parse(inMillis, all[len(all)-1].Time)
		return err == nil && settled == before && time.Since(at) > 8*time.Second
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
		want = append(want, promapi.Point{Time: at.Format(inMillis), Value: fmt.Sprint(v)})
	}
	ended := func(p promapi.Point) bool { return p.Value == "NaN" } // so it shows the end of a series
	all, want = slices.DeleteFunc(all, ended), slices.DeleteFunc(want, ended)
	if !slices.Equal(all, want) {
		t.Errorf("%d readings are not the %d samples that the server has: %v of %v", len(all), len(want), all, want)
	}
	doubles, _ := of("double")
	times := make(map[string]bool)
	for _, p := range doubles {
		if times[p.Time] {
			t.Errorf("the expression came twice at %s", p.Time)
		}
		times[p.Time] = true
	}
	t.Logf("%d samples, %d evaluations", len(all), len(doubles))
}

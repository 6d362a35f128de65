// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// exporter is scraped: a sine of a counter, with a fault where there is one.
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

// scrapeConfig is a file that has a server scrape the exporter.
func scrapeConfig(t *testing.T, global, target string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "scrape.yml")
	text := fmt.Sprintf("global: {scrape_interval: 100ms, scrape_timeout: 100ms%s}\nscrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]\n", global, strings.TrimPrefix(target, "http://"))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// program is a process of a server that is started again and again.
type program struct {
	*proctest.Process
	start   func() *proctest.Process
	gently  bool // it loses what it has when it is killed
	healthy bool // while it is away, what asks it answers without it
}

func newProgram(t *testing.T, path string, args ...string) *program {
	t.Helper()
	p := &program{start: func() *proctest.Process { return proctest.Start(t, path, args...) }}
	p.Process = p.start()
	return p
}

func (p *program) end() {
	if p.gently {
		p.Stop()
	} else {
		p.Kill()
	}
}

// server is one with the HTTP API of Prometheus that scrapes an exporter.
type server struct {
	url      string // that is asked
	keeper   string // that has the samples
	programs []*program
}

// installed is the path of a program that nothing here installs.
func installed(t *testing.T, name string) (path string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil || os.Getenv(proctest.EnvPrograms) == "" {
		t.Skipf("%s is not installed, or this is not make monitoring", name)
	}
	return path
}

// newPrometheus is Debian's.
func newPrometheus(t *testing.T, target string) *server {
	t.Helper()
	address := proctest.FreeAddress(t)
	p := newProgram(t, proctest.Program(t, "prometheus"), "--config.file="+scrapeConfig(t, ", external_labels: {prometheus: edge}", target),
		"--storage.tsdb.path="+t.TempDir(), "--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h",
		"--web.listen-address="+address, "--log.level=warn")
	return &server{url: "http://" + address, keeper: "http://" + address, programs: []*program{p}}
}

// newVictoria shows samples in their order only after a while, which its latencyOffset is for: here some seconds instead of
// half a minute.
func newVictoria(t *testing.T, target string) *server {
	t.Helper()
	address := proctest.FreeAddress(t)
	p := newProgram(t, installed(t, "victoria-metrics"), "-promscrape.config="+scrapeConfig(t, "", target), "-storageDataPath="+t.TempDir(), "-httpListenAddr="+address,
		"-search.latencyOffset=3s", "-inmemoryDataFlushInterval=1s", "-loggerLevel=ERROR")
	p.gently = true
	return &server{url: "http://" + address, keeper: "http://" + address, programs: []*program{p}}
}

// newThanos is its querier before the sidecar of a Prometheus. A sidecar that is not strict is left out of answers while it
// is away.
func newThanos(t *testing.T, target string, strict bool) *server {
	t.Helper()
	path := installed(t, "thanos")
	behind := newPrometheus(t, target)
	waittest.Eventually(t, "Prometheus is there", func() bool { return len(behind.samples(t)) > 0 })
	grpc, address, endpoint := proctest.FreeAddress(t), proctest.FreeAddress(t), "--endpoint="
	if strict {
		endpoint = "--endpoint-strict="
	}
	sidecar := newProgram(t, path, "sidecar", "--prometheus.url="+behind.url, "--prometheus.get_config_interval=1s", "--tsdb.path="+t.TempDir(),
		"--grpc-address="+grpc, "--http-address="+proctest.FreeAddress(t), "--log.level=warn")
	sidecar.healthy = !strict
	querier := newProgram(t, path, "query", "--http-address="+address, "--grpc-address="+proctest.FreeAddress(t), endpoint+grpc, "--log.level=error")
	return &server{url: "http://" + address, keeper: behind.url, programs: []*program{querier, sidecar}}
}

// servers are those that are tested, and what they need.
var servers = map[string]struct {
	start   func(t *testing.T, target string) *server
	options map[string]any
}{
	"Prometheus":      {newPrometheus, map[string]any{"step": "200ms", "delay": "1s"}},
	"VictoriaMetrics": {newVictoria, map[string]any{"step": "1s", "delay": "4s", "settle": "4s"}},
	"Thanos": {
		func(t *testing.T, target string) *server { t.Helper(); return newThanos(t, target, true) },
		map[string]any{"step": "200ms", "delay": "1s"},
	},
	"Thanos without strict": {
		func(t *testing.T, target string) *server { t.Helper(); return newThanos(t, target, false) },
		map[string]any{"step": "200ms", "delay": "1s", "overlap": "2s"},
	},
}

// samples are those that the server has of x; nil where it does not answer.
func (s *server) samples(t *testing.T) (all []promapi.Point) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.keeper+"/api/v1/query?query="+url.QueryEscape("x[1h]"), nil)
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

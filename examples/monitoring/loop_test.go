// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
	"github.com/kubeedge/edge-anomaly/pkg/model"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// A detector beside Prometheus: it asks for series, with their past first, and is scraped for what it expects of them.
const besidePrometheus = `
limits: {snapshot: 1s}
sources:
- type: prometheus
  options:
    url: http://%PROMETHEUS%
    insecure: true
    step: 200ms
    delay: 1s
    device: "{job}-{room}"
    queries:
    - {query: heat, metric: by-auto, predicted: heat_auto}
    - {query: heat, metric: by-range, predicted: heat_range}
    - {query: "rate(turns_total[2s])", predicted: turns_expected}
    - {query: heat, metric: inlet}
    - {query: echo, metric: outlet}
anomalyDetection:
  stateDir: %DIR%/state
  modelDir: %DIR%/models
  sinks: [metrics, activity]
  sinkOptions:
    metrics: {address: "%DETECTOR%"}
    activity: {file: %DIR%/activities.yaml, folder: %DIR%/scripts}
  defaults: {detector: auto, heartbeat: 1s, accept: never, quality.missing: 0, quality.late: 0}
  routes:
  - match: {property: by-range}
    settings: {detector: range, detector.upper: 50}
  - match: {property: "*let"}
    settings: {detector: pca, group: pipe, model: pipe.model}
`

// Both detectors of the series share a lock of the device; each has one of its own beside it.
const lockedByDevice = `
activities:
- name: once-for-both
  match: {metric: "heat_*", severity: critical}
  command: {shell_file: note.sh, args: [both]}
  lock: device
- name: once-for-each
  match: {metric: "heat_*", severity: critical}
  command: {shell_file: note.sh, args: [each]}
  unlock: [onAnomalyChangeStatus]
- name: once-for-each-model
  match: {property: "*let", severity: critical}
  command: {shell_file: note.sh, args: [model]}
  unlock: [onRetraining]
`

// plant is an exporter: a temperature that is hotter where there is a fault, one behind it that is not, and a counter.
func plant(t *testing.T) (address string, fault *atomic.Int64) {
	t.Helper()
	var scrapes atomic.Int64
	fault = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := scrapes.Add(1)
		_, _ = fmt.Fprintf(w, "# TYPE heat gauge\nheat{room=\"1\"} %v\n# TYPE echo gauge\necho{room=\"1\"} %v\n# TYPE turns_total counter\nturns_total{room=\"1\"} %d\n",
			inlet(n)+float64(fault.Load()), outlet(n), 7*n)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), fault
}

func inlet(n int64) float64  { return 20 + math.Sin(float64(n)) }
func outlet(n int64) float64 { return 40 + 2*math.Sin(float64(n)) + .1*math.Cos(3*float64(n)) }

// retrain puts a model of the pipe where the detector looks for it, by the scrapes from the first on.
func retrain(t *testing.T, file string, first int64) {
	t.Helper()
	trained := model.Trained{Facts: model.Facts{Driver: "pca", Members: []string{"inlet", "outlet"}, Rows: 1000}}
	var settings driver.Settings
	for _, m := range trained.Members {
		settings.Members = append(settings.Members, driver.Member{Key: driver.Key{Device: "plant-1", Property: m}})
	}
	learner, err := driver.Open("pca", settings, nil)
	if err == nil {
		err = learner.(driver.Trainer).Train(t.Context(), func(yield func(driver.Row) bool) {
			for n := first; n < first+1000; n++ {
				if !yield(driver.Row{{Key: settings.Members[0].Key, Value: inlet(n)}, {Key: settings.Members[1].Key, Value: outlet(n)}}) {
					return
				}
			}
		})
	}
	if err == nil {
		trained.Payload, err = learner.(encoding.BinaryMarshaler).MarshalBinary()
	}
	var data []byte
	if err == nil {
		data, err = trained.Encode()
	}
	if err == nil {
		err = atomicfile.WriteBytes(file, 0o600, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPrometheusLoop is the whole way round: an exporter is scraped, the detector asks for the series, is warm by their past,
// runs an activity once when they break, whoever is killed in between, and Prometheus scrapes what it expects.
func TestPrometheusLoop(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus and a detector")
	}
	prometheus := proctest.Program(t, "prometheus")
	dir := t.TempDir()
	exporter, fault := plant(t)
	address, metrics := proctest.FreeAddress(t), proctest.FreeAddress(t)
	for _, folder := range []string{"scripts", "state", "models"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fill := strings.NewReplacer("%PROMETHEUS%", address, "%DETECTOR%", metrics, "%DIR%", dir)
	write(t, filepath.Join(dir, "config.yaml"), fill.Replace(besidePrometheus))
	write(t, filepath.Join(dir, "activities.yaml"), lockedByDevice)
	write(t, filepath.Join(dir, "scripts", "note.sh"), `echo "$1 $ANOMALY_DEVICE" >>"$HOME/notes"`)
	pipe := filepath.Join(dir, "models", "pipe.model")
	retrain(t, pipe, 0)
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 100ms, scrape_timeout: 100ms}
scrape_configs:
- job_name: plant
  static_configs: [{targets: [%q]}]
- job_name: detector
  honor_labels: true
  static_configs: [{targets: [%q]}]
`, exporter, metrics))
	binary := filepath.Join(dir, "anomaly-detector")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/anomaly-detector").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	startServer := func() *proctest.Process {
		return proctest.Start(t, prometheus, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+address, "--log.level=warn")
	}
	startDetector := func() *proctest.Process {
		return proctest.Start(t, binary, "--config", filepath.Join(dir, "config.yaml"))
	}
	is := func(query string, want float64) bool {
		got, ok := value(t, "http://"+address, query)
		return ok && got == want
	}
	notes := func() []string {
		text, _ := os.ReadFile(filepath.Join(dir, "scripts", "notes"))
		all := strings.Split(strings.TrimSpace(string(text)), "\n")
		slices.Sort(all)
		return all
	}
	readings := func() float64 {
		n, _ := value(t, "http://"+address, `edge_anomaly_readings_total`)
		return n
	}

	server := startServer()
	waittest.Eventually(t, "there is a past", func() bool {
		n, ok := value(t, "http://"+address, `count_over_time(heat[1h])`)
		return ok && n >= 200
	})
	detector := startDetector()
	waittest.Eventually(t, "Prometheus scrapes what is expected", func() bool {
		n, ok := value(t, "http://"+address, `count({__name__=~"heat_auto|heat_range",room="1",job="plant",instance="`+exporter+`",value_type=~"yhat|anomaly|score"})`)
		return ok && n == 5 // that of a range has no yhat
	})
	waittest.Eventually(t, "it joins what is", func() bool {
		off, ok := value(t, "http://"+address, `abs(heat - on (job, instance, room) heat_auto{value_type="yhat"})`)
		turns, is := value(t, "http://"+address, `turns_expected{value_type="yhat"}`)
		return ok && off < 3 && is && turns > 35 && turns < 140
	})
	// From the first verdict on, the detectors knew: none was shown that says unknown.
	if !is(`min(min_over_time(anomaly_severity{property=~"by-.*"}[1h]))`, 1) {
		t.Error("a reading was not judged: the past did not warm the detectors up")
	}

	anomalous := func(want float64) func() bool {
		return func() bool {
			return is(`min({__name__=~"heat_auto|heat_range",value_type="anomaly"})`, want) && is(`max({__name__=~"heat_auto|heat_range",value_type="anomaly"})`, want)
		}
	}
	fault.Store(100)
	broke := time.Now()
	waittest.Eventually(t, "the fault is found", anomalous(1))
	t.Logf("the fault is in Prometheus as anomaly %v after it", time.Since(broke).Round(time.Millisecond))
	first := []string{"both plant-1", "each plant-1", "each plant-1", "model plant-1", "model plant-1"}
	waittest.Eventually(t, "activities ran", func() bool { return len(notes()) == len(first) })
	retrain(t, pipe, 5000)
	first = append(first, "model plant-1", "model plant-1")
	waittest.Eventually(t, "those of the model ran again after it was trained anew", func() bool { return len(notes()) == len(first) })

	for _, kill := range []struct {
		name  string
		which **proctest.Process
		start func() *proctest.Process
	}{{"the detector", &detector, startDetector}, {"Prometheus", &server, startServer}, {"the detector again", &detector, startDetector}} {
		waittest.Eventually(t, "state was kept since", func() bool { return time.Since(broke) > 2*time.Second })
		(*kill.which).Kill()
		*kill.which = kill.start()
		var before float64
		waittest.Eventually(t, "readings are judged after the end of "+kill.name, func() bool {
			if n := readings(); n < before || before == 0 {
				before = n
			}
			return before > 0 && readings() > before+20
		})
		waittest.Eventually(t, "the incident goes on after the end of "+kill.name, anomalous(1))
		if got := notes(); !slices.Equal(got, first) {
			t.Errorf("after the end of %s the activities ran as %q, want %q", kill.name, got, first)
		}
		broke = time.Now()
	}

	fault.Store(0)
	waittest.Eventually(t, "it is back", anomalous(0))
	fault.Store(100)
	waittest.Eventually(t, "the next fault is found", anomalous(1))
	second := []string{"both plant-1", "both plant-1", "each plant-1", "each plant-1", "each plant-1", "each plant-1", "model plant-1", "model plant-1", "model plant-1", "model plant-1"}
	waittest.Eventually(t, "activities ran again", func() bool { return len(notes()) >= len(second) })
	if got := notes(); !slices.Equal(got, second) {
		t.Errorf("the activities ran as %q, want %q", got, second)
	}
	promtool(t, get(t, "http://"+metrics+"/metrics"), "check", "metrics")
}

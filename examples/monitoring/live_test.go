// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kubeedge/edge-anomaly/device/edgecoretest"
	"github.com/kubeedge/edge-anomaly/examples/room-simulator/room"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

const mapperDir = "../restful-light-mapper"

// startMapper runs the real restful-light-mapper on a simulated EdgeCore and room, so many times faster than its manifests
// say, and returns where its metrics are and the room.
func startMapper(t *testing.T, speed int) (metrics, roomURL string) {
	t.Helper()
	simulator, err := room.New(room.Config{Seed: 1, Day: 24 * time.Hour / time.Duration(speed)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(simulator)
	t.Cleanup(server.Close)
	core := edgecoretest.StartTest(t, edgecoretest.Options{Rate: rate.Inf})
	for _, name := range []string{"device-models.yaml", "devices.yaml"} {
		raw, err := os.ReadFile(filepath.Join(mapperDir, "manifests", name))
		if err != nil {
			t.Fatal(err)
		}
		text := faster(strings.ReplaceAll(string(raw), "http://127.0.0.1:8000", server.URL), speed)
		if err := core.Apply(t.Context(), strings.NewReader(text)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	dir := t.TempDir()
	binary, config := filepath.Join(dir, "mapper"), filepath.Join(dir, "config.yaml")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, mapperDir).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	metrics = proctest.FreeAddress(t)
	write(t, config, fmt.Sprintf(`
grpc_server: {socket_path: %s}
common: {name: restful-light-mapper, protocol: restful, edgecore_sock: %s}
anomalyDetection:
  sinks: log,metrics
  sinkOptions: {metrics: {address: %q}}
`, filepath.Join(dir, "m.sock"), core.Socket(), metrics))
	proctest.Start(t, binary, "--config", config)
	return metrics, server.URL
}

var cycle = regexp.MustCompile(`(collectCycle|reportCycle): (\d+)`)

// faster divides the cycles of a manifest. A busy machine is none the faster for it: that readings come late, or not at all
// for a few seconds, is no fault of a sensor then.
func faster(manifest string, speed int) string {
	if speed == 1 {
		return manifest
	}
	manifest = cycle.ReplaceAllStringFunc(manifest, func(s string) string {
		m := cycle.FindStringSubmatch(s)
		ms, _ := strconv.Atoi(m[2])
		return m[1] + ": " + strconv.Itoa(ms/speed)
	})
	return strings.ReplaceAll(manifest, "        detector: auto\n", "        detector: auto\n        quality.late: 0\n        quality.missing: 80\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fault(t *testing.T, roomURL, sensor, kind string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, roomURL+"/sensors/"+sensor+"/fault", strings.NewReader(kind))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("fault: %s", resp.Status)
	}
}

// prometheus runs Debian's with the files of this directory, on a shorter interval, and returns its address.
func prometheus(t *testing.T, mapper string) string {
	t.Helper()
	path := proctest.Program(t, "prometheus")
	dir := t.TempDir()
	for _, name := range []string{"prometheus.yml", "rules.yaml"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(raw), "127.0.0.1:9464", mapper)
		write(t, filepath.Join(dir, name), strings.ReplaceAll(text, "interval: 15s", "interval: 250ms"))
	}
	address := proctest.FreeAddress(t)
	proctest.Start(t, path, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	return "http://" + address
}

// answer asks Prometheus; it is false where there is no answer yet.
func answer(t *testing.T, url string, data any) bool {
	t.Helper()
	var envelope struct {
		Status string
		Data   json.RawMessage
	}
	return json.Unmarshal([]byte(get(t, url)), &envelope) == nil && envelope.Status == "success" && json.Unmarshal(envelope.Data, data) == nil
}

// firing lists the alerts that fire, as alert/device/property.
func firing(t *testing.T, prometheus string) (out []string, ok bool) {
	t.Helper()
	var data struct {
		Alerts []struct {
			Labels map[string]string
			State  string
		}
	}
	ok = answer(t, prometheus+"/api/v1/alerts", &data)
	for _, a := range data.Alerts {
		if a.State == "firing" {
			out = append(out, a.Labels["alertname"]+"/"+a.Labels["device"]+"/"+a.Labels["property"])
		}
	}
	return out, ok
}

// A sensor breaks: Prometheus, which watches the real mapper, says so, and that it is over once it is mended. Meanwhile
// the panels of the dashboard have something to show.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a mapper and Prometheus")
	}
	proctest.Program(t, "prometheus")
	mapper, roomURL := startMapper(t, 1)
	server := prometheus(t, mapper)
	waittest.Eventually(t, "the mapper is ready", func() bool { return get(t, "http://"+mapper+"/readyz") != "" })
	const alert = "AnomalyCritical/brightness-sensor-1/brightness"
	waittest.Eventually(t, "Prometheus sees the sensor, and no alert", func() bool {
		var data struct{ Result []any }
		fires, ok := firing(t, server)
		return ok && !slices.Contains(fires, alert) && answer(t, server+"/api/v1/query?query="+url.QueryEscape(`anomaly_severity{device="brightness-sensor-1"} == 1`), &data) &&
			len(data.Result) == 1
	})
	fault(t, roomURL, "brightness", "jump")
	waittest.Eventually(t, "the alert fires", func() bool {
		fires, _ := firing(t, server)
		return slices.Contains(fires, alert)
	})

	d := readDashboard(t)
	shown, empty := 0, []string(nil)
	for title, exprs := range d.queries(t) {
		for _, expr := range exprs {
			var data struct{ Result []any }
			if !answer(t, server+"/api/v1/query?query="+url.QueryEscape(expr), &data) {
				t.Errorf("%s: Prometheus refuses %s", title, expr)
			}
			if len(data.Result) > 0 {
				shown++
			} else {
				empty = append(empty, title)
			}
		}
	}
	t.Logf("of the dashboard's queries, %d have something to show, and nothing those of %q", shown, empty)
	if shown < 20 {
		t.Errorf("only %d of the dashboard's queries have something to show; nothing: %q", shown, empty)
	}

	fault(t, roomURL, "brightness", "none")
	waittest.Eventually(t, "the alert is over", func() bool {
		fires, ok := firing(t, server)
		return ok && !slices.Contains(fires, alert)
	})
	promtool(t, get(t, "http://"+mapper+"/metrics"), "check", "metrics")
}

// value is that of a query with one answer; ok is false where there is none.
func value(t *testing.T, prometheus, query string) (v float64, ok bool) {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if !answer(t, prometheus+"/api/v1/query?query="+url.QueryEscape(query), &data) || len(data.Result) != 1 {
		return 0, false
	}
	text, _ := data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil
}

// A temperature that auto watches jumps by 10 °C and stays there: by the shipped rules an alert fires within 90 s, fires on
// while the incident lasts, and is resolved once the sensor is repaired.
func TestLastingJump(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a mapper and Prometheus")
	}
	proctest.Program(t, "prometheus")
	mapper, roomURL := startMapper(t, 20)
	server := prometheus(t, mapper)
	const (
		sensor  = `{device="temperature-sensor-1",property="temperature"}`
		learned = 1200 // readings of the temperature: a minute, in the field 20
		lasts   = 4.0  // seconds for which the incident is watched: 80 in the field
	)
	fires := func() bool {
		all, _ := firing(t, server)
		return slices.Contains(all, "AnomalyCritical/temperature-sensor-1/temperature") || slices.Contains(all, "AnomalyWarning/temperature-sensor-1/temperature")
	}
	began := time.Now()
	waittest.Eventually(t, "the detector has learned the temperature", func() bool {
		severity, ok := value(t, server, `max(anomaly_severity`+sensor+`)`)
		return ok && severity == 1 && !fires() && time.Since(began) > learned*time.Second/20
	})
	before, _ := value(t, server, `max(anomaly_value`+sensor+`)`)
	fault(t, roomURL, "temperature", "jump")
	broke := time.Now()
	waittest.Eventually(t, "an alert on the jump fires", fires)
	after := time.Since(broke)
	t.Logf("the alert fires %.1f s after the jump", after.Seconds())
	if after > 90*time.Second {
		t.Errorf("the alert fires after %v, want it within 90 s", after)
	}
	missed := 0
	waittest.Eventually(t, "the incident has an age", func() bool {
		if !fires() {
			missed++
		}
		age, ok := value(t, server, `max(anomaly_incident_seconds`+sensor+`)`)
		return ok && age > lasts
	})
	if missed > 0 {
		t.Errorf("the alert did not fire at %d times while the incident lasted", missed)
	}
	if now, ok := value(t, server, `max(anomaly_value`+sensor+`)`); !ok || now-before < 8 || now-before > 12 {
		t.Errorf("anomaly_value went from %.2f to %.2f, want 10 °C more", before, now)
	}
	fault(t, roomURL, "temperature", "none")
	repaired := time.Now()
	waittest.Eventually(t, "the alert is resolved", func() bool { return !fires() })
	t.Logf("it is resolved %.1f s after the repair", time.Since(repaired).Seconds())
	waittest.Eventually(t, "the incident is counted", func() bool {
		n, ok := value(t, server, `sum(anomaly_incidents_total{outcome="returned"})`)
		return ok && n >= 1
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func verdict(property string, score float64) driver.Result {
	var r driver.Result
	r.Reset(driver.Row{{Key: driver.Key{Namespace: "default", Device: "light-1", Property: property}, At: time.Unix(0, 0), Value: 35}})
	r.Threshold, r.Detector, r.Model = driver.DefaultThreshold, "auto", "room@3f2a"
	r.Expected, r.Lower, r.Upper = 20, 18, 22
	r.Judge(score, driver.KindSpike)
	return r
}

type fixture struct {
	*sink
	client http.Client
	counts atomic.Pointer[admethod.Stats]
}

func start(t *testing.T, most int) *fixture {
	t.Helper()
	f := &fixture{}
	f.counts.Store(&admethod.Stats{})
	f.sink = newSink(Config{Address: "127.0.0.1:0", MaxProperties: most}, func() admethod.Stats { return *f.counts.Load() })
	f.client.Transport = &http.Transport{DisableKeepAlives: true}
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 { // it is idempotent
			if err := f.Shutdown(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

func (f *fixture) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.listener.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const light = `{detector="auto",device="light-1",namespace="default",property="brightness"`

func TestScrape(t *testing.T) {
	f := start(t, 2)
	odd := verdict("odd\xff", 0.1)
	if err := f.Write(t.Context(), []driver.Result{verdict("brightness", 0.97), odd, verdict("third", 0.1)}); err != nil {
		t.Fatal(err)
	}
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "brightness"}
	faulty := verdict("brightness", 0.97)
	faulty.Detector = "quality"
	if err := f.Write(t.Context(), []driver.Result{faulty, verdict("brightness", 0.97)}); err != nil {
		t.Fatal(err)
	}
	f.Hooks().Judged(key, time.Microsecond)
	f.Hooks().Judged(driver.Key{}, time.Microsecond)
	f.Hooks().SinkFailed("webhook", errors.New("refused"), true)
	f.Hooks().Failed(key, errors.New("panicked"))
	f.Hooks().ModelLoaded(key, "room@3f2b")
	f.Hooks().State("default/light-1", errors.New("damaged"))
	f.counts.Store(&admethod.Stats{
		Bindings: map[driver.Key]admethod.BindingStats{key: {Readings: 100, Dropped: 3, Late: 2}},
		Sinks:    map[string]admethod.SinkStats{"webhook": {Waiting: 3, Refused: 1, Own: map[string]float64{admethod.WaitingVerdicts: 4, "lost_readings": 5}}},
	})
	status, page := f.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, page)
	}
	for _, want := range []string{
		"anomaly_score" + light + "} 0.97", "anomaly" + light + "} 1", "anomaly_severity" + light + "} 2",
		"yhat" + light + "} 20", "yhat_lower" + light + "} 18", "yhat_upper" + light + "} 22",
		"edge_anomaly_readings_total 100", `edge_anomaly_drops_total{cause="queue"} 3`, `edge_anomaly_faulty_readings_total{cause="late"} 2`,
		`edge_anomaly_sink_queue_depth{sink="webhook"} 7`, `edge_anomaly_sink_measure{measure="lost_readings",sink="webhook"} 5`,
		`edge_anomaly_sink_drops_total{cause="refused",sink="webhook"} 1`,
		`edge_anomaly_sink_errors_total{retried="true",sink="webhook"} 1`, `edge_anomaly_detect_seconds_count{detector="auto"} 1`,
		`edge_anomaly_detect_seconds_count{detector="other"} 1`, `edge_anomaly_detector_failures_total{detector="auto"} 1`,
		`edge_anomaly_model_loads_total{detector="auto"} 1`, "edge_anomaly_state_errors_total 1",
		"edge_anomaly_hidden_verdicts_total 1", `model="room@3f2a"`, "property=\"odd\uFFFD\"",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
	if strings.Contains(page, "third") {
		t.Error("a property beyond the limit is shown")
	}

	// A forgotten property makes room, and its readings stay counted.
	f.Forget(key)
	f.counts.Store(&admethod.Stats{})
	if err := f.Write(t.Context(), []driver.Result{verdict("third", 0.1)}); err != nil {
		t.Fatal(err)
	}
	_, page = f.get(t, "/metrics")
	if strings.Contains(page, "brightness") || !strings.Contains(page, "third") {
		t.Errorf("the forgotten property did not give way:\n%s", page)
	}
	if !strings.Contains(page, "edge_anomaly_readings_total 100") {
		t.Errorf("the count of readings fell:\n%s", page)
	}
}

// A lasting incident has an age, and is counted once when it ends, whatever becomes of its severity meanwhile.
func TestIncidents(t *testing.T) {
	f := start(t, 10)
	began := time.Unix(1_700_000_000, 0)
	during := func(minute int, id uint64, phase driver.Phase, severity driver.Severity) driver.Result {
		r := verdict("brightness", 0.97)
		r.At, r.Severity = began.Add(time.Duration(minute)*time.Minute), severity
		r.Incident = driver.Incident{ID: id, Phase: phase, Start: began, Severity: max(severity, driver.Warning), Kind: driver.KindLevel}
		if !phase.Open() {
			r.Incident.End, r.Incident.Severity = r.At, driver.Critical
		}
		return r
	}
	page := func(batch ...driver.Result) string {
		t.Helper()
		if err := f.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		_, page := f.get(t, "/metrics")
		return page
	}
	shows := func(page, want string) {
		t.Helper()
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page:\n%s", want, page)
		}
	}
	p := page(during(0, 7, driver.Began, driver.Warning), during(10, 7, driver.Lasts, driver.Critical))
	shows(p, "anomaly_incident_seconds"+light+"} 600.") // and what passed since
	shows(p, "anomaly_value"+light+"} 35")
	shows(p, `anomaly_incidents_open{severity="critical"} 1`)
	shows(p, `anomaly_incidents_open{severity="warning"} 0`)
	shows(p, `anomaly_incidents_total{kind="level",outcome="newNormal",severity="critical"} 0`)
	p = page(during(360, 7, driver.NewNormal, driver.Normal), during(361, 7, driver.NewNormal, driver.Normal))
	shows(p, `anomaly_incidents_total{kind="level",outcome="newNormal",severity="critical"} 1`)
	shows(p, `anomaly_incidents_open{severity="critical"} 0`)
	if strings.Contains(p, "anomaly_incident_seconds{") {
		t.Errorf("an incident that is over has an age:\n%s", p)
	}
	page(during(0, 8, driver.Began, driver.Critical))
	f.Forget(driver.Key{Namespace: "default", Device: "light-1", Property: "brightness"})
	shows(page(), `anomaly_incidents_total{kind="level",outcome="abandoned",severity="critical"} 1`)
}

// Names of detectors come from outside with remote ones: there are no more series than a few.
func TestDetectorsAreBounded(t *testing.T) {
	c := newCollector(1000, nil)
	names := make(map[string]bool)
	for i := range 1000 {
		r := verdict(strconv.Itoa(i), 0.5)
		r.Detector = "detector" + strconv.Itoa(i)
		c.take([]driver.Result{r})
		names[c.detector(r.Key)] = true
	}
	if len(names) != maxDetectors+1 || !names[otherDetector] {
		t.Errorf("%d names", len(names))
	}
}

// Hooks, which are called while readings are judged, do not wait for a scrape that does not get on.
func TestHooksDuringAScrape(t *testing.T) {
	s := newSink(Config{MaxProperties: 10}, func() admethod.Stats { return admethod.Stats{} })
	r := verdict("brightness", 0.5)
	s.verdicts.take([]driver.Result{r})
	ch := make(chan prometheus.Metric)
	var wg sync.WaitGroup
	wg.Go(func() {
		s.verdicts.Collect(ch)
		close(ch)
	})
	<-ch // it has begun, and waits
	hooks := s.Hooks()
	hooks.Judged(r.Key, time.Microsecond)
	hooks.Failed(r.Key, errors.New("panicked"))
	hooks.ModelLoaded(r.Key, "room@3f2a")
	hooks.SinkFailed("webhook", errors.New("refused"), true)
	hooks.State("", errors.New("damaged"))
	for range ch { //nolint:revive // lets it end
	}
	wg.Wait()
}

// slowScrapers hold so many scrapes of a sink, whose page is of megabytes, open.
func slowScrapers(t *testing.T, s *sink, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { // so that the page does not fit into buffers
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	for i := range conns {
		conn, err := dialer.DialContext(t.Context(), "tcp", s.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: mapper\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil { // it has begun, and is read no further
			t.Fatal(err)
		}
	}
	return conns
}

// manyVerdicts make a page of 7 MB, which no socket's buffer holds.
func manyVerdicts() []driver.Result {
	batch := make([]driver.Result, 600)
	for i := range batch {
		batch[i] = verdict(strings.Repeat("long", 400)+strconv.Itoa(i), 0.97)
	}
	return batch
}

// Who observes readings does not notice that scrapers are slow.
func TestUndisturbed(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	fresh := func() *sink {
		return newSink(Config{Address: "127.0.0.1:0", MaxProperties: 2000}, func() admethod.Stats { return admethod.Stats{} })
	}
	trouble := fresh()
	trouble.verdicts.take(manyVerdicts())
	sinktest.Undisturbed(t, fresh(), trouble, func() bool {
		slowScrapers(t, trouble, 2)
		return true
	})
}

// Scrapers that do not read and many that do at once disturb neither each other for long nor what is scraped.
func TestScrapersInTrouble(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	batch := manyVerdicts()
	f := start(t, len(batch))
	write := func() (took time.Duration) {
		begin := time.Now()
		for range 10 {
			if err := f.Write(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(begin)
	}
	write()
	quiet := min(write(), write(), write())

	conns := slowScrapers(t, f.sink, maxScrapes)
	slow := min(write(), write(), write())
	if slow > 10*quiet+10*time.Millisecond {
		t.Errorf("verdicts take %v with slow scrapers, %v without", slow, quiet)
	}
	if status, _ := f.get(t, "/metrics"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d while %d scrapers are slow", status, maxScrapes)
	}
	if status, _ := f.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}

	for i := range batch[100:] { // so that many pages take no time
		f.Forget(batch[100+i].Key)
	}
	var wg sync.WaitGroup
	var good, busy atomic.Int32
	for range 30 {
		wg.Go(func() {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.listener.Addr().String()+"/metrics", nil)
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := f.client.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			n, err := io.Copy(io.Discard, resp.Body)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusServiceUnavailable:
				busy.Add(1)
			case resp.StatusCode == http.StatusOK && n > 1<<17:
				good.Add(1)
			default:
				t.Errorf("status %d, %d bytes", resp.StatusCode, n)
			}
		})
	}
	write()
	wg.Wait()
	if good.Load() == 0 {
		t.Error("no scraper got the page")
	}
	t.Logf("verdicts: %v without, %v with slow scrapers; of 30 at once, %d got the page, %d were told to come later",
		quiet, slow, good.Load(), busy.Load())
	if status, _ := f.get(t, "/metrics"); status != http.StatusOK {
		t.Errorf("a scrape after that: status %d", status)
	}
}

func TestHealthAndReadiness(t *testing.T) {
	f := start(t, 1)
	if status, _ := f.get(t, "/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d", status)
	}
	if status, _ := f.get(t, "/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz without a property: %d", status)
	}
	f.counts.Store(&admethod.Stats{Bindings: map[driver.Key]admethod.BindingStats{{}: {}}})
	if status, _ := f.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("readyz with a property: %d", status)
	}
}

func TestAddress(t *testing.T) {
	host, _, err := net.SplitHostPort(defaults().Address)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("the default address %q is not loopback", defaults().Address)
	}
	f := start(t, 1)
	taken := newSink(Config{Address: f.listener.Addr().String(), MaxProperties: 1}, nil)
	if err := taken.Start(t.Context()); err == nil {
		t.Error("an address in use is accepted")
	}
	if err := taken.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range []map[string]any{{"port": 1}, {"maxProperties": 0}} {
		if _, err := Factory().New(admethod.SinkSettings{Options: bad}); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
}

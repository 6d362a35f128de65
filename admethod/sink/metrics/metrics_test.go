// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
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
	f.Hooks().Judged(driver.Key{}, time.Microsecond)
	f.Hooks().SinkFailed("webhook", errors.New("refused"), true)
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "brightness"}
	f.counts.Store(&admethod.Stats{
		Bindings: map[driver.Key]admethod.BindingStats{key: {Readings: 100, Dropped: 3, Late: 2}},
		Sinks:    map[string]admethod.SinkStats{"webhook": {Waiting: 7, Refused: 1}},
	})
	status, page := f.get(t, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, page)
	}
	for _, want := range []string{
		"anomaly_score" + light + "} 0.97", "anomaly" + light + "} 1", "anomaly_severity" + light + "} 2",
		"yhat" + light + "} 20", "yhat_lower" + light + "} 18", "yhat_upper" + light + "} 22",
		"edge_anomaly_readings_total 100", "edge_anomaly_drops_total 3", `edge_anomaly_faulty_readings_total{cause="late"} 2`,
		`edge_anomaly_sink_queue_depth{sink="webhook"} 7`, `edge_anomaly_sink_drops_total{cause="refused",sink="webhook"} 1`,
		`edge_anomaly_sink_errors_total{retried="true",sink="webhook"} 1`, "edge_anomaly_detect_seconds_count 1",
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

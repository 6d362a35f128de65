// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// realAlertmanager is Debian's.
type realAlertmanager struct {
	address string
	start   func() *proctest.Process
}

func newRealAlertmanager(t *testing.T) *realAlertmanager {
	t.Helper()
	path := proctest.Program(t, "prometheus-alertmanager", "alertmanager")
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &realAlertmanager{address: proctest.FreeAddress(t)}
	m.start = func() *proctest.Process {
		return proctest.Start(t, path, "--config.file="+config, "--storage.path="+dir, "--web.listen-address="+m.address,
			"--cluster.listen-address=", "--log.level=warn")
	}
	return m
}

type shownAlert struct {
	Labels      map[string]string
	Annotations map[string]string
	StartsAt    time.Time
	Status      struct{ State string }
}

// firing asks Alertmanager for the alerts that have not ended, by property and severity.
func (m *realAlertmanager) firing(t *testing.T) map[string]shownAlert {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.address+"/api/v2/alerts?active=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var alerts []shownAlert
	if err := json.NewDecoder(resp.Body).Decode(&alerts); err != nil {
		return nil
	}
	out := make(map[string]shownAlert)
	for _, a := range alerts {
		out[a.Labels["property"]+" "+a.Labels["severity"]] = a
	}
	return out
}

// Debian's Alertmanager takes alerts, ends them, and has them again after it was stopped, frozen and killed.
func TestRealAlertmanager(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Alertmanager")
	}
	m := newRealAlertmanager(t)
	s := newSink(t, "http://"+m.address, map[string]any{"resend": "1s", "timeout": "1s"})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	has := func(want ...string) func() bool {
		return func() bool {
			got := m.firing(t)
			for _, w := range want {
				if _, ok := got[w]; !ok {
					return false
				}
			}
			return got != nil && len(got) == len(want)
		}
	}
	begin := time.Now().Add(-time.Minute)
	many := make([]driver.Result, 0, 300)
	for i := range cap(many) {
		many = append(many, result("many"+strconv.Itoa(i), begin, 0.1, ""))
	}
	odd := result("odd\xff\x00\n\"{}", begin, 0.97, driver.KindSpike)
	sinktest.Write(t, s, odd, result("a", begin, 0.97, driver.KindSpike), result("b", time.Now().Add(time.Hour), 0.999, driver.KindDrift))
	sinktest.Write(t, s, many...)
	process := m.start() // only now: it was down at the start
	oddly := "odd\uFFFD\x00\n\"{} warning"
	waittest.Eventually(t, "the alerts fire", has(oddly, "a warning", "b critical"))
	if a := m.firing(t)["a warning"]; a.Labels["alertname"] != "Anomaly" || a.Labels["device"] != "light-1" ||
		a.Annotations["kind"] != "spike" || !a.StartsAt.Equal(begin.Truncate(time.Millisecond)) && a.StartsAt.Sub(begin).Abs() > time.Millisecond {
		t.Errorf("%+v, want the alert since %v", a, begin)
	}
	sinktest.Write(t, s, result("a", time.Now(), 0.999, driver.KindSpike), result("b", time.Now(), 0.1, ""))
	s.Forget(odd.Key)
	waittest.Eventually(t, "one gets worse, the others end", has("a warning", "a critical"))

	process.Signal(t, syscall.SIGSTOP)
	failed := s.Stats().Failed
	sinktest.Write(t, s, result("a", time.Now(), 0.1, ""), result("b", time.Now(), 0.97, driver.KindSpike))
	waittest.Eventually(t, "a try fails", func() bool { return s.Stats().Failed > failed })
	process.Signal(t, syscall.SIGCONT)
	waittest.Eventually(t, "the final state after a freeze", has("b warning"))

	process.Kill() // and with it all that it knew since its last snapshot
	again := result("a", time.Now(), 0.97, driver.KindSpike)
	again.Incident.ID++ // another one
	sinktest.Write(t, s, again)
	m.start()
	waittest.Eventually(t, "all alerts after a crash", has("a warning", "b warning"))
	if n := s.Stats().Refused; n > 0 {
		t.Errorf("%d items were refused", n)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/sink/history"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
)

// told is a mapper's API and history that know an incident, 0000000000000007, of light-1, over, and one that lasts.
type told struct {
	dir, url, token string
	accepted        int
}

func startTold(t *testing.T) *told {
	t.Helper()
	w := &told{dir: t.TempDir()}
	w.token = filepath.Join(w.dir, "token")
	if err := os.WriteFile(w.token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := history.DefaultConfig()
	c.Path = filepath.Join(w.dir, history.File)
	api, err := httpapi.Factory().New(admethod.SinkSettings{
		Options: map[string]any{"address": "127.0.0.1:0", "tokenFile": w.token}, StateDir: w.dir,
		Accept: func(context.Context, driver.Key, driver.Span) error { w.accepted++; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-7 * time.Hour).Truncate(time.Second)
	during := func(id uint64, device string, at time.Duration, phase driver.Phase) driver.Result {
		r := driver.Result{
			Key: driver.Key{Namespace: "default", Device: device, Property: "power"}, At: begin.Add(at), Severity: driver.Critical,
			Kind: driver.KindLevel, Value: 42, Detector: "auto", Message: "12 W above what was expected",
		}
		r.Incident = driver.Incident{ID: id, Phase: phase, Start: begin, Severity: driver.Critical, Kind: driver.KindLevel, Cause: r.Key}
		if !phase.Open() {
			r.Severity, r.Message, r.Incident.End = driver.Normal, "", r.At
		}
		return r
	}
	batch := []driver.Result{
		during(7, "light-1", 0, driver.Began), during(9, "light-2\x1b[31m", 0, driver.Began), during(7, "light-1", 6*time.Hour, driver.NewNormal),
	}
	for _, s := range []admethod.Sink{history.New(c), api} {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Shutdown(t.Context()) })
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	w.url = "http://" + api.(*httpapi.Server).Addr().String()
	return w
}

func adctlSays(t *testing.T, args string) (code int, out string) {
	t.Helper()
	code, stdout, stderr := adctl(t, "", strings.Fields(args)...)
	return code, stdout + stderr
}

func TestVerdictsListsIncidents(t *testing.T) {
	w := startTold(t)
	file, api := "--history "+filepath.Join(w.dir, history.File), "--url "+w.url+" --token "+w.token
	for args, want := range map[string]int{
		file: 2, api: 2,
		file + " --open": 1, api + " --open": 1,
		file + " --device light-1": 1, api + " --device light-1": 1,
		file + " --kind freeze": 0, api + " --kind freeze": 0,
		file + " --since 30m": 1, api + " --since 30m": 1,
		api + " --limit 1": 1,
	} {
		code, out := adctlSays(t, "verdicts --incidents "+args)
		if n := strings.Count(out, "\n") - 1; code != exitOK || n != want {
			t.Errorf("%s: exit %d, %d incidents, want %d\n%s", args, code, n, want, out)
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("%s: a name steers the terminal: %q", args, out)
		}
	}
	for _, line := range []string{"6 h", "newNormal", "light-1/power", "0000000000000007", "12 W above what was expected"} {
		if _, out := adctlSays(t, "verdicts --incidents --device light-1 "+file); !strings.Contains(out, line) {
			t.Errorf("%q is not in\n%s", line, out)
		}
	}
	if code, out := adctlSays(t, "verdicts --open "+file); code != exitUsage {
		t.Errorf("--open without --incidents: exit %d %s", code, out)
	}
	if code, out := adctlSays(t, "verdicts --incidents -o json "+file); code != exitOK || !strings.Contains(out, `"duration": 21600`) {
		t.Errorf("exit %d %s", code, out)
	}
}

func TestFeedback(t *testing.T) {
	w := startTold(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"--url " + w.url + " --token " + w.token + " --incident 0000000000000007 --verdict normal --note party", exitOK, "takes it for normal from now on"},
		{"--data " + w.dir + " --incident 0000000000000007 --verdict fault --by Ada", exitOK, "was fault: it is kept"},
		{"--data " + w.dir + " --device light-1 --property power --from 2h --to 1h --verdict normal", exitOK, "no detector is told through a directory"},
		{"--url " + w.url + " --incident 0000000000000007 --verdict normal", exitFailed, "401"},
		{"--data " + w.dir + " --incident 0000000000000008 --verdict normal", exitFailed, "no incident"},
		{"--data " + t.TempDir() + " --incident 0000000000000007 --verdict normal", exitUsage, "--device"},
		{"--data " + w.dir + " --incident 0000000000000007", exitUsage, "verdict"},
		{"--data " + w.dir + " --device light-1 --property power --verdict normal", exitUsage, "from and to"},
		{"--data /nonexistent --incident 0000000000000007 --verdict normal", exitUsage, "--data"},
		{"--incident 0000000000000007 --verdict normal", exitUsage, "--url and --data"},
	} {
		if code, out := adctlSays(t, "feedback "+c.args); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: exit %d, want %d with %q:\n%s", c.args, code, c.code, c.want, out)
		}
	}
	said, err := labels.Read(w.dir)
	if err != nil || len(said) != 3 || w.accepted != 1 {
		t.Fatalf("%d labels, %d accepted: %v", len(said), w.accepted, err)
	}
	if l := said[1]; l.By != "Ada" || l.Label != "anomaly" || l.Said.IsZero() || l.To.Sub(l.From) != 6*time.Hour+1 {
		t.Errorf("%+v", l)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// recorded makes a directory with two verdicts on readings and one on a group, which is no reading.
func recorded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sink, err := recorder.Factory().New(admethod.SinkSettings{Hooks: new(admethod.Hooks), StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	see := sink.(admethod.Observer).Hooks().Verdict
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "lux"}
	see(&driver.Result{Key: key, At: at, Value: 40, Score: 0.5, Severity: driver.Normal})
	see(&driver.Result{Key: key, At: at.Add(time.Second), Value: 4000, Score: 1, Severity: driver.Critical, Kind: driver.KindSpike})
	see(&driver.Result{Key: driver.Key{Device: "group"}, At: at, Value: math.NaN(), Score: 1, Severity: driver.Critical})
	if err := sink.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sink.Shutdown(t.Context()); err != nil {
		t.Errorf("second shutdown: %v", err)
	}
	see(&driver.Result{Key: key}) // after the end: goes nowhere
	if st := sink.(*recorder.Recorder).Stats(); st.Written != 2 || st.Lost != 0 {
		t.Errorf("stats %+v, want 2 written", st)
	}
	return dir + "/readings"
}

func TestRecorderKeepsVerdicts(t *testing.T) {
	var got []store.Entry
	err := store.Scan(t.Context(), recorded(t), store.Query{}, func(batch []store.Entry) error {
		got = append(got, batch...)
		return nil
	})
	want := []store.Entry{
		{Namespace: "default", Device: "light-1", Property: "lux", At: at, Value: 40, Score: 0.5, Severity: "normal"},
		{Namespace: "default", Device: "light-1", Property: "lux", At: at.Add(time.Second), Value: 4000, Score: 1, Severity: "critical", Kind: "spike"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestNoDirectory(t *testing.T) {
	if _, err := recorder.Factory().New(admethod.SinkSettings{}); err == nil || !strings.Contains(err.Error(), "dir") {
		t.Errorf("error is %v", err)
	}
}

func TestHandler(t *testing.T) {
	const day = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z"
	const header = "time,namespace,device,property,value,text,severity,score,kind,label\n"
	h := recorder.Handler(recorder.HandlerOptions{
		Dir:       recorded(t),
		Authorize: func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer right" },
	})
	for name, c := range map[string]struct {
		method, token, query string
		status               int
		want                 string // contained
	}{
		"csv":          {"GET", "right", day + "&device=light-*&verdict=critical", 200, header + "2026-03-01T12:00:01Z,default,light-1,lux,4000,,critical,1,spike,\n"},
		"wide":         {"GET", "right", day + "&format=wide&align=1m", 200, "time,lux,label\n2026-03-01T12:00:00Z,4000,\n"},
		"parquet":      {"GET", "right", day + "&format=parquet", 200, "PAR1"},
		"nothing":      {"GET", "right", day + "&device=dark", 200, header},
		"no token":     {"GET", "wrong", day, 401, "not authorized"},
		"post":         {"POST", "right", day, 405, "GET"},
		"no range":     {"GET", "right", "", 400, "from"},
		"long range":   {"GET", "right", "from=2020-03-01T00:00:00Z&to=2026-03-02T00:00:00Z", 400, "at most"},
		"wrong order":  {"GET", "right", "to=2026-03-01T00:00:00Z&from=2026-03-02T00:00:00Z", 400, "not before"},
		"bad pattern":  {"GET", "right", day + "&device=[", 400, "device"},
		"bad format":   {"GET", "right", day + "&format=xls", 400, "xls"},
		"unknown name": {"GET", "right", day + "&devcie=a", 400, "devcie"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, recorder.Path+"?"+c.query, nil)
		r.Header.Set("Authorization", "Bearer "+c.token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, err := io.ReadAll(w.Result().Body)
		if err != nil || w.Code != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("%s: status %d, want %d; body %q, want %q; error %v", name, w.Code, c.status, body, c.want, err)
		}
	}
	w := httptest.NewRecorder()
	recorder.Handler(recorder.HandlerOptions{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", recorder.Path, nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a check of who asks: status %d, want 401", w.Code)
	}
}

// BenchmarkVerdict is what recording adds to the judgement of a reading. It is to be run with -benchtime 30000x: more than
// the queue holds at once is lost, which is cheaper.
func BenchmarkVerdict(b *testing.B) {
	c := recorder.New(recorder.Config{Dir: b.TempDir()})
	if err := c.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	see := c.Hooks().Verdict
	v := driver.Result{Key: driver.Key{Namespace: "default", Device: "light-1", Property: "lux"}, At: at, Value: 1, Severity: driver.Normal}
	b.ReportAllocs()
	for b.Loop() {
		see(&v)
	}
	if err := c.Shutdown(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/recorder"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

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
		"csv":          {"GET", "right", day + "&device=light-*&verdict=critical", 200, header + "2026-03-01T12:00:01Z,default,light-1,lux,,open,critical,1,spike,\n"},
		"wide":         {"GET", "right", day + "&format=wide&align=1m", 200, "time,lux,label\n2026-03-01T12:00:00Z,41,\n"},
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

const (
	day  = "?from=2026-03-01T00:00:00Z&to=2026-03-04T00:00:00Z"
	many = 8000 // readings of some 2 KB: more than fits the buffers between a server and its client
)

func manyReadings(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s, err := store.Open(dir, store.Settings{Queue: many, FlushEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("long ", 400)
	for i := range many {
		s.Add(store.Entry{Namespace: "default", Device: "light-1", Property: "lux", At: at.Add(time.Duration(i) * time.Second), Value: float64(i), Text: text})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// serve serves one download at a time, from a server that gives an answer little time. ended gets a value when one ends.
func serve(t *testing.T, o recorder.HandlerOptions) (url string, client *http.Client, ended chan struct{}) {
	t.Helper()
	ended = make(chan struct{}, 8)
	o.Authorize, o.Downloads, o.MaxRange = func(*http.Request) bool { return true }, 1, 72*time.Hour
	h := recorder.Handler(o)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	s.Config.WriteTimeout = 200 * time.Millisecond
	s.Start()
	t.Cleanup(s.Close)
	return s.URL + recorder.Path, s.Client(), ended
}

func get(ctx context.Context, t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("timed out: %s", what)
	}
}

// A client that is slow gets all of it, and in the meantime others are told to come again.
func TestSlowDownload(t *testing.T) {
	url, client, ended := serve(t, recorder.HandlerOptions{Dir: manyReadings(t)})
	resp := get(t.Context(), t, client, url+day)
	defer resp.Body.Close()
	body := bufio.NewReaderSize(resp.Body, 64<<10)
	second := get(t.Context(), t, client, url+day)
	second.Body.Close()
	if second.StatusCode != http.StatusTooManyRequests || second.Header.Get("Retry-After") == "" {
		t.Errorf("a second download: status %d", second.StatusCode)
	}
	wait(t, "the second is refused", ended)
	lines := 0
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for began := time.Now(); ; lines++ {
		if time.Since(began) < 500*time.Millisecond && lines%10 == 0 { // in sum longer than the server's own limit
			<-pause.C
		}
		if _, err := body.ReadSlice('\n'); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lines != many+1 {
		t.Errorf("%d lines, want %d", lines, many+1)
	}
	wait(t, "the end", ended)
}

// A client that goes away, or that takes nothing any more, ends its download, which makes room for the next one.
func TestDownloadIsGivenUp(t *testing.T) {
	dir := manyReadings(t)
	for name, stall := range map[string]time.Duration{"cancelled": time.Hour, "stalled": 500 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			url, client, ended := serve(t, recorder.HandlerOptions{Dir: dir, Stall: stall})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			resp := get(ctx, t, client, url+day)
			defer resp.Body.Close()
			if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			if name == "cancelled" {
				cancel()
			}
			wait(t, "the download is given up", ended)
			if _, err := io.Copy(io.Discard, resp.Body); err == nil {
				t.Error("the client takes a part for the whole")
			}
			// On a busy machine the server itself may take longer over a part than it grants: that one is given up, too.
			waittest.Eventually(t, "the next download is served", func() bool {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+day+"&device=dark", nil)
				if err != nil {
					t.Fatal(err)
				}
				again, err := client.Do(req)
				if err != nil {
					return false
				}
				defer again.Body.Close()
				return again.StatusCode == http.StatusOK
			})
		})
	}
}

func TestWideDownloadIsBounded(t *testing.T) {
	url, client, _ := serve(t, recorder.HandlerOptions{Dir: manyReadings(t), MaxWide: many - 1})
	resp := get(t.Context(), t, client, url+day+"&format=wide")
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(body), "shorter time range") {
		t.Errorf("status %d, %d bytes, error %v", resp.StatusCode, len(body), err)
	}
}

// Where the sink "api" is in use, it answers for the recorder, to those who have its token.
func TestAPIAnswersForTheRecorder(t *testing.T) {
	const token = "0123456789abcdef"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Config{Address: "127.0.0.1:0", TokenFile: file}, httpapi.Default)
	if err != nil {
		t.Fatal(err)
	}
	r := recorder.New(recorder.Config{Dir: t.TempDir()})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := driver.Key{Namespace: "default", Device: "light-1", Property: "lux"}
	r.Hooks().Reading(&driver.Sample{Key: key, At: at, Value: 40}, false)
	ask := func(path, token string) (int, string) {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		req.Host = "localhost"
		req.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		api.Handler().ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	if code, _ := ask(recorder.Path+day, "wrong"); code != http.StatusUnauthorized {
		t.Errorf("without the token: status %d", code)
	}
	waittest.Eventually(t, "the reading can be had", func() bool {
		code, body := ask(recorder.Path+day, token)
		return code == http.StatusOK && strings.Contains(body, "light-1,lux,40")
	})
	var status struct {
		State   string
		Written uint64 `json:"writtenReadings"`
	}
	code, body := ask(recorder.Path+"/status", token)
	if err := json.Unmarshal([]byte(body), &status); err != nil || code != http.StatusOK || status.State != "recording" || status.Written != 1 {
		t.Errorf("status %d: %s", code, body)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code, _ := ask(recorder.Path+day, token); code != http.StatusNotFound {
		t.Errorf("after the end: status %d", code)
	}
}

// The state of a recorder that cannot write is told to the handler's observers, and where it is asked for.
func TestTroubleIsTold(t *testing.T) {
	dir := t.TempDir()
	told := make(chan error, 8)
	hooks := admethod.Hooks{SinkFailed: func(_ string, err error, _ bool) { told <- err }}
	sink, err := recorder.Factory().New(admethod.SinkSettings{Hooks: &hooks, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Where the first log is to be, there is a directory: it cannot be opened, as little as on a full disk.
	if err := os.Mkdir(filepath.Join(dir, "readings", fmt.Sprintf("%016d.log", 1)), 0o700); err != nil {
		t.Fatal(err)
	}
	r := sink.(*recorder.Recorder)
	r.Hooks().Reading(&driver.Sample{At: at}, false)
	select {
	case err := <-told:
		t.Log(err)
	case <-time.After(30 * time.Second):
		t.Fatal("nobody is told")
	}
	if m := r.Measure(); m["failing"] != 1 || m["lost_readings"] != 1 {
		t.Errorf("measures: %v", m)
	}
	if err := sink.Shutdown(t.Context()); err == nil {
		t.Error("the shutdown says nothing")
	}
}

// FuzzParameters: whatever is asked for, it is answered or refused.
func FuzzParameters(f *testing.F) {
	dir := f.TempDir()
	for _, q := range []string{
		day[1:], day[1:] + "&format=wide&align=1m&verdict=none&verdict=critical", "from=x", "device=[", "align=-1s", "%zz", "from=2026-03-01T00:00:00Z&to=9999-12-31T00:00:00Z",
	} {
		f.Add(q)
	}
	h := recorder.Handler(recorder.HandlerOptions{Dir: dir, Authorize: func(*http.Request) bool { return true }})
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, recorder.Path, nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusOK && w.Code != http.StatusBadRequest {
			t.Errorf("%q: status %d: %s", query, w.Code, w.Body)
		}
	})
}

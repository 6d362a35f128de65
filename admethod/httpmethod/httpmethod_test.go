// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Each reading gets its own verdict, in both formats, compressed or not, whatever the order of the answers and whether
// the detector knows sequences or not.
func TestVerdicts(t *testing.T) {
	for _, format := range []string{"json", "cloudevents"} {
		for name, change := range map[string]func(*pb.DetectResponse){
			"good": nil,
			"proposal": func(m *pb.DetectResponse) {
				for i, a := range m.Answers {
					m.Answers[i] = &pb.AnomalyResponse{Status: a.Status, Message: "by the proposal"}
				}
			},
			"reversed": func(m *pb.DetectResponse) { slices.Reverse(m.Answers) },
			"too many": func(m *pb.DetectResponse) {
				m.Answers = append(m.Answers, m.Answers...)
				m.Answers = append(m.Answers, &pb.AnomalyResponse{Sequence: 1 << 50, Severity: pb.Severity_SEVERITY_CRITICAL})
			},
		} {
			t.Run(format+" "+name, func(t *testing.T) {
				d := &detector{change: change}
				r := newRig(t, d.serve(t), map[string]any{
					"format": format, "gzip": name == "good", "staleAfter": "1m", "timeout": "20s",
				})
				readings := 3000
				if testing.Short() {
					readings = 600
				}
				r.judgeMany(t, readings)
				if got, want := d.header.Get("Content-Encoding") == "gzip", name == "good"; got != want {
					t.Errorf("compressed: %v, want %v", got, want)
				}
				next := uint64(1)
				for i, b := range d.received() { // each can be taken alone
					if first := b.Readings[0]; first.GetSeries().GetParameters()["window"] != "60" || len(b.Stream.GetStreamId()) < 20 {
						t.Errorf("batch %d begins with %v", i, first)
					}
					for _, m := range b.Readings {
						if m.Sequence != next {
							t.Fatalf("sequence %d, want %d", m.Sequence, next)
						}
						next++
					}
				}
				if n := len(d.received()); n > 30 {
					t.Errorf("%d batches for %d readings", n, readings)
				}
			})
		}
	}
}

// What gathers is sent as whole rows of a group, and the verdict is the answer to the last member.
func TestGroup(t *testing.T) {
	d := &detector{change: func(m *pb.DetectResponse) {
		for _, a := range m.Answers {
			a.Namespace, a.DeviceName, a.PropertyName = key.Namespace, "fan", key.Property
		}
	}}
	r := newRig(t, d.serve(t), nil)
	fan := driver.Key{Namespace: key.Namespace, Device: "fan", Property: key.Property}
	config := admethod.DefaultConfig()
	config.Options = map[string]map[string]any{Name: {"address": d.serve(t), "insecure": true}}
	group, err := r.adapter.Open(admethod.StreamSettings{
		Group: "default/room", Members: []driver.Member{{Key: key}, {Key: fan}}, Config: config,
		Deliver: func(res *driver.Result, _ driver.Row) { r.results <- res.Clone() },
		Dropped: func(n int) { r.dropped <- n },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		group.TrySubmit(driver.Row{{Key: key, At: time.Unix(int64(i), 0), Value: 1}, {Key: fan, At: time.Unix(int64(i), 0), Value: 200}})
	}
	r.flush(t)
	if len(r.results) != 300 {
		t.Fatalf("%d verdicts, want 300", len(r.results))
	}
	if got := <-r.results; got.Severity != driver.Critical || got.Key != fan {
		t.Errorf("%+v", got)
	}
	for _, b := range d.received() {
		if len(b.Readings)%2 != 0 || b.Readings[0].Member != 0 || b.Readings[0].GetSeries().GetGroup() != "default/room" {
			t.Errorf("a batch of %d readings begins with %v", len(b.Readings), b.Readings[0])
		}
	}
}

// A batch that the detector refuses for good is answered with the reason, and does not stop the others.
func TestPermanentRefusal(t *testing.T) {
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity} {
		d := &detector{before: func(w http.ResponseWriter, _ *http.Request, m *pb.DetectRequest) bool {
			bad := slices.ContainsFunc(m.Readings, func(r *pb.DevicePropertyData) bool { return r.GetValue() == 13 })
			if bad {
				http.Error(w, "unlucky", status)
			}
			return bad
		}}
		r := newRig(t, d.serve(t), map[string]any{"staleAfter": "1m"})
		for _, v := range []float64{1, 13, 200} {
			r.submit(v)
			r.flush(t)
		}
		want := []driver.Severity{driver.Normal, driver.Unknown, driver.Critical}
		for i := range want {
			got := <-r.results
			if got.Severity != want[i] {
				t.Errorf("%d: verdict %d is %+v, want %v", status, i, got, want[i])
			}
			if i == 1 && (got.Kind != driver.KindFailed || !strings.Contains(got.Message, "unlucky") || !strings.Contains(got.Message, fmt.Sprint(status))) {
				t.Errorf("%d: the reason is %q", status, got.Message)
			}
		}
		if len(r.dropped) > 0 {
			t.Errorf("%d: %d readings were dropped", status, len(r.dropped))
		}
	}
}

// Statuses that may pass begin a new session; readings wait until the detector takes batches again.
func TestRefusedForNow(t *testing.T) {
	for _, status := range []int{401, 403, 408, 425, 429, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			refuse := true
			var times []time.Time
			throttles := status == 429 || status == 503
			d := &detector{before: func(w http.ResponseWriter, _ *http.Request, _ *pb.DetectRequest) bool {
				mu.Lock()
				defer mu.Unlock()
				times = append(times, time.Now())
				if refuse {
					if throttles {
						w.Header().Set("Retry-After", "1")
					}
					http.Error(w, "not now", status)
				}
				return refuse
			}}
			r := newRig(t, d.serve(t), map[string]any{"staleAfter": "100ms"})
			r.await(t, 1, driver.Unknown, fmt.Sprint(status), "not now")
			mu.Lock()
			refuse = false
			mu.Unlock()
			r.await(t, 1, driver.Normal)
			mu.Lock()
			refuse = true
			mu.Unlock()
			r.await(t, 1, driver.Unknown, "the detector at", fmt.Sprint(status)) // is away; the batch itself is not refused
			mu.Lock()
			defer mu.Unlock()
			if wait := times[1].Sub(times[0]); throttles && wait < time.Second {
				t.Errorf("asked again after %v, want what Retry-After says: 1s", wait)
			}
			for _, b := range d.received()[:1] {
				if b.Readings[0].Sequence != 1 {
					t.Errorf("readings were spent on a detector that refuses: the first is number %d", b.Readings[0].Sequence)
				}
			}
		})
	}
}

// A token that the detector does not know any more is asked for again, as its file may have changed.
func TestTokenRotates(t *testing.T) {
	if testing.Short() {
		t.Skip("files are looked at once a second")
	}
	dir := t.TempDir()
	server := certtest.New().Issue(t, dir, "127.0.0.1")
	token := filepath.Join(dir, "token")
	write := func(word string) {
		if err := os.WriteFile(token, []byte(word+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	var mu sync.Mutex
	want := "first"
	d := &detector{before: func(w http.ResponseWriter, r *http.Request, _ *pb.DetectRequest) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") == "Bearer "+want {
			return false
		}
		http.Error(w, "unknown token", http.StatusUnauthorized)
		return true
	}}
	r := newRig(t, "https://"+serveTLS(t, d, server), map[string]any{"tls.ca": server.CA, "token": token})
	r.await(t, 1, driver.Normal)
	mu.Lock()
	want = "the second"
	mu.Unlock()
	r.await(t, 1, driver.Unknown, "unknown token")
	mu.Lock()
	want = "second"
	mu.Unlock()
	write("second")
	r.await(t, 1, driver.Normal)
}

// Answers that cannot be read end the session; verdicts that are missing are unknown.
func TestAnswersThatAreWrong(t *testing.T) {
	for name, test := range map[string]struct {
		d    *detector
		want string // of the message
		down bool   // as if the detector were away
	}{
		"garbage": {&detector{write: func(w http.ResponseWriter, _ []byte) { _, _ = io.WriteString(w, "\x00\xff[") }}, "the detector's answer", true},
		"login page": {&detector{write: func(w http.ResponseWriter, _ []byte) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>Please log in")
		}}, "text/html", true},
		"truncated": {&detector{write: func(w http.ResponseWriter, body []byte) { // and closed, by net/http
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body[:len(body)/2])
		}}, "EOF", true},
		"too large": {&detector{change: func(m *pb.DetectResponse) { m.Answers[0].Message = strings.Repeat("x", 5<<20) }}, "more than", false},
		"none":      {&detector{change: func(m *pb.DetectResponse) { m.Answers = nil }}, "with 0 verdicts", false},
		"not ours": {&detector{change: func(m *pb.DetectResponse) {
			for _, a := range m.Answers {
				a.Sequence += 1 << 40
			}
		}}, "none of them on this one", false},
		"too many without sequences": {&detector{change: func(m *pb.DetectResponse) {
			for _, a := range m.Answers {
				a.Sequence = 0
			}
			m.Answers = append(m.Answers, m.Answers[0])
		}}, "none of them on this one", false},
		"out of bounds": {&detector{change: func(m *pb.DetectResponse) {
			for _, a := range m.Answers {
				a.Score = math.NaN()
			}
		}}, "score NaN", false},
		"later, unasked": {&detector{before: func(w http.ResponseWriter, _ *http.Request, m *pb.DetectRequest) bool {
			if len(m.Readings) > 0 {
				w.WriteHeader(http.StatusAccepted)
			}
			return len(m.Readings) > 0
		}}, "callback is not set", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := map[string]any{"staleAfter": "1m"} // a large answer takes its time on a machine that is busy
			if test.down {
				options = nil
			}
			r := newRig(t, test.d.serve(t), options)
			got := r.await(t, 1, driver.Unknown, test.want)
			if got.Kind != driver.KindFailed || got.Key != key {
				t.Errorf("%+v", got)
			}
			if down := len(r.dropped) > 0; down != test.down {
				t.Errorf("readings dropped: %v, want %v", down, test.down)
			}
		})
	}
}

// Of a batch that is answered in part, the rest is unknown.
func TestTooFewAnswers(t *testing.T) {
	d := &detector{change: func(m *pb.DetectResponse) {
		m.Answers = slices.DeleteFunc(m.Answers, func(a *pb.AnomalyResponse) bool { return a.Sequence%3 == 0 })
	}}
	r := newRig(t, d.serve(t), map[string]any{"staleAfter": "1m"})
	for range 30 {
		r.submit(1)
	}
	r.flush(t)
	count := make(map[driver.Severity]int)
	for range len(r.results) {
		got := <-r.results
		count[got.Severity]++
	}
	if count[driver.Normal] != 20 || count[driver.Unknown] != 10 || len(r.dropped) > 0 {
		t.Errorf("got %v and %d drops", count, len(r.dropped))
	}
}

func TestConfigThatIsRefused(t *testing.T) {
	a, err := Factory().New(admethod.AdapterSettings{Hooks: &admethod.Hooks{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for want, options := range map[string]map[string]any{
		"http.address: must be set": {},
		"no tls.*":                  {"address": "h:1", "insecure": true, "tls.ca": "x"},
		"not sent in plaintext":     {"address": "h:1", "insecure": true, "token": "x"},
		"both or none":              {"address": "h:1", "tls.cert": "x"},
		"/absent":                   {"address": "h:1", "tls.ca": "/absent"},
		"unknown key":               {"address": "h:1", "nonsense": 1},
		"want https; insecure":      {"address": "http://h:1"},
		"contradict":                {"address": "https://h:1", "insecure": true},
		"must not hold a user":      {"address": "https://me:secret@h"},
		"host:port":                 {"address": "ftp://h"},
		"path of a socket":          {"address": "unix:", "insecure": true},
		"json":                      {"address": "h:1", "format": "xml"},
		"callback.listen":           {"address": "h:1", "callback.url": "https://m/"},
		"callback.url":              {"address": "h:1", "callback.listen": ":0"},
		"one https:// URL":          {"address": "h:1", "callback.listen": ":0", "callback.url": "https://a,https://b"},
		"https; callback.insecure":  {"address": "h:1", "callback.listen": ":0", "callback.url": "http://m/"},
		"callback.tls.cert":         {"address": "h:1", "callback.listen": ":0", "callback.url": "https://m/", "callback.token": "t"},
		"who may post":              {"address": "h:1", "callback.listen": ":0", "callback.url": "https://m/", "callback.tls.cert": "c", "callback.tls.key": "k"},
		"callback.insecure":         {"address": "h:1", "callback.listen": ":0", "callback.url": "http://m/", "callback.insecure": true, "callback.token": "t"},
	} {
		config := admethod.DefaultConfig()
		config.Options = map[string]map[string]any{Name: options}
		_, err := a.Open(admethod.StreamSettings{Members: []driver.Member{{Key: key}}, Config: config})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: got %v, want an error with %q", options, err, want)
		}
	}
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEndpoint(t *testing.T) {
	for _, test := range []struct {
		address     string
		insecure    bool
		url, socket string
	}{
		{"detector:6805", false, "https://detector:6805/v1/detect", ""},
		{"detector:6805", true, "http://detector:6805/v1/detect", ""},
		{"[::1]:6805/", true, "http://[::1]:6805/v1/detect", ""},
		{"https://detector/own/path?x=1#f", false, "https://detector/own/path?x=1", ""},
		{"http://detector", true, "http://detector/v1/detect", ""},
		{"unix:/run/d.sock", true, "http://localhost/v1/detect", "/run/d.sock"},
		{"unix:///run/d.sock", false, "https://localhost/v1/detect", "/run/d.sock"},
	} {
		u, socket, err := endpoint(test.address, test.insecure)
		if err != nil || u.String() != test.url || socket != test.socket {
			t.Errorf("%q: %v, %q, %v; want %s", test.address, u, socket, err, test.url)
		}
	}
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{"detector:6805", "https://h/p?q", "unix:/run/s", "http://[::1", "%zz"} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, address string, insecure bool) {
		u, _, err := endpoint(address, insecure)
		if err == nil && (u.Scheme == "http") != insecure {
			t.Errorf("%q, insecure %v: %s", address, insecure, u)
		}
	})
}

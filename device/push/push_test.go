// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reading(value string) common.DataModel {
	return common.DataModel{
		Namespace: "ns", DeviceName: "d", PropertyName: "p", Type: "float", Value: value, TimeStamp: 1_700_000_000_000,
	}
}

// newPool makes a pool that must be able to shut down within five seconds after the test.
func newPool(t *testing.T, opts Options) *Pool {
	t.Helper()
	p := NewPool(t.Context(), opts)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := p.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second shutdown: %v", err)
		}
	})
	return p
}

func openTarget(t *testing.T, p *Pool, method, config string) *Target {
	t.Helper()
	target, err := p.Open(method, json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.Close)
	return target
}

func httpConfig(t *testing.T, server, path string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	// As json.Marshal renders the DMI message.
	return fmt.Sprintf(`{"hostname":"http://%s","port":%d,"requestpath":%q,"timeout":5}`, u.Hostname(), port, path)
}

func TestHTTPPostsTheReadingAsJSON(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Content-Type") + " " + string(body)
	}))
	defer server.Close()
	p := newPool(t, Options{})
	openTarget(t, p, "http", httpConfig(t, server.URL, "/data")).Push(reading("21.5"))
	want := `POST /data application/json {"DeviceName":"d","PropertyName":"p","Namespace":"ns","Value":"21.5","Type":"float","TimeStamp":1700000000000}`
	if s := <-got; s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

// Upstream reads the body of a nil response when the server refuses.
func TestHTTPToAPortThatRefuses(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	config := httpConfig(t, server.URL, "/")
	server.Close()
	refused := make(chan struct{}, 100)
	p := newPool(t, Options{RetryMin: time.Millisecond, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			refused <- struct{}{}
		}
		return resp, err
	})})
	openTarget(t, p, "http", config).Push(reading("1"))
	for range 3 {
		<-refused // tried again and again
	}
	if s := p.Stats(); s.Sent != 0 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
}

func TestHTTPToAServerThatHangs(t *testing.T) {
	hanging := make(chan struct{})
	end := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		hanging <- struct{}{}
		<-end
	}))
	defer server.Close()
	defer close(end)
	p := newPool(t, Options{QueueSize: 10})
	target := openTarget(t, p, "http", httpConfig(t, server.URL, "/"))
	target.Push(reading("first"))
	<-hanging
	for i := range 100_000 { // returns although nothing is taken
		target.Push(reading(strconv.Itoa(i)))
	}
	if s := p.Stats(); s.Dropped != 100_000-10 {
		t.Errorf("%+v, want %d dropped", s, 100_000-10)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if s := p.Stats(); s.Dropped != 100_001 {
		t.Errorf("%+v after shutdown: every reading must be accounted for", s)
	}
}

// A connection whose body was not read to the end is not used again.
func TestHTTPKeepsItsConnection(t *testing.T) {
	var connections atomic.Int64
	requests := make(chan struct{}, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, strings.Repeat("no ", 1000))
		requests <- struct{}{}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	p := newPool(t, Options{})
	target := openTarget(t, p, "http", httpConfig(t, server.URL, "/"))
	for range 5 {
		target.Push(reading("1"))
		<-requests
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for five requests", n)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// body counts Close, and reads to the end.
type body struct {
	io.Reader
	closed *atomic.Int64
}

func (b body) Close() error { b.closed.Add(1); return nil }

func TestHTTPAnswers(t *testing.T) {
	tests := []struct {
		name     string
		statuses []int // one per attempt, the last one repeated; 0: no answer before the deadline
		push     int
		within   time.Duration
		want     Stats
		attempts int64
	}{
		{name: "accepted", statuses: []int{204}, push: 3, within: time.Second, want: Stats{Sent: 3}, attempts: 3},
		{name: "refused for good", statuses: []int{400, 200}, push: 2, within: time.Second, want: Stats{Sent: 1, Failed: 1}, attempts: 2},
		{name: "in trouble for a while", statuses: []int{500, 503, 429, 200}, push: 1, within: time.Minute, want: Stats{Sent: 1}, attempts: 4},
		{name: "a reading that it cannot bear", statuses: []int{500, 500, 500, 500, 500, 200}, push: 2, within: time.Minute,
			want: Stats{Sent: 1, Failed: 1}, attempts: 6},
		{name: "hangs, then comes back", statuses: []int{0, 0, 0, 0, 0, 0, 0, 0, 200}, push: 2, within: 5 * time.Minute,
			want: Stats{Sent: 2}, attempts: 10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var attempts, closed atomic.Int64
				p := newPool(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					n := int(attempts.Add(1))
					status := tt.statuses[min(n, len(tt.statuses))-1]
					if status == 0 {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return &http.Response{StatusCode: status, Status: strconv.Itoa(status),
						Body: body{strings.NewReader("text"), &closed}, Request: r}, nil
				})})
				target := openTarget(t, p, "http", `{"hostname":"h","port":80,"timeout":3}`)
				for i := range tt.push {
					target.Push(reading(strconv.Itoa(i)))
				}
				<-time.After(tt.within)
				synctest.Wait()
				if got := p.Stats(); got != tt.want || attempts.Load() != tt.attempts {
					t.Errorf("%+v after %d attempts, want %+v after %d", got, attempts.Load(), tt.want, tt.attempts)
				}
				answered := 0
				for i := range attempts.Load() {
					if tt.statuses[min(int(i), len(tt.statuses)-1)] != 0 {
						answered++
					}
				}
				if closed.Load() != int64(answered) {
					t.Errorf("%d of %d bodies closed", closed.Load(), answered)
				}
			})
		})
	}
}

func TestDestinationsDoNotWaitForOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "hangs" {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})})
		hangs := openTarget(t, p, "http", `{"hostname":"hangs"}`)
		works := openTarget(t, p, "http", `{"hostname":"works"}`)
		for range 50 {
			hangs.Push(reading("1"))
			works.Push(reading("1"))
		}
		synctest.Wait()
		if s := p.Stats(); s.Sent != 50 {
			t.Errorf("%+v, want 50 sent", s)
		}
	})
}

func TestShutdownSendsWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var got []string
		p := newPool(t, Options{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-time.After(10 * time.Millisecond)
			var m common.DataModel
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				return nil, err
			}
			mu.Lock()
			got = append(got, m.Value)
			mu.Unlock()
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})})
		target := openTarget(t, p, "http", `{"hostname":"h"}`)
		var want []string
		for i := range 20 {
			target.Push(reading(strconv.Itoa(i)))
			want = append(want, strconv.Itoa(i))
		}
		if err := p.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		if _, err := p.Open("http", json.RawMessage(`{"hostname":"h"}`)); err == nil {
			t.Error("a target after shutdown: no error")
		}
	})
}

func TestLastTargetClosesTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, Options{Transport: roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		})})
		one, two := openTarget(t, p, "http", `{"hostname":"h"}`), openTarget(t, p, "http", `{"hostname":"h"}`)
		if one.lane != two.lane {
			t.Error("a destination has two lanes")
		}
		one.Close()
		one.Close()
		two.Push(reading("1"))
		synctest.Wait()
		if s := p.Stats(); s.Sent != 1 {
			t.Errorf("%+v", s)
		}
		two.Close()
		synctest.Wait()
		if len(p.open) != 0 {
			t.Error("the lane is still there")
		}
		two.Push(reading("2")) // harmless
	})
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	p := newPool(t, Options{})
	tests := []struct{ method, config, want string }{
		{"otel", `{}`, "not supported"}, {"", `{}`, "not supported"},
		{"http", `{`, "push method http"}, {"http", `{}`, "hostName is missing"},
		{"http", `{"hostname":"h","port":70000}`, "port: got 70000"}, {"http", `{"hostname":"ftp://h"}`, "hostName: got"},
		{"http", `{"hostname":"h","requestpath":"/%zz"}`, "requestPath"},
		{"mqtt", `{`, "push method mqtt"}, {"mqtt", `{"address":"tcp://b:1","qos":3,"topic":"a/#"}`, "qos: got 3"},
		{"mqtt", `{"topic":"t"}`, "address"}, {"mqtt", `{"address":"tcp://b:1"}`, "topic"},
	}
	for _, tt := range tests {
		if _, err := p.Open(tt.method, json.RawMessage(tt.config)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: error %v, want %q", tt.method, tt.config, err, tt.want)
		}
	}
	if _, err := p.Open("otel", nil); !errors.Is(err, ErrUnsupported) {
		t.Errorf("otel: %v", err)
	}
}

func TestParseHTTP(t *testing.T) {
	tests := []struct {
		config  string
		url     string
		timeout time.Duration
	}{
		{`{"hostname":"http://127.0.0.1","port":8080,"requestpath":"/a?b=c","timeout":5000}`, "http://127.0.0.1:8080/a?b=c", 5 * time.Second},
		{`{"hostName":"h","requestPath":"a","timeout":3}`, "http://h/a", 3 * time.Second},
		{`{"hostName":"https://h:1","port":2}`, "https://h:2/", time.Minute},
		{`{"hostName":"http://[::1]","port":2}`, "http://[::1]:2/", time.Minute},
	}
	for _, tt := range tests {
		r, err := parseHTTP(json.RawMessage(tt.config), time.Minute)
		if err != nil || r.url != tt.url || r.timeout != tt.timeout {
			t.Errorf("%s: %+v, %v", tt.config, r, err)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/prometheus"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// Readings go over HTTP to the source, whose promises hold.
func TestSource(t *testing.T) {
	sourcetest.Test(t, func(t *testing.T) *sourcetest.Origin {
		var store store
		server := httptest.NewServer(&store)
		t.Cleanup(server.Close)
		dir := t.TempDir()
		last := time.Now().Add(-time.Minute)
		return &sourcetest.Origin{
			New: func(t *testing.T) source.Source {
				s, err := prometheus.New(settings(t, dir, new(sourcetest.Reports), map[string]any{"url": server.URL, "step": "100ms"}))
				if err != nil {
					t.Fatal(err)
				}
				return s
			},
			Send: func(_ *testing.T, n int) {
				if now := time.Now(); now.Sub(last) > time.Second {
					last = now
				}
				last = last.Add(time.Millisecond)
				store.add(strconv.Itoa(n%3), last, float64(n))
			},
			Series:  3,
			Cut:     func(*testing.T) { server.CloseClientConnections() },
			Replays: true,
		}
	})
}

// faulty answers as it is told to.
type faulty struct {
	store
	behave atomic.Pointer[http.HandlerFunc]
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if behave := f.behave.Load(); behave != nil {
		(*behave)(w, r)
		return
	}
	f.store.ServeHTTP(w, r)
}

// Whatever a server does, the source says what is wrong, and reads on when it is over.
func TestFaults(t *testing.T) {
	hung := make(chan struct{})
	cut := func(w http.ResponseWriter, text string) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = fmt.Fprint(conn, text)
			_ = conn.Close()
		}
	}
	for name, c := range map[string]struct {
		behave http.HandlerFunc
		want   string
	}{
		"hangs": {func(_ http.ResponseWriter, r *http.Request) { <-hung }, "no answer within 200ms"},
		"cuts":  {func(w http.ResponseWriter, _ *http.Request) { cut(w, "") }, "EOF"},
		"cuts an answer": {func(w http.ResponseWriter, _ *http.Request) {
			cut(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\"")
		}, "EOF"},
		"503": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) }, "503"},
		"refuses": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"status":"error","errorType":"bad_data","error":"1:2: parse error"}`, http.StatusBadRequest)
		}, `HTTP 400: status "error": bad_data: 1:2: parse error`},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "<html>log in</html>") }, "not an answer of Prometheus"},
		"half": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, `{"status":"success","data":{"resul`)
		}, "not an answer of Prometheus"},
		"a scalar": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}`)
		}, "the answer is a scalar"},
		"a store of Thanos is away": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[],"analysis":{}},"warnings":["fetch series for {prometheus=\"edge\"}: connection refused"]}`)
		}, "the answer is partial; the key partial takes it as it is: fetch series for {prometheus=\"edge\"}: connection refused"},
		"and Thanos was told to say so": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = fmt.Fprint(w, `{"status":"error","errorType":"execution","error":"proxy Series(): rpc error: code = Aborted"}`)
		}, "execution: proxy Series(): rpc error: code = Aborted"},
		"redirected": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "302"},
		"too long": {func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = fmt.Fprint(w, strings.Repeat(" ", 1024))
			}
		}, "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var f faulty
			server := httptest.NewServer(&f)
			t.Cleanup(server.Close)
			if name == "hangs" {
				t.Cleanup(func() { close(hung) })
			}
			var r sourcetest.Reports
			in := new(sourcetest.Intake)
			s, err := prometheus.New(settings(t, "", &r, map[string]any{"url": server.URL, "step": "100ms", "timeout": "200ms", "maxReply": 65536}))
			if err != nil {
				t.Fatal(err)
			}
			sourcetest.Run(t, s, in)
			for i := range 3 {
				f.add("a", time.Now(), float64(i))
				waittest.Eventually(t, "the readings before", func() bool { return len(in.Readings()) == i+1 })
				f.behave.Store(&c.behave)
				waittest.Eventually(t, "it is told", func() bool {
					now := r.Now(part)
					return strings.Contains(now, c.want)
				})
				f.behave.Store(nil)
				waittest.Eventually(t, "it is told that it is over", func() bool {
					now := r.Now(part)
					return now == ""
				})
			}
		})
	}
}

// A server that is not there at the start is waited for.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	var r sourcetest.Reports
	in := new(sourcetest.Intake)
	s, err := prometheus.New(settings(t, "", &r, map[string]any{"url": "http://" + address, "step": "100ms"}))
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, s, in)
	waittest.Eventually(t, "it is told", func() bool {
		now := r.Now(part)
		return strings.Contains(now, "connection refused")
	})
	var store store
	store.add("a", time.Now(), 1)
	if l, err = net.Listen("tcp", address); err != nil {
		t.Skip("the port was taken meanwhile: ", err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: &store, ReadHeaderTimeout: time.Second}}
	server.Start()
	t.Cleanup(server.Close)
	waittest.Eventually(t, "the reading", func() bool { return len(in.Readings()) == 1 })
}

// A server over TLS is shown a token, or a password, of a file that may change; and who logs in as nobody is told.
func TestWhoAsks(t *testing.T) {
	var store store
	store.add("a", time.Now(), 1)
	dir := t.TempDir()
	authority := certtest.New()
	files := authority.Issue(t, dir, "127.0.0.1")
	loader, err := tlsfiles.New(files, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := loader.Server()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	want := "Bearer sesame"
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Authorization") != want || r.Header.Get("X-Scope-OrgID") != "plant" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		store.ServeHTTP(w, r)
	}))
	server.TLS = config
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	secret := filepath.Join(dir, "secret")
	write := func(text string) {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	base := map[string]any{"url": server.URL, "insecure": false, "step": "100ms", "tenant": "plant", "tls.ca": files.CA, "tls.cert": files.Cert, "tls.key": files.Key}
	for name, c := range map[string]struct {
		options map[string]any
		want    string
	}{
		"token":    {map[string]any{"tokenFile": secret}, "Bearer sesame"},
		"password": {map[string]any{"user": "detector", "passwordFile": secret}, "Basic ZGV0ZWN0b3I6c2VzYW1l"},
	} {
		t.Run(name, func(t *testing.T) {
			mu.Lock()
			want = c.want
			mu.Unlock()
			write("wrong")
			options := map[string]any{}
			for _, m := range []map[string]any{base, c.options} {
				maps.Copy(options, m)
			}
			var r sourcetest.Reports
			in := new(sourcetest.Intake)
			s, err := prometheus.New(settings(t, "", &r, options))
			if err != nil {
				t.Fatal(err)
			}
			sourcetest.Run(t, s, in)
			waittest.Eventually(t, "it is told", func() bool {
				now := r.Now(part)
				return strings.Contains(now, "401") && strings.Contains(now, "who are you?") && !strings.Contains(now, "wrong")
			})
			write("sesame")
			waittest.Eventually(t, "the reading", func() bool { return len(in.Readings()) == 1 })
		})
	}
}

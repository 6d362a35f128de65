// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver_test

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A server answers until it is ended, which is no error; a request that panics costs its answer alone, and one that hangs
// is cut off.
func TestServeAndEnd(t *testing.T) {
	hanging, cut := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/panics", func(http.ResponseWriter, *http.Request) { panic("as asked for") })
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) {
		close(hanging)
		<-r.Context().Done()
		close(cut)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") })
	s := httpserver.New("a request of a test", mux, 10*time.Second, 10*time.Second, 8)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(path string) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
		if err != nil {
			t.Error(err)
			return 0, err
		}
		answer, err := client.Do(r)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	if code, _ := ask("/panics"); code == http.StatusOK {
		t.Error("what panics is answered by 200")
	}
	if code, err := ask("/"); code != http.StatusOK || err != nil {
		t.Errorf("after a panic: %d, %v", code, err)
	}
	hung := make(chan error, 1)
	go func() {
		_, err := ask("/hangs")
		hung <- err
	}()
	<-hanging
	if err := s.End(t.Context(), time.Millisecond); err != nil {
		t.Errorf("end: %v", err)
	}
	if err := <-hung; err == nil {
		t.Error("a request that hangs got its answer")
	}
	<-cut
	if err := <-served; err != nil {
		t.Errorf("served: %v, want none after the end", err)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// receiver is a client's own server, for verdicts that come later.
type receiver struct {
	posts  chan *pb.DetectResponse
	status []int // of the first posts
	mu     sync.Mutex
	seen   int
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	status := http.StatusNoContent
	if r.seen < len(r.status) {
		status = r.status[r.seen]
	}
	r.seen++
	r.mu.Unlock()
	if status != http.StatusNoContent {
		http.Error(w, "not now", status)
		return
	}
	format, err := batch.FormatOf(req.Header.Get("Content-Type"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	body, _ := io.ReadAll(req.Body)
	m, err := format.DecodeResponse(body)
	if err != nil || req.Header.Get("Authorization") != "Bearer the-token-of-the-callback" {
		http.Error(w, "wrong", http.StatusBadRequest)
		return
	}
	r.posts <- m
	w.WriteHeader(status)
}

// Verdicts are posted to a URL that is listed for the client, in order, and again where that fails for now.
func TestCallback(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	own := ca.issue("localhost")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("the-token-of-the-callback"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &receiver{posts: make(chan *pb.DetectResponse, 16), status: []int{503, 429}}
	loader, err := tlsfiles.New(own, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := loader.Server("h2")
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "localhost:0", config)
	if err != nil {
		t.Fatal(err)
	}
	hs := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	var served sync.WaitGroup
	served.Go(func() { _ = hs.Serve(l) })
	defer served.Wait()
	defer hs.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	url := "https://localhost:" + port + "/answers"
	address, stop := serveBatches(t, Config{
		Insecure: true, Callbacks: []Callback{
			{Client: "anybody", URL: url, Token: token, TLS: own},
		}, Config: intake.Config{
			Defaults: ewma,
		},
	})
	for i, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		m := &pb.DetectRequest{Stream: &pb.StreamInfo{StreamId: "run"}}
		for j := range 2 {
			in := reading(2*i+j, "1")
			in.Sequence = uint64(2*i + j + 1)
			m.Readings = append(m.Readings, in)
		}
		header := map[string]string{batch.CallbackHeader: url, "Content-Type": format.ContentType()}
		if resp, got := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, header, mustEncode(t, format, m)); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s: %s", resp.Status, got)
		}
		// What cannot be told apart later is refused.
		m.Readings[1].Sequence = 0
		if resp, _ := postTo(t, httpClient(t, nil), "http://"+address+batch.Path, header, mustEncode(t, format, m)); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("without a sequence: %s", resp.Status)
		}
	}
	stop() // posts what waits
	for i := range 2 {
		got := <-r.posts
		want := []uint64{uint64(2*i + 1), uint64(2*i + 2)}
		if got.StreamId != "run" || len(got.Answers) != 2 || got.Answers[0].Sequence != want[0] || got.Answers[1].Sequence != want[1] || got.Answers[0].Detector != "ewma" {
			t.Errorf("post %d: %v", i, got)
		}
	}
}

func TestCallbacksThatAreRefused(t *testing.T) {
	for want, c := range map[string]Callback{
		"no client":  {Client: "nobody", URL: "https://x/"},
		"want https": {Client: "anybody", URL: "http://x/"},
		"no token":   {Client: "anybody", URL: "http://x/", Insecure: true, Token: "t"},
		"/absent":    {Client: "anybody", URL: "https://x/", TLS: tlsfiles.Files{CA: "/absent"}},
	} {
		s, err := New(Config{Insecure: true, Callbacks: []Callback{c}})
		if err == nil {
			var l net.Listener
			if l, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
				err = s.ServeBoth(t.Context(), nil, l)
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
}

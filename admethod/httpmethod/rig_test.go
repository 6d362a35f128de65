// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"context"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// serveAt makes the test binary a detector on the unix socket of that path.
const serveAt = "HTTPMETHOD_TEST_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(serveAt); path != "" {
		listener, err := net.Listen("unix", path)
		if err != nil {
			panic(err)
		}
		if err := http.Serve(listener, &detector{}); err != nil {
			panic(err)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// detector finds values over 100 critical. Its hooks make it a bad one.
type detector struct {
	before func(w http.ResponseWriter, r *http.Request, m *pb.DetectRequest) (done bool)
	change func(m *pb.DetectResponse)
	write  func(w http.ResponseWriter, body []byte) // instead of all of it

	mu      sync.Mutex
	batches []*pb.DetectRequest
	header  http.Header // of the last request
}

func (d *detector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := batch.ReadBody(r.Body, r.Header.Get("Content-Encoding"), 1<<24)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	format, err := batch.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	m, err := format.DecodeRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.header = r.Header
	if len(m.Readings) > 0 {
		d.batches = append(d.batches, m)
	}
	d.mu.Unlock()
	if d.before != nil && d.before(w, r, m) {
		return
	}
	out := judge(m)
	if d.change != nil && len(out.Answers) > 0 {
		d.change(out)
	}
	if body, err = format.EncodeResponse(out); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", format.ContentType())
	if d.write != nil && len(out.Answers) > 0 {
		d.write(w, body)
		return
	}
	_, _ = w.Write(body)
}

func judge(m *pb.DetectRequest) *pb.DetectResponse {
	out := new(pb.DetectResponse)
	for _, in := range m.Readings {
		a := &pb.AnomalyResponse{Status: "ok", Sequence: in.Sequence, Severity: pb.Severity_SEVERITY_NORMAL, Detector: "test"}
		if in.GetValue() > 100 {
			a.Status, a.Severity, a.Score, a.Kind = "critical", pb.Severity_SEVERITY_CRITICAL, 1, "range"
		}
		out.Answers = append(out.Answers, a)
	}
	return out
}

// received returns the batches so far that had readings.
func (d *detector) received() []*pb.DetectRequest {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.batches)
}

func (d *detector) serve(tb testing.TB) (url string) {
	tb.Helper()
	s := httptest.NewServer(d)
	tb.Cleanup(s.Close)
	return s.URL
}

// rig is an adapter with one stream.
type rig struct {
	adapter admethod.Adapter
	stream  admethod.Stream
	results chan driver.Result
	dropped chan int
}

func newRig(tb testing.TB, address string, options map[string]any) *rig {
	tb.Helper()
	return newRigIn(tb, "", address, options)
}

// newRigIn is newRig with a directory for state.
func newRigIn(tb testing.TB, dir, address string, options map[string]any) *rig {
	tb.Helper()
	all := map[string]any{"address": address, "staleAfter": "200ms", "timeout": "1s", "backoff": "200ms"}
	if !strings.HasPrefix(address, "https:") {
		all["insecure"] = true
	}
	maps.Copy(all, options)
	a, err := Factory().New(admethod.AdapterSettings{Hooks: &admethod.Hooks{}, StateDir: dir, Drivers: driver.NewRegistry(half)})
	if err != nil {
		tb.Fatal(err)
	}
	if err := a.Start(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	r := &rig{adapter: a, results: make(chan driver.Result, 1<<16), dropped: make(chan int, 1<<16)}
	r.stream = r.open(tb, all, key)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
		defer cancel()
		_ = a.Shutdown(ctx) // says what was not answered, if the test left such
	})
	return r
}

func (r *rig) open(tb testing.TB, options map[string]any, k driver.Key) admethod.Stream {
	tb.Helper()
	config := admethod.DefaultConfig()
	config.Options = map[string]map[string]any{Name: options, "detector": {"window": 60}}
	stream, err := r.adapter.Open(admethod.StreamSettings{
		Members: []driver.Member{{Key: k, Minimum: math.NaN(), Maximum: math.NaN()}}, Config: config,
		Deliver: func(res *driver.Result, _ driver.Row) { r.results <- res.Clone() },
		Dropped: func(n int) { r.dropped <- n },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return stream
}

// half is a driver for the fallback, which is never sure.
var half = drivertest.Func("half", func(_ driver.Row, out *driver.Result) {
	out.Confidence = 0.5
	out.Judge(0, driver.KindNone)
})

var key = driver.Key{Namespace: "default", Device: "light", Property: "power"}

func (r *rig) submit(v float64) {
	r.stream.TrySubmit(driver.Row{{Key: key, At: time.Now(), Value: v}})
}

func (r *rig) flush(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	if err := r.adapter.Flush(ctx); err != nil {
		tb.Fatal(err)
	}
}

// judgeMany submits readings of two kinds and fails unless each has its own verdict.
func (r *rig) judgeMany(tb testing.TB, n int) {
	tb.Helper()
	for i := range n {
		r.submit(float64(i % 2 * 200))
	}
	r.flush(tb)
	if len(r.results) != n || len(r.dropped) != 0 {
		tb.Fatalf("%d verdicts and %d drops, want %d and 0", len(r.results), len(r.dropped), n)
	}
	for range n {
		if got := <-r.results; got.Severity.Anomalous() != (got.Value > 100) || got.Severity == driver.Unknown {
			tb.Fatalf("verdict of another reading: %+v", got)
		}
	}
}

// await submits v until a result comes that is as wanted.
func (r *rig) await(tb testing.TB, v float64, want driver.Severity, text ...string) driver.Result {
	tb.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var last driver.Result
	for {
		select {
		case last = <-r.results:
			if last.Severity == want && !slices.ContainsFunc(text, func(s string) bool { return !strings.Contains(last.Message, s) }) {
				return last
			}
		case <-again.C:
			r.submit(v)
		case <-deadline.C:
			tb.Fatalf("no verdict %v with %q; the last one is %v %q", want, text, last.Severity, last.Message)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"flag"
	"maps"
	"math"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// serveAt makes the test binary a detector at that address, the path of a unix socket or host:port, of the kind that
// behave names; over TLS where serveTLS names a directory with certificates.
const serveAt, behave, serveTLS = "GRPCMETHOD_TEST_ADDRESS", "GRPCMETHOD_TEST_BEHAVE", "GRPCMETHOD_TEST_TLS"

func TestMain(m *testing.M) {
	if address := os.Getenv(serveAt); address != "" {
		network := "tcp"
		if filepath.IsAbs(address) {
			network = "unix"
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			panic(err)
		}
		var options []grpc.ServerOption
		if dir := os.Getenv(serveTLS); dir != "" {
			files := tlsfiles.Files{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "detector.crt"), Key: filepath.Join(dir, "detector.key")}
			loader, err := tlsfiles.New(files, nil)
			if err != nil {
				panic(err)
			}
			config, err := loader.Server("h2")
			if err != nil {
				panic(err)
			}
			options = append(options, grpc.Creds(credentials.NewTLS(config)))
		}
		s := grpc.NewServer(options...)
		pb.RegisterAnomalyDetectionServiceServer(s, &detector{behave: os.Getenv(behave)})
		if err := s.Serve(listener); err != nil {
			panic(err)
		}
		return
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests wait most of the time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// detector finds values over 100 critical.
type detector struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	behave string
}

func (d *detector) StreamDetect(stream pb.AnomalyDetectionService_StreamDetectServer) error {
	var held *pb.AnomalyResponse
	for n := uint64(1); ; n++ {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		out := &pb.AnomalyResponse{Status: "ok", Sequence: in.Sequence, Severity: pb.Severity_SEVERITY_NORMAL, Detector: "test"}
		if in.GetValue() > 100 {
			out.Status, out.Severity, out.Score, out.Kind = "critical", pb.Severity_SEVERITY_CRITICAL, 1, "range"
		}
		switch d.behave {
		case "proposal":
			out = &pb.AnomalyResponse{Status: out.Status, Message: "by the proposal"}
		case "garbage":
			out.Score, out.Severity = math.NaN(), 77
		case "reversed": // pairs
			if held == nil {
				held = out
				continue
			}
			if err := stream.Send(out); err != nil {
				return err
			}
			out, held = held, nil
		case "tooMany":
			if err := stream.Send(out); err != nil {
				return err
			}
		case "unasked":
			out.Sequence += 1 << 40
		case "tooFew":
			if n%3 == 0 {
				continue
			}
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

// spawn starts a detector in a process of its own.
func spawn(t testing.TB, path, behaviour string) *proctest.Process {
	t.Helper()
	_ = os.Remove(path)
	return proctest.Self(t, serveAt+"="+path, behave+"="+behaviour)
}

// rig is an adapter with one stream.
type rig struct {
	adapter admethod.Adapter
	stream  admethod.Stream
	results chan driver.Result
	dropped chan int
}

func newRig(t testing.TB, path string, options map[string]any) *rig {
	t.Helper()
	all := map[string]any{"address": "unix:" + path, "insecure": true, "staleAfter": "400ms", "timeout": "1s", "backoff": "200ms"}
	maps.Copy(all, options)
	a, err := Factory().New(admethod.AdapterSettings{Hooks: &admethod.Hooks{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &rig{adapter: a, results: make(chan driver.Result, 1<<16), dropped: make(chan int, 1<<16)}
	config := admethod.DefaultConfig()
	config.Options = map[string]map[string]any{Name: all}
	r.stream, err = a.Open(admethod.StreamSettings{
		Members: []driver.Member{{Key: key, Minimum: math.NaN(), Maximum: math.NaN()}}, Config: config,
		Deliver: func(res *driver.Result, _ driver.Row) { r.results <- res.Clone() },
		Dropped: func(n int) { r.dropped <- n },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		_ = a.Shutdown(ctx) // says what was not answered, if the test left such
	})
	return r
}

var key = driver.Key{Namespace: "default", Device: "light", Property: "power"}

func (r *rig) submit(v float64) {
	r.stream.TrySubmit(driver.Row{{Key: key, At: time.Now(), Value: v}})
}

// await submits v until a result of that severity comes.
func (r *rig) await(t testing.TB, v float64, want driver.Severity) driver.Result {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case got := <-r.results:
			if got.Severity == want {
				return got
			}
		case <-again.C:
			r.submit(v)
		case <-deadline.C:
			t.Fatalf("no verdict %v", want)
		}
	}
}

func TestAbsentKilledAndHung(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	r := newRig(t, path, nil)
	if got := r.await(t, 1, driver.Unknown); got.Kind != driver.KindFailed || got.Message == "" || got.Key != key {
		t.Fatalf("absent detector: %+v", got)
	}
	detector := spawn(t, path, "")
	r.await(t, 1, driver.Normal)
	r.await(t, 200, driver.Critical)
	detector.Kill()
	r.await(t, 1, driver.Unknown)
	detector = spawn(t, path, "")
	r.await(t, 1, driver.Normal)
	detector.Signal(t, syscall.SIGSTOP)
	r.await(t, 1, driver.Unknown)
	select { // what was sent is given up
	case <-r.dropped:
	case <-time.After(30 * time.Second):
		t.Error("nothing is counted as dropped")
	}
	detector.Signal(t, syscall.SIGCONT)
	r.await(t, 1, driver.Normal)
}

func TestTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate, which names 127.0.0.1
	certified.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: certified.TLS.Certificates})))
	pb.RegisterAnomalyDetectionServiceServer(s, &detector{})
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(listener) })
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certified.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	for _, c := range []struct {
		name    string
		options map[string]any
		want    driver.Severity
	}{
		{"good", map[string]any{"tls.ca": ca}, driver.Normal},
		{"unknown authority", map[string]any{}, driver.Unknown},
		{"other name", map[string]any{"tls.ca": ca, "tls.serverName": "other"}, driver.Unknown},
		{"plaintext", map[string]any{"insecure": true}, driver.Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := map[string]any{"address": address, "insecure": false, "staleAfter": "3s"}
			maps.Copy(options, c.options)
			r := newRig(t, "", options)
			r.submit(1)
			select {
			case got := <-r.results:
				if got.Severity != c.want {
					t.Fatalf("%+v", got)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("no verdict")
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	for _, behaviour := range []string{"good", "proposal", "reversed", "tooMany"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			spawn(t, path, behaviour)
			r := newRig(t, path, map[string]any{"staleAfter": "1m", "timeout": "20s"})
			const n = 1000
			for i := range n {
				r.submit(float64(i % 2 * 200))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := r.adapter.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if len(r.results) != n || len(r.dropped) != 0 {
				t.Fatalf("%d verdicts and %d drops, want %d and 0", len(r.results), len(r.dropped), n)
			}
			for range n {
				if got := <-r.results; got.Severity.Anomalous() != (got.Value > 100) {
					t.Fatalf("verdict of another reading: %+v", got)
				}
			}
		})
	}
}

func TestAnswersThatAreWrong(t *testing.T) {
	for _, behaviour := range []string{"garbage", "unasked", "tooFew"} {
		t.Run(behaviour, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			spawn(t, path, behaviour)
			r := newRig(t, path, nil)
			if behaviour == "tooFew" { // the session is given up over the readings left out
				r.await(t, 1, driver.Normal)
				for len(r.dropped) == 0 {
					r.await(t, 1, driver.Normal)
				}
				return
			}
			if got := r.await(t, 1, driver.Unknown); got.Kind != driver.KindFailed {
				t.Fatalf("%+v", got)
			}
		})
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
	for _, options := range []map[string]any{
		{},
		{"address": "h:1", "insecure": true, "tls.ca": "x"},
		{"address": "h:1", "insecure": true, "token": "x"},
		{"address": "h:1", "tls.cert": "x"},
		{"address": "h:1", "tls.ca": "/absent"},
		{"address": "h:1", "nonsense": 1},
	} {
		config := admethod.DefaultConfig()
		config.Options = map[string]map[string]any{Name: options}
		if _, err := a.Open(admethod.StreamSettings{Members: []driver.Member{{Key: key}}, Config: config}); err == nil {
			t.Errorf("%v is accepted", options)
		}
	}
	if err := a.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSubmitDoesNotAllocate(t *testing.T) {
	r := newRig(t, filepath.Join(t.TempDir(), "absent"), map[string]any{"queue": 64})
	r.dropped = make(chan int, 1<<20)
	row := driver.Row{{Key: key, At: time.Now(), Value: 1}}
	for range 200 {
		r.stream.TrySubmit(row)
	}
	if n := testing.AllocsPerRun(1000, func() { r.stream.TrySubmit(row) }); n >= 1 { // other goroutines are counted too
		t.Errorf("%v allocations", n)
	}
}

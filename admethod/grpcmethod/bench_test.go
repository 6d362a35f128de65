// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// BenchmarkAgainstBareStream is the way of readings to a detector in another process and of the verdicts back, by a bare
// stream of gRPC with the same messages, and from Observe to the sink's hook. It reports the CPU time of both processes;
// run it with a fixed number of readings, such as -benchtime=1000000x, so that the start of processes does not count.
func BenchmarkAgainstBareStream(b *testing.B) {
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "mTLS"
		}
		b.Run(name+"/bare", func(b *testing.B) { benchmark(b, secure, bare) })
		b.Run(name+"/observe", func(b *testing.B) { benchmark(b, secure, throughHandler) })
	}
}

// site is where a benchmark runs.
type site struct {
	address string
	secure  bool
	files   tlsfiles.Files // of the client
}

func benchmark(b *testing.B, secure bool, f func(*testing.B, site)) {
	at := site{address: freeAddress(b), secure: secure}
	env := []string{serveAt + "=" + at.address, behave + "="}
	if secure {
		ca, dir := certtest.New(), b.TempDir()
		at.files = ca.Issue(b, dir, "mapper")
		server := ca.Issue(b, dir, "detector", "127.0.0.1")
		env = append(env, serveTLS+"="+filepath.Dir(server.CA))
	}
	detector := proctest.Self(b, env...)
	began := proctest.CPU(b)
	f(b, at)
	used := proctest.CPU(b) - began
	detector.Kill()
	theirs := detector.CPU()
	b.ReportMetric(float64((used+theirs).Nanoseconds())/float64(b.N), "cpu-ns/reading")
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "client-cpu-ns/reading")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

func freeAddress(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s site) config() Config {
	c := DefaultConfig()
	c.Address, c.Insecure, c.TLS = s.address, !s.secure, s.files
	if s.secure {
		c.TLS.ServerName = "detector"
	}
	return c
}

// bare sends the messages of readings as fast as the stream takes them.
func bare(b *testing.B, at site) {
	credentials := grpc.WithTransportCredentials(insecure.NewCredentials())
	if at.secure {
		loader, err := tlsfiles.New(at.config().TLS, nil)
		if err != nil {
			b.Fatal(err)
		}
		credentials = grpc.WithTransportCredentials(fileCredentials{loader})
	}
	conn, err := grpc.NewClient("dns:///"+at.address, credentials)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(b.Context(), grpc.WaitForReady(true))
	if err != nil {
		b.Fatal(err)
	}
	settings := &admethod.StreamSettings{}
	var m pb.DevicePropertyData
	wire.Reading(&m, settings, driver.Row{{Key: key, At: time.Now(), Value: 21.5}}, 1, 0)
	var in pb.AnomalyResponse
	if err := stream.Send(&m); err != nil {
		b.Fatal(err)
	}
	if err := stream.RecvMsg(&in); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range b.N {
			if err := stream.RecvMsg(&in); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for i := range b.N {
		m.Sequence = uint64(i + 2)
		if err := stream.SendMsg(&m); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
}

// throughHandler observes readings as fast as they are answered.
func throughHandler(b *testing.B, at site) {
	adapters := new(admethod.AdapterRegistry)
	f := Factory()
	adapters.Register(f.Name, f)
	var judged, dropped atomic.Int64
	h, err := pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, DefaultSinks: []string{},
		Hooks: admethod.Hooks{
			Verdict: func(r *driver.Result) {
				if r.Severity != driver.Unknown {
					judged.Add(1)
				}
			},
			Dropped: func(_ driver.Key, n int) { dropped.Add(int64(n)) },
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	settings := map[string]any{"adMethodName": Name, "quality.missing": 0, "quality.late": 0, "grpc.address": at.address, "grpc.insecure": !at.secure, "grpc.backoff": "50ms"}
	if at.secure {
		settings["grpc.tls.ca"], settings["grpc.tls.cert"], settings["grpc.tls.key"] = at.files.CA, at.files.Cert, at.files.Key
		settings["grpc.tls.serverName"] = "detector"
	}
	config, err := admethod.ParseSettings(settings)
	if err != nil {
		b.Fatal(err)
	}
	var bindings []*pipeline.Binding
	for i := range 100 {
		binding, err := h.Bind(driver.Key{Namespace: "default", Device: fmt.Sprint("light-", i), Property: "power"}, config, admethod.Meta{})
		if err != nil {
			b.Fatal(err)
		}
		bindings = append(bindings, binding)
	}
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	start := time.Now()
	bindings[0].Observe(start, 0)
	for judged.Load() == 0 {
		<-tick.C
	}
	judged.Store(0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for i%1024 == 0 && int64(i)-judged.Load() > 8192 {
			<-tick.C
		}
		bindings[i%100].Observe(start.Add(time.Duration(i+1)*time.Microsecond), 21.5)
	}
	for judged.Load()+dropped.Load() < int64(b.N) {
		<-tick.C
	}
	b.StopTimer()
	if dropped.Load() > 0 {
		b.Errorf("%d readings are dropped", dropped.Load())
	}
	if err := h.Shutdown(b.Context()); err != nil {
		b.Error(err)
	}
}

// BenchmarkObserve is what a reading costs the one who observes, at a pace of 10,000 a second, whatever the detector does.
// The percentiles hold what the machine does besides; those of an adapter that does nothing are beside
// them.
func BenchmarkObserve(b *testing.B) {
	for _, delivery := range []string{"latest", "atLeastOnce"} {
		for _, detector := range []string{"answers", "absent", "hangs"} {
			b.Run(delivery+"/"+detector, func(b *testing.B) { benchmarkObserve(b, delivery, detector) })
		}
	}
}

// null is an adapter that does nothing, and its stream.
type null struct{}

func (null) Start(context.Context) error                           { return nil }
func (null) Open(admethod.StreamSettings) (admethod.Stream, error) { return null{}, nil }
func (null) Flush(context.Context) error                           { return nil }
func (null) Shutdown(context.Context) error                        { return nil }
func (null) TrySubmit(driver.Row) bool                             { return true }
func (null) Close()                                                {}

// observers are two properties: of the adapter, and of one that does nothing.
type observers struct {
	own, idle *pipeline.Binding
	detector  *proctest.Process // nil where it is absent
}

func observe(b *testing.B, delivery, detector string) observers {
	b.Helper()
	var o observers
	path := filepath.Join(b.TempDir(), "s")
	if detector != "absent" {
		o.detector = spawn(b, path, "")
	}
	adapters := new(admethod.AdapterRegistry)
	f := Factory()
	adapters.Register(f.Name, f)
	adapters.Register("null", admethod.AdapterFactory{Name: "null", New: func(admethod.AdapterSettings) (admethod.Adapter, error) { return null{}, nil }})
	h, err := pipeline.NewHandler(pipeline.Options{Adapters: adapters, DefaultSinks: []string{}, StateDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 10*time.Second)
		defer cancel()
		_ = h.Shutdown(ctx)
	})
	bind := func(property string, settings map[string]any) *pipeline.Binding {
		return sinktest.Watch(b, h, driver.Key{Namespace: "default", Device: "light", Property: property}, settings, admethod.Meta{})
	}
	o.own = bind("power", map[string]any{
		"adMethodName": Name, "quality.missing": 0, "quality.late": 0, "grpc.address": "unix:" + path, "grpc.insecure": true,
		"grpc.backoff": "100ms", "grpc.timeout": "1s", "grpc.staleAfter": "1s", "grpc.delivery": delivery, "grpc.spool.size": 16,
	})
	o.idle = bind("idle", map[string]any{"adMethodName": "null", "quality.missing": 0, "quality.late": 0})
	return o
}

// report tells the percentiles of both.
func report(b *testing.B, own, idle []time.Duration) {
	slices.Sort(own)
	slices.Sort(idle)
	for _, q := range []struct {
		name string
		of   float64
	}{{"p50-ns", 0.5}, {"p99-ns", 0.99}, {"p99.9-ns", 0.999}} {
		b.ReportMetric(float64(own[int(float64(len(own))*q.of)].Nanoseconds()), q.name)
		b.ReportMetric(float64(idle[int(float64(len(idle))*q.of)].Nanoseconds()), q.name+"-null")
	}
	b.ReportMetric(0, "ns/op")
}

func took(binding *pipeline.Binding) time.Duration {
	at := time.Now()
	binding.Observe(at, 21.5)
	return time.Since(at)
}

func benchmarkObserve(b *testing.B, delivery, detector string) {
	o := observe(b, delivery, detector)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	pace := func(n int) (own, idle []time.Duration) {
		own, idle = make([]time.Duration, 0, n), make([]time.Duration, 0, n)
		for len(own) < n {
			<-tick.C
			for range 100 {
				own = append(own, took(o.own))
			}
			<-tick.C
			for range 100 {
				idle = append(idle, took(o.idle))
			}
		}
		return own, idle
	}
	pace(20_000)
	if detector == "hangs" {
		o.detector.Signal(b, syscall.SIGSTOP)
		pace(20_000)
	}
	b.ResetTimer()
	own, idle := pace(b.N)
	b.StopTimer()
	report(b, own, idle)
}

// BenchmarkObserveSeldom is the same for a property that is read now and then: nothing of the path is in the caches.
func BenchmarkObserveSeldom(b *testing.B) {
	o := observe(b, "latest", "answers")
	tick := time.NewTicker(13 * time.Millisecond)
	defer tick.Stop()
	own, idle := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	for b.Loop() {
		<-tick.C
		own = append(own, took(o.own))
		<-tick.C
		idle = append(idle, took(o.idle))
	}
	report(b, own, idle)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detectserver_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// BenchmarkObserveToSink is the way of a reading from Observe to a detector ewma in another process and of its verdict to
// a counting sink's hook, and that of the same messages on a bare stream that judges nothing. Run it with a fixed number
// of readings, such as -benchtime=1000000x, so that the start of processes does not count.
func BenchmarkObserveToSink(b *testing.B) {
	server, client := pki(b)
	for _, secure := range []struct {
		name           string
		server, client tlsfiles.Files
	}{{"plain", tlsfiles.Files{}, tlsfiles.Files{}}, {"mTLS", server, client}} {
		for _, run := range []struct {
			name string
			f    func(b *testing.B, address string, files tlsfiles.Files)
		}{{"bare", overBareStream}, {"observe", throughHandler}} {
			b.Run(secure.name+"/"+run.name, func(b *testing.B) {
				child := detectserver.Spawn(b, detectserver.Child{
					GRPC: "localhost:0", TLS: secure.server, Rate: -1, Bare: run.name == "bare",
				})
				began := proctest.CPU(b)
				run.f(b, child.GRPC, secure.client)
				own := proctest.CPU(b) - began
				child.End(syscall.SIGTERM)
				theirs := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
				n := float64(b.N)
				b.ReportMetric(float64((own+theirs).Nanoseconds())/n, "cpu-ns/reading")
				b.ReportMetric(float64(own.Nanoseconds())/n, "client-cpu-ns/reading")
				b.ReportMetric(n/b.Elapsed().Seconds(), "readings/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

const speedSeries = 100

func overBareStream(b *testing.B, address string, files tlsfiles.Files) {
	security := insecure.NewCredentials()
	if files != (tlsfiles.Files{}) {
		files.ServerName = "localhost"
		loader, err := tlsfiles.New(files, nil)
		if err != nil {
			b.Fatal(err)
		}
		security = credentials.NewTLS(loader.Client())
	}
	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(security))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var rows [speedSeries]driver.Row
	for i := range rows {
		rows[i] = driver.Row{{Key: driver.Key{Namespace: "default", Device: fmt.Sprint("light-", i), Property: "power"}}}
	}
	var settings admethod.StreamSettings
	start := time.Now()
	b.ResetTimer()
	var wg sync.WaitGroup
	wg.Go(func() {
		var m pb.AnomalyResponse
		for range b.N {
			if err := stream.RecvMsg(&m); err != nil {
				b.Error(err)
				return
			}
		}
	})
	var m pb.DevicePropertyData
	for i := range b.N {
		row := rows[i%speedSeries]
		row[0].At, row[0].Value = start.Add(time.Duration(i)*time.Microsecond), value(i, 0)
		wire.Reading(&m, &settings, row, 1, 0)
		m.Sequence = uint64(i + 1)
		if err := stream.SendMsg(&m); err != nil {
			b.Fatal(err)
		}
	}
	wg.Wait()
	b.StopTimer()
}

func throughHandler(b *testing.B, address string, files tlsfiles.Files) {
	var judged, dropped atomic.Int64
	h, err := pipeline.NewHandler(pipeline.Options{
		Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{},
		Hooks: admethod.Hooks{
			Verdict: func(*driver.Result) { judged.Add(1) },
			Dropped: func(_ driver.Key, n int) { dropped.Add(int64(n)) },
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	m := &mapper{Handler: h}
	settings := map[string]any{
		"adMethodName": "grpc", "grpc.address": address, "detector": "ewma", "quality.missing": 0, "quality.late": 0,
	}
	if files == (tlsfiles.Files{}) {
		settings["grpc.insecure"] = true
	} else {
		settings["grpc.tls.ca"], settings["grpc.tls.cert"], settings["grpc.tls.key"] = files.CA, files.Cert, files.Key
		settings["grpc.tls.serverName"] = "localhost"
	}
	var bindings []*pipeline.Binding
	for i := range speedSeries {
		bindings = append(bindings, m.bind(b, fmt.Sprint("power-", i), settings))
	}
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	start := time.Now()
	bindings[0].Observe(start, 20)
	for judged.Load() == 0 {
		<-tick.C
	}
	judged.Store(0)
	b.ResetTimer()
	for i := range b.N {
		for i%1024 == 0 && int64(i)-judged.Load() > 8192 {
			<-tick.C
		}
		bindings[i%speedSeries].Observe(start.Add(time.Duration(i+1)*time.Microsecond), value(i, 0))
	}
	for judged.Load()+dropped.Load() < int64(b.N) {
		<-tick.C
	}
	b.StopTimer()
	if dropped.Load() > 0 {
		b.Errorf("%d readings are dropped", dropped.Load())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), time.Minute)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		b.Error(err)
	}
}

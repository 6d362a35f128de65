// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detectserver

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// bare answers each message with what the detector server would answer, and does nothing else.
type bare struct {
	pb.UnimplementedAnomalyDetectionServiceServer
}

func (bare) StreamDetect(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse]) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		one := 20.0
		a := &pb.AnomalyResponse{
			Status: "ok", Timestamp: m.Timestamp, Sequence: m.Sequence, TimeUnixNano: m.TimeUnixNano,
			Namespace: m.Namespace, DeviceName: m.DeviceName, PropertyName: m.PropertyName,
			Severity: pb.Severity_SEVERITY_NORMAL, Score: 0.2, Threshold: 0.95, Confidence: 0.9,
			Value: m.Value, Expected: &one, Lower: &one, Upper: &one, Detector: "ewma",
		}
		if err := stream.Send(a); err != nil {
			return err
		}
	}
}

const benchSeries = 50

// pump sends n readings over a new connection and returns how much processor time the process used for them.
func pump(tb testing.TB, address string, n int) time.Duration {
	tb.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	before := proctest.CPU(tb)
	sent := make(chan error, 1)
	go func() {
		var m pb.DevicePropertyData
		value := 0.0
		names := make([]string, benchSeries)
		for i := range names {
			names[i] = "property-" + strconv.Itoa(i)
		}
		at := time.Unix(1_700_000_000, 0).UTC()
		for i := range n {
			if i%benchSeries == 0 {
				at = at.Add(time.Second)
			}
			value = 20 + float64(i*7919%101)/100
			m.DeviceName, m.Namespace, m.PropertyName = "device", "default", names[i%benchSeries]
			m.PropertyValue = strconv.FormatFloat(value, 'g', -1, 64)
			m.Timestamp, m.TimeUnixNano = at.Format(time.RFC3339Nano), at.UnixNano()
			m.Sequence, m.Value = uint64(i+1), &value
			m.Stream = nil
			if i == 0 {
				m.Stream = &pb.StreamInfo{StreamId: rand.Text()}
			}
			if err := stream.SendMsg(&m); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	var m pb.AnomalyResponse
	got := 0
	for ; ; got++ {
		err := stream.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			tb.Fatal(err)
		}
		if got == n-1 && m.Severity == pb.Severity_SEVERITY_UNKNOWN {
			tb.Errorf("the last answer is %v", &m)
		}
	}
	if err := <-sent; err != nil {
		tb.Fatal(err)
	}
	if got != n {
		tb.Errorf("%d answers to %d readings", got, n)
	}
	return proctest.CPU(tb) - before
}

// listenBare serves the bare stream, with gRPC set up as the detector server sets it up.
func listenBare(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterAnomalyDetectionServiceServer(g, bare{})
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	tb.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return l.Addr().String()
}

// BenchmarkAgainstBareStream is the processor time of client and server for a reading, against a stream that carries
// the same messages and judges nothing.
func BenchmarkAgainstBareStream(b *testing.B) {
	const n = 100_000
	for _, detector := range []string{"ewma"} {
		b.Run("driver="+detector, func(b *testing.B) {
			floor := listenBare(b)
			address, _ := serve(b, Config{Insecure: true, Limits: Limits{Rate: -1}, Config: intake.Config{Defaults: map[string]any{"detector": detector}}})
			var own, bare, took time.Duration
			rounds := 0
			for b.Loop() {
				bare += pump(b, floor, n)
				began := time.Now()
				own += pump(b, address, n)
				took += time.Since(began)
				rounds++
			}
			b.ReportMetric(float64(own)/float64(rounds*n), "cpu-ns/reading")
			b.ReportMetric(float64(bare)/float64(rounds*n), "bare-ns/reading")
			b.ReportMetric(float64(own)/float64(bare), "×bare")
			b.ReportMetric(float64(rounds*n)/took.Seconds(), "readings/s")
		})
	}
}

// Client and server together need at most 1.3 times the processor time of a bare stream with the same messages.
func TestAgainstBareStream(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("measures processor time")
	}
	floor := listenBare(t)
	address, _ := serve(t, Config{Insecure: true, Limits: Limits{Rate: -1}, Config: intake.Config{Defaults: map[string]any{"detector": "ewma"}}})
	const n, tries = 50_000, 6
	best := 0.0
	for range tries {
		ratio := float64(pump(t, address, n)) / float64(pump(t, floor, n))
		if best == 0 || ratio < best {
			best = ratio
		}
		if best <= 1.3 {
			t.Logf("%.2f times the processor time of a bare stream", best)
			return
		}
	}
	t.Errorf("%.2f times the processor time of a bare stream, want at most 1.3", best)
}

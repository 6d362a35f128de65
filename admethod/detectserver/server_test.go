// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// launch makes a server that works until stop, which drains it.
func launch(tb testing.TB, c Config, work func(context.Context, *Server) error) (s *Server, stop func()) {
	tb.Helper()
	s, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() { done <- work(ctx, s) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return s, stop
}

// serve starts a server on loopback; stop drains it.
func serve(tb testing.TB, c Config) (address string, stop func()) {
	tb.Helper()
	return serveWith(tb, c, (*Server).Serve)
}

// serveBatches is serve with the HTTP endpoint only.
func serveBatches(tb testing.TB, c Config) (address string, stop func()) {
	tb.Helper()
	return serveWith(tb, c, func(s *Server, ctx context.Context, l net.Listener) error { return s.ServeBoth(ctx, nil, l) })
}

func serveWith(tb testing.TB, c Config, serve func(*Server, context.Context, net.Listener) error) (address string, stop func()) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	_, stop = launch(tb, c, func(ctx context.Context, s *Server) error { return serve(s, ctx, l) })
	return l.Addr().String(), stop
}

// running is a server without endpoints.
func running(tb testing.TB, c Config) *Server {
	tb.Helper()
	up := make(chan struct{})
	s, _ := launch(tb, c, func(ctx context.Context, s *Server) error {
		return s.intake.Run(ctx, func(ctx context.Context) error {
			close(up)
			<-ctx.Done()
			return nil
		})
	})
	<-up
	return s
}

func dial(t *testing.T, address string, creds credentials.TransportCredentials) pb.AnomalyDetectionService_StreamDetectClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func reading(i int, value string) *pb.DevicePropertyData {
	return &pb.DevicePropertyData{
		Namespace: "default", DeviceName: "lamp", PropertyName: "light", PropertyValue: value,
		Timestamp: time.Unix(1_700_000_000+int64(i), 0).UTC().Format(time.RFC3339Nano),
	}
}

func ask(t *testing.T, stream pb.AnomalyDetectionService_StreamDetectClient, m *pb.DevicePropertyData) (*pb.AnomalyResponse, error) {
	t.Helper()
	_ = stream.Send(m) // Recv tells why it failed
	return stream.Recv()
}

// A client that knows only the proposal's fields gets one answer to each reading, in order.
func TestProposalOnlyClient(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{Defaults: map[string]any{"detector": "ewma"}}})
	stream := dial(t, address, insecure.NewCredentials())
	const n = 2000
	go func() {
		for i := range n {
			value := fmt.Sprint(20 + float64(i*7%5)/10)
			if i == n-1 {
				value = "9000"
			}
			if stream.Send(reading(i, value)) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for i := range n {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(i, err)
		}
		if want := reading(i, "").Timestamp; m.Timestamp != want {
			t.Fatalf("answer %d is of %s, want %s", i, m.Timestamp, want)
		}
		if i == n-1 && m.Status == "ok" {
			t.Errorf("the spike is answered with %v", m)
		}
	}
}

// A repeat is answered as the first time, on another connection too, and is not learned twice.
func TestRepeatsAreRecognised(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{Defaults: map[string]any{"detector": "ewma"}}})
	var first *pb.AnomalyResponse
	for attempt := range uint32(2) {
		stream := dial(t, address, insecure.NewCredentials())
		m := reading(0, "20")
		m.Stream, m.Sequence, m.Attempt = &pb.StreamInfo{StreamId: "a"}, 1, attempt
		got, err := ask(t, stream, m)
		if err != nil || got.Sequence != 1 || got.Detector != "ewma" {
			t.Fatal(got, err)
		}
		if first != nil && first.String() != got.String() {
			t.Errorf("the repeat is answered with %v, want %v", got, first)
		}
		first = got
	}
}

func TestGroup(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true})
	stream := dial(t, address, insecure.NewCredentials())
	series := &pb.SeriesInfo{Group: "room", Detector: "pca"}
	for _, p := range []string{"light", "power"} {
		series.Members = append(series.Members, &pb.Member{Namespace: "default", DeviceName: "lamp", PropertyName: p})
	}
	for i, p := range []string{"light", "power"} {
		m := reading(0, "1")
		m.PropertyName, m.Row, m.Member, m.Sequence, m.Series = p, 1, uint32(i), uint64(i+1), series
		got, err := ask(t, stream, m)
		if err != nil {
			t.Fatal(err)
		}
		if got.Sequence != uint64(i+1) {
			t.Errorf("answer %v", got)
		}
	}
}

// A reading that cannot be judged is answered with what was expected, and the stream goes on.
func TestBadReadingsAreAnswered(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{MaxSeries: 2}})
	stream := dial(t, address, insecure.NewCredentials())
	member := []*pb.Member{{Namespace: "n", DeviceName: "d", PropertyName: "p"}}
	for _, test := range []struct {
		name, want string
		m          *pb.DevicePropertyData
	}{
		{"no device", "want namespace, device and property", &pb.DevicePropertyData{Namespace: "default"}},
		{"no time", "want RFC 3339", &pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p"}},
		{"unknown detector", "nope", &pb.DevicePropertyData{
			Namespace: "n", DeviceName: "d", PropertyName: "p", TimeUnixNano: 1,
			Series: &pb.SeriesInfo{Detector: "nope", Members: member},
		}},
		{"still the unknown detector", "nope", &pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p", TimeUnixNano: 1}},
		{"another member", "among its members", &pb.DevicePropertyData{
			Namespace: "n", DeviceName: "d", PropertyName: "q", TimeUnixNano: 1, Series: &pb.SeriesInfo{Members: member},
		}},
		{"long stream_id", "at most 128", &pb.DevicePropertyData{Stream: &pb.StreamInfo{StreamId: strings.Repeat("x", 129)}}},
	} {
		got, err := ask(t, stream, test.m)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got.Status != "ok" || got.Severity != pb.Severity_SEVERITY_UNKNOWN || !strings.Contains(got.Message, test.want) {
			t.Errorf("%s: answered with %v, want unknown and %q", test.name, got, test.want)
		}
	}
	for i := range 3 {
		if got, err := ask(t, stream, reading(i, "20")); err != nil || got.Detector == "" {
			t.Errorf("a good one after them: %v, %v", got, err)
		}
	}
	for i, property := range []string{"second", "third"} {
		m := reading(0, "20")
		m.PropertyName = property
		got, err := ask(t, stream, m)
		if err != nil || (i == 1) != strings.Contains(got.GetMessage(), "all that it may") {
			t.Errorf("series %d of 2: %v, %v", i+2, got, err)
		}
	}
}

func TestDrainAnswersWhatWasRead(t *testing.T) {
	address, stop := serve(t, Config{Insecure: true})
	stream := dial(t, address, insecure.NewCredentials())
	if _, err := ask(t, stream, reading(0, "20")); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("after the drain: %v", err)
	}
}

func TestWhoMaySendForWhichNamespace(t *testing.T) {
	authority := newAuthority(t, t.TempDir())
	config := Config{TLS: authority.issue("localhost"), Clients: map[string]Client{
		"mapper":  {Names: []string{"mapper"}, Namespaces: []string{"default"}},
		"foreign": {Names: []string{"foreign"}, Namespaces: []string{"other"}},
	}}
	address, _ := serve(t, config)
	for name, want := range map[string]codes.Code{
		"mapper": codes.OK, "foreign": codes.PermissionDenied, "stranger": codes.PermissionDenied, "": codes.Unavailable,
	} {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(authority.credentials(name)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
		if err == nil {
			if _, err = ask(t, stream, reading(0, "20")); err == nil && want != codes.OK {
				_, err = stream.Recv()
			}
		}
		if status.Code(err) != want {
			t.Errorf("client %q: %v, want %v", name, err, want)
		}
		cancel()
		conn.Close()
	}
}

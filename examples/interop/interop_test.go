// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// prepared returns the Python interpreter and the directory of its stubs. It skips the test unless run.sh made them.
func prepared(tb testing.TB) (interpreter, stubs string) {
	tb.Helper()
	interpreter, stubs = os.Getenv("INTEROP_PYTHON"), os.Getenv("INTEROP_STUBS")
	if interpreter == "" || stubs == "" {
		tb.Skip("no Python prepared: run examples/interop/run.sh")
	}
	return interpreter, stubs
}

// python makes a command that runs a script of this directory.
func python(ctx context.Context, tb testing.TB, script string, args ...string) *exec.Cmd {
	tb.Helper()
	interpreter, stubs := prepared(tb)
	cmd := exec.CommandContext(ctx, interpreter, append([]string{script}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+stubs, "PYTHONDONTWRITEBYTECODE=1")
	cmd.WaitDelay = time.Second
	return cmd
}

// startServer starts a Python server, and ends it with the test. It returns its address.
func startServer(tb testing.TB, script string, args ...string) string {
	tb.Helper()
	cmd := python(tb.Context(), tb, script, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	address, err := bufio.NewReader(stdout).ReadString('\n')
	tb.Cleanup(func() { // the context has ended by now, and the server with it if it did not answer
		_ = stdin.Close()
		_ = cmd.Wait() // killed
	})
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		tb.Fatalf("%s told no address: %v\n%s", script, err, stderr.String())
	}
	return strings.TrimSpace(address)
}

// A client that sends every field there is gets from a server that knows only the proposal's one answer for each
// reading, in order, which says by its severity that status is all there is to go by.
func TestFullClientPlainServer(t *testing.T) {
	address := startServer(t, "server.py", "--low", "10", "--high", "30")
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := pb.NewAnomalyDetectionServiceClient(conn).StreamDetect(ctx)
	if err != nil {
		t.Fatal(err)
	}

	const readings = 1000
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	sent := make(chan error, 1)
	go func() {
		sent <- func() error {
			for i := range readings {
				at := start.Add(time.Duration(i) * time.Second)
				value := float64(i % 40)
				data := &pb.DevicePropertyData{
					DeviceName: "boiler-1", Namespace: "default", PropertyName: "temperature",
					PropertyValue: strconv.Itoa(i % 40), Timestamp: at.Format(time.RFC3339),
					Sequence: uint64(i + 1), TimeUnixNano: at.UnixNano(), Value: proto.Float64(value),
					Flags: uint32(pb.SampleFlag_SAMPLE_FLAG_LATE), Attempt: 1,
				}
				if i == 0 {
					data.Stream = &pb.StreamInfo{Mapper: "boilers", Node: "edge-1", StreamId: "c0ffee"}
					data.Series = &pb.SeriesInfo{
						Members: []*pb.Member{{
							Namespace: "default", DeviceName: "boiler-1", PropertyName: "temperature",
							DataType: "float", Minimum: proto.Float64(-20), Unit: "°C", CycleMs: 1000,
						}},
						Detector: "ewma", Parameters: map[string]string{"halflife": "60"}, Threshold: 0.95,
					}
				}
				if err := stream.Send(data); err != nil {
					return err
				}
			}
			return stream.CloseSend()
		}()
	}()

	answers := 0
	for ; ; answers++ {
		got, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("answer %d: %v", answers+1, err)
		}
		wantStatus := "ok"
		if v := answers % 40; v < 10 || v > 30 {
			wantStatus = "anomaly"
		}
		wantTime := start.Add(time.Duration(answers) * time.Second).Format(time.RFC3339)
		if got.GetStatus() != wantStatus || got.GetTimestamp() != wantTime {
			t.Fatalf("answer %d: got %s for %s, want %s for %s", answers+1, got.GetStatus(), got.GetTimestamp(), wantStatus, wantTime)
		}
		if got.GetSequence() != 0 || got.GetSeverity() != pb.Severity_SEVERITY_UNSPECIFIED {
			t.Fatalf("answer %d has fields that the server does not know: %v", answers+1, got)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if answers != readings {
		t.Errorf("got %d answers, want %d", answers, readings)
	}
}

// fullServer answers with every field there is.
type fullServer struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	fail func(*pb.DevicePropertyData) error
}

func (s *fullServer) StreamDetect(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse]) error {
	for {
		data, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.fail(data); err != nil {
			return err
		}
		value, err := strconv.ParseFloat(data.GetPropertyValue(), 64)
		if err != nil {
			return err
		}
		answer := &pb.AnomalyResponse{
			Status: "ok", Message: "within limits", Timestamp: data.GetTimestamp(),
			Sequence: 1, TimeUnixNano: 1, Namespace: data.GetNamespace(), DeviceName: data.GetDeviceName(),
			PropertyName: data.GetPropertyName(), Severity: pb.Severity_SEVERITY_NORMAL, Score: 0.1, Threshold: 0.95,
			Confidence: 1, Value: proto.Float64(value), Expected: proto.Float64(20),
			Lower: proto.Float64(10), Upper: proto.Float64(30), Detector: "range", Model: "boiler@1",
		}
		if value > 30 {
			answer.Status, answer.Message = "critical", "over the limit"
			answer.Severity, answer.Kind, answer.Score = pb.Severity_SEVERITY_CRITICAL, "range", 1
			answer.Causes = []*pb.Cause{{Namespace: "default", DeviceName: "boiler-1", PropertyName: "temperature", Weight: 1}}
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func startFullServer(tb testing.TB, s *fullServer, opts ...grpc.ServerOption) string {
	tb.Helper()
	prepared(tb)
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer(opts...)
	pb.RegisterAnomalyDetectionServiceServer(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tb.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
			tb.Error(err)
		}
	})
	return listener.Addr().String()
}

// A client that knows only the proposal's fields gets along with a server that answers with all of ours.
func TestPlainClientFullServer(t *testing.T) {
	received := make(chan *pb.DevicePropertyData, 3)
	address := startFullServer(t, &fullServer{fail: func(data *pb.DevicePropertyData) error {
		received <- proto.CloneOf(data)
		return nil
	}})
	cmd := python(t.Context(), t, "client.py", "--address", address)
	cmd.Stdin = strings.NewReader("21.5\n95\n22\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(explain(err))
	}
	want := "21.5\tok\t2026-07-01T12:00:00Z\twithin limits\n" +
		"95\tcritical\t2026-07-01T12:00:01Z\tover the limit\n" +
		"22\tok\t2026-07-01T12:00:02Z\twithin limits\n"
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Errorf("client.py printed (-want +got):\n%s", diff)
	}
	close(received)
	first := <-received
	wire, err := proto.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	// The proposal's five fields are all that arrived.
	plain, err := proto.Marshal(&pb.DevicePropertyData{
		DeviceName: "boiler-1", Namespace: "default", PropertyName: "temperature", PropertyValue: "21.5", Timestamp: "2026-07-01T12:00:00Z",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(wire, plain) {
		t.Errorf("got %v", first)
	}
}

// The client tells a stream that broke from one that was answered.
func TestPlainClientBrokenStream(t *testing.T) {
	n := 0
	address := startFullServer(t, &fullServer{fail: func(*pb.DevicePropertyData) error {
		if n++; n == 2 {
			return errors.New("out of order")
		}
		return nil
	}})
	cmd := python(t.Context(), t, "client.py", "--address", address)
	cmd.Stdin = strings.NewReader("21.5\n22\n")
	out, err := cmd.Output()
	if err == nil || !strings.Contains(explain(err).Error(), "out of order") {
		t.Errorf("got %v and %q, want the server's error", err, out)
	}
}

func explain(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w\n%s", err, exit.Stderr)
	}
	return err
}

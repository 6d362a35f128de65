// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// echo is a driver whose verdict says which value it was on.
func echo() driver.Factory {
	return drivertest.Func("echo", func(row driver.Row, out *driver.Result) {
		out.Confidence = 1
		out.Judge(0, driver.KindNone)
		out.Expected = row[0].Value
		out.Message = fmt.Sprint(len(row))
		for i := range row {
			out.Message += fmt.Sprintf(" %v:%d", row[i].Value, row[i].Flags)
		}
	})
}

func of(property string, i int, value float64) *pb.DevicePropertyData {
	m := reading(i, fmt.Sprint(value))
	m.PropertyName, m.Sequence = property, uint64(i+1)
	return m
}

func described(m *pb.DevicePropertyData, detector string) *pb.DevicePropertyData {
	m.Series = &pb.SeriesInfo{Detector: detector, Members: []*pb.Member{{
		Namespace: m.Namespace, DeviceName: m.DeviceName, PropertyName: m.PropertyName,
	}}}
	return m
}

func tell(t *testing.T, stream pb.AnomalyDetectionService_StreamDetectClient, messages ...*pb.DevicePropertyData) {
	t.Helper()
	for _, m := range messages {
		if err := stream.Send(m); err != nil {
			_, err = stream.Recv()
			t.Fatal(err)
		}
	}
}

func hear(t *testing.T, stream pb.AnomalyDetectionService_StreamDetectClient) *pb.AnomalyResponse {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// While a detector hangs, readings of other series are answered, of the same client and of others. The stuck one is
// answered after the deadline, and its series says why it is off.
func TestHungDetector(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	address, stop := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Deadline: 2 * time.Second, Drivers: driver.NewRegistry(drivertest.Hangs(release), echo()), Defaults: map[string]any{"detector": "echo"},
		},
	})
	a, b := dial(t, address, insecure.NewCredentials()), dial(t, address, insecure.NewCredentials())
	const others = 40
	tell(t, a, described(of("stuck", 0, 1), "hangs"))
	for i := range others {
		tell(t, a, of(fmt.Sprint("p", i), i+1, float64(i)))
		tell(t, b, of(fmt.Sprint("q", i), i, float64(i)))
	}
	seen := make(map[uint64]bool)
	for range others + 1 {
		got := hear(t, a)
		if seen[got.Sequence] {
			t.Errorf("%d is answered twice", got.Sequence)
		}
		seen[got.Sequence] = true
		if stuck := got.Sequence == 1; stuck != (got.Severity == pb.Severity_SEVERITY_UNKNOWN) {
			t.Errorf("answered with %v", got)
		}
	}
	for range others {
		if got := hear(t, b); got.Severity != pb.Severity_SEVERITY_NORMAL {
			t.Errorf("another stream is answered with %v", got)
		}
	}
	// The series is cut off soon after; it says so, and the others go on.
	for i := others + 1; ; i++ {
		got, err := ask(t, a, of("stuck", i, 1))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(got.Message, "does not return") {
			break
		}
	}
	if got, err := ask(t, a, of("p0", 1000, 5)); err != nil || got.GetExpected() != 5 {
		t.Errorf("another series: %v, %v", got, err)
	}
	release <- struct{}{} // so that the shutdown can join it
	stop()
}

// A client that does not count gets its answers in order, the stuck one too.
func TestAnswersInOrderPastAHungDetector(t *testing.T) {
	release := make(chan struct{})
	address, _ := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Deadline: time.Second, Drivers: driver.NewRegistry(drivertest.Hangs(release), echo()), Defaults: map[string]any{"detector": "echo"}, Routes: []Route{{Property: "st*", Settings: map[string]any{"detector": "hangs"}}},
		},
	})
	defer close(release)
	stream := dial(t, address, insecure.NewCredentials())
	for i, property := range []string{"p", "stuck", "q", "r"} {
		m := of(property, i, 1)
		m.Sequence = 0
		tell(t, stream, m)
	}
	for i, property := range []string{"p", "stuck", "q", "r"} {
		got := hear(t, stream)
		if got.PropertyName != property || got.Timestamp != reading(i, "").Timestamp {
			t.Errorf("answer %d is %v, want it on %s", i, got, property)
		}
	}
}

// A detector that panics is cut off and says why; the rest goes on.
func TestPanickingDetector(t *testing.T) {
	address, _ := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Drivers: driver.NewRegistry(drivertest.Panics(2), echo()), Defaults: map[string]any{"detector": "echo"},
		},
	})
	stream := dial(t, address, insecure.NewCredentials())
	for i, want := range []string{"", "panicked", "panicked"} {
		got, err := ask(t, stream, described(of("p", i, 1), "panics"))
		if err != nil || (want == "") != (got.Message == "") || !strings.Contains(got.Message, want) {
			t.Errorf("reading %d: %v, %v; want %q", i, got, err, want)
		}
	}
	if got, err := ask(t, stream, of("q", 9, 7)); err != nil || got.GetExpected() != 7 {
		t.Errorf("another series: %v, %v", got, err)
	}
}

// A series belongs to the client and the configuration that came first, as long as it is used.
func TestFirstOneWins(t *testing.T) {
	address, _ := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Handover: time.Second, Drivers: driver.NewRegistry(echo(), drivertest.Panics(1000)),
		},
	})
	first, second := dial(t, address, insecure.NewCredentials()), dial(t, address, insecure.NewCredentials())
	if got, err := ask(t, first, described(of("p", 0, 1), "echo")); err != nil || got.Detector != "echo" {
		t.Fatal(got, err)
	}
	got, err := ask(t, second, described(of("p", 0, 1), "panics"))
	if err != nil || !strings.Contains(got.Message, "another configuration") {
		t.Errorf("another configuration: %v, %v", got, err)
	}
	if got, err = ask(t, second, described(of("p", 1, 1), "echo")); err != nil || got.Detector != "echo" {
		t.Errorf("the same configuration: %v, %v", got, err)
	}
	if got, err := ask(t, first, of("p", 1, 2)); err != nil || got.GetExpected() != 2 {
		t.Errorf("the first one: %v, %v", got, err)
	}
	// The first one may think again once it is alone.
	_ = second.CloseSend()
	if _, err := second.Recv(); err == nil {
		t.Error("the second stream goes on")
	}
	for i := 2; ; i++ {
		got, err := ask(t, first, described(of("p", i, 1), "panics"))
		if err != nil {
			t.Fatal(err)
		}
		if got.Detector == "panics" {
			break
		}
	}
}

// What was read is judged once, and answered again as it was answered; what was lost is judged on the repeat.
func TestRepeatsOverConnections(t *testing.T) {
	rows := new(drivertest.Recorder)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	hangs := drivertest.Func("hangs", func(_ driver.Row, out *driver.Result) {
		entered <- struct{}{}
		<-release
		out.Judge(0, driver.KindNone)
	})
	address, _ := serve(t, Config{
		Insecure: true, Config: intake.Config{
			Drivers: driver.NewRegistry(rows.Factory(), hangs), Deadline: 10 * time.Minute, Defaults: map[string]any{"detector": "recorder"},
		},
	})
	again := func(i int, attempt uint32) *pb.DevicePropertyData {
		m := of("p", i, float64(i))
		m.Stream, m.Attempt = &pb.StreamInfo{StreamId: "run"}, attempt
		return m
	}
	first := dial(t, address, insecure.NewCredentials())
	for i := range 5 {
		if got, err := ask(t, first, again(i, 0)); err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL {
			t.Fatal(got, err)
		}
	}
	second := dial(t, address, insecure.NewCredentials())
	for i := 2; i < 8; i++ { // 5 to 7 never arrived
		if got, err := ask(t, second, again(i, 1)); err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL || got.Sequence != uint64(i+1) {
			t.Errorf("%d sent again: %v, %v", i, got, err)
		}
	}
	if got := fmt.Sprint(rows.Values()); got != "[0 1 2 3 4 5 6 7]" {
		t.Errorf("the detector learned %v, want each once", got)
	}

	// Sent again while the first one is still being judged: the new connection hears the verdict.
	stuck := func(attempt uint32) *pb.DevicePropertyData {
		m := described(of("h", 20, 1), "hangs")
		m.Stream, m.Attempt = &pb.StreamInfo{StreamId: "run"}, attempt
		return m
	}
	tell(t, first, stuck(0))
	<-entered
	third := dial(t, address, insecure.NewCredentials())
	tell(t, third, stuck(1))
	if got := hear(t, first); got.Message != "sent again" {
		t.Errorf("the first connection hears %v", got)
	}
	release <- struct{}{}
	if got := hear(t, third); got.Severity != pb.Severity_SEVERITY_NORMAL {
		t.Errorf("the new connection hears %v", got)
	}
	close(release)
}

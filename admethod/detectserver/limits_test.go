// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// What is kept for a series is within what the documentation of MaxSeries says.
func TestMemoryOfASeries(t *testing.T) {
	if testing.Short() {
		t.Skip("measures the heap")
	}
	s := running(t, Config{Insecure: true, Limits: Limits{Rate: -1}})
	session, err := s.intake.Open(s.anybody.Client, 256)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	const n, readings = 100, 300
	batch := make([]*pb.DevicePropertyData, n)
	for i := range readings {
		for j := range batch {
			batch[j] = reading(i, fmt.Sprint(20+float64((i*7919+j)%101)/100))
			batch[j].PropertyName = fmt.Sprint("p", j)
			batch[j].Sequence = uint64(i*n + j + 1)
			batch[j].Stream = &pb.StreamInfo{StreamId: "run"}
		}
		if _, err := session.Exchange(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	each := int(heap()-before) / n
	t.Logf("%d bytes a series of auto", each)
	if most := 40<<10 + 4096*400/n; each > most { // 32 KiB of the detector, and what is around it
		t.Errorf("%d bytes a series, want at most %d", each, most)
	}
	runtime.KeepAlive(session)
}

// Big texts do not pile up where readings wait.
func TestLongTextsAreNotKept(t *testing.T) {
	recorder := new(drivertest.Recorder)
	s := running(t, Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(recorder.Factory()), Defaults: map[string]any{"detector": "recorder"}}})
	session, err := s.intake.Open(s.anybody.Client, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	long := strings.Repeat("é", 100_000)
	strange := reading(0, "1")
	strange.Timestamp, strange.DeviceName = long, long
	fat := described(of("q", 0, 1), "recorder")
	fat.Series.Members[0].Unit = long
	got, err := session.Exchange(t.Context(), []*pb.DevicePropertyData{reading(0, long), strange, fat, of("q", 1, 1)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got[1].Timestamp) > 64 || len(got[1].DeviceName) > 253 {
		t.Errorf("answered with a time of %d bytes and a device of %d", len(got[1].Timestamp), len(got[1].DeviceName))
	}
	for _, i := range []int{2, 3} {
		if !strings.Contains(got[i].Message, "want at most 5120") {
			t.Errorf("a description that is too long: %v", got[i])
		}
	}
	if rows := recorder.Rows(); len(rows) != 1 || len(rows[0][0].Text) > 256 {
		t.Errorf("the detector got %d rows", len(rows))
	}
}

// A client that does not read its answers is slowed down to nothing, and nobody else is.
func TestClientThatDoesNotRead(t *testing.T) {
	address, _ := serve(t, Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"}}})
	deaf, other := dial(t, address, insecure.NewCredentials()), dial(t, address, insecure.NewCredentials())
	sent := make(chan int)
	go func() {
		i := 0
		for ; ; i++ {
			if deaf.Send(of("p", i, 1)) != nil {
				break
			}
			if i%100 == 0 {
				select {
				case sent <- i:
				case <-deaf.Context().Done():
				}
			}
		}
		close(sent)
	}()
	last := 0
	for stuck := false; !stuck; {
		select {
		case last = <-sent:
		case <-time.After(500 * time.Millisecond):
			stuck = true
		}
	}
	if last > 100_000 {
		t.Errorf("%d readings were taken without an answer being read", last)
	}
	for i := range 100 {
		if got, err := ask(t, other, of("q", i, 1)); err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL {
			t.Fatal(got, err)
		}
	}
	go func() { // reads at last, and gets all
		for {
			if _, err := deaf.Recv(); err != nil {
				return
			}
		}
	}()
	for range 10 {
		if _, ok := <-sent; !ok {
			t.Fatal("the stream has ended")
		}
	}
}

// A series without readings is closed; what it learned is there when it is opened again.
func TestIdleSeriesAreClosed(t *testing.T) {
	s := running(t, Config{Insecure: true, Config: intake.Config{Idle: 400 * time.Millisecond, Defaults: map[string]any{"detector": "ewma"}}})
	session, err := s.intake.Open(s.anybody.Client, 256)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	count := s.intake.Properties
	for i := range 200 {
		if _, err := session.Exchange(t.Context(), []*pb.DevicePropertyData{reading(i, fmt.Sprint(20+i%3))}); err != nil {
			t.Fatal(err)
		}
	}
	if count() != 1 {
		t.Fatalf("%d series", count())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for count() > 0 {
		select {
		case <-ctx.Done():
			t.Fatal("the series is still open")
		case <-time.After(20 * time.Millisecond):
		}
	}
	got, err := session.Exchange(t.Context(), []*pb.DevicePropertyData{reading(200, "900")})
	if err != nil || got[0].Status == "ok" {
		t.Errorf("a spike after it was closed: %v, %v", got, err)
	}
}

// A series that its client does not use any more passes to another.
func TestHandover(t *testing.T) {
	authority := newAuthority(t, t.TempDir())
	address, _ := serve(t, Config{
		TLS: authority.issue("localhost"), Clients: map[string]Client{
			"first":  {Names: []string{"first"}, Namespaces: []string{"default"}},
			"second": {Names: []string{"second"}, Namespaces: []string{"default"}},
		}, Config: intake.Config{
			Handover: time.Hour, Defaults: map[string]any{"detector": "ewma"},
		},
	})
	first, second := dial(t, address, authority.credentials("first")), dial(t, address, authority.credentials("second"))
	for i := range 200 {
		if _, err := ask(t, first, of("p", i, float64(20+i%3))); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ask(t, second, of("p", 200, 900)); err != nil || !strings.Contains(got.Message, "another client") {
		t.Errorf("while the first one is there: %v, %v", got, err)
	}
	_ = first.CloseSend()
	if _, err := first.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		third := dial(t, address, authority.credentials("second"))
		got, err := ask(t, third, of("p", 200, 900))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got.Message, "another client") {
			if got.Status == "ok" {
				t.Errorf("the spike is answered with %v: what was learned is lost", got)
			}
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal("the series does not pass to the second client")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Health and reflection are there; a server that drains says so.
func TestHealthAndReflection(t *testing.T) {
	address, stop := serve(t, Config{Insecure: true})
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, service := range []string{"", pb.AnomalyDetectionService_ServiceDesc.ServiceName} {
		got, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if got, err := stream.Recv(); err != nil || !strings.Contains(got.String(), pb.AnomalyDetectionService_ServiceDesc.ServiceName) {
		t.Errorf("reflection: %v, %v", got, err)
	}
	_ = stream.CloseSend()
	_, _ = stream.Recv()
	watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	if got, err := watch.Recv(); err != nil || got.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("while it drains: %v, %v", got, err)
	}
	select {
	case <-done: // though the watch goes on
	case <-time.After(shutdown):
		t.Error("the watch keeps the server from ending")
		conn.Close()
		<-done
	}
}

// What a draining server has read it answers.
func TestDrainAnswersAll(t *testing.T) {
	recorder := new(drivertest.Recorder)
	address, stop := serve(t, Config{Insecure: true, Config: intake.Config{Drivers: driver.NewRegistry(recorder.Factory()), Defaults: map[string]any{"detector": "recorder"}}})
	stream := dial(t, address, insecure.NewCredentials())
	go func() {
		for i := 0; stream.Send(of("p", i, float64(i))) == nil; i++ { //nolint:revive // until the stream ends
		}
	}()
	answers := 0
	stopped := make(chan struct{})
	for {
		_, err := stream.Recv()
		if err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("the stream ends with %v", err)
			}
			break
		}
		if answers++; answers == 500 {
			go func() {
				defer close(stopped)
				stop()
			}()
		}
	}
	<-stopped
	if judged := len(recorder.Values()); judged != answers {
		t.Errorf("%d readings judged, %d answered", judged, answers)
	}
}

// One client cannot take all streams, nor all series.
func TestLimitsOfAClient(t *testing.T) {
	dir := t.TempDir()
	authority := newAuthority(t, dir)
	address, _ := serve(t, Config{
		TLS: authority.issue("localhost"), Clients: map[string]Client{
			"greedy": {Names: []string{"greedy"}, Namespaces: []string{"default"}, Limits: Limits{Streams: 2, Series: 3}},
			"other":  {Names: []string{"other"}, Namespaces: []string{"default"}},
		}, Config: intake.Config{
			Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"},
		},
	})
	greedy, other := authority.credentials("greedy"), authority.credentials("other")
	var streams []pb.AnomalyDetectionService_StreamDetectClient
	for range 2 {
		streams = append(streams, dial(t, address, greedy))
	}
	for i, stream := range streams {
		for j := range 2 {
			got, err := ask(t, stream, of(fmt.Sprintf("p%d%d", i, j), 0, 1))
			if err != nil || (i == 1 && j == 1) != strings.Contains(got.Message, "all that it may") {
				t.Errorf("series %d: %v, %v", 2*i+j, got, err)
			}
		}
	}
	_, err := ask(t, dial(t, address, greedy), of("p", 0, 1))
	if status.Code(err) != codes.ResourceExhausted || intake.RetryAfter(err) == 0 {
		t.Errorf("a third stream: %v, want ResourceExhausted and when to come again", err)
	}
	if got, err := ask(t, dial(t, address, other), of("free", 0, 1)); err != nil || got.Severity != pb.Severity_SEVERITY_NORMAL {
		t.Errorf("another client: %v, %v", got, err)
	}
	if got, err := ask(t, dial(t, address, other), of("p00", 1, 1)); err != nil || !strings.Contains(got.Message, "another client") {
		t.Errorf("another client on a series in use: %v, %v", got, err)
	}
}

// A client over its rate is slowed down first, and refused when it goes on.
func TestRate(t *testing.T) {
	address, _ := serve(t, Config{
		Insecure: true, Limits: Limits{Rate: 1000, Burst: 100, Patience: time.Second}, Config: intake.Config{
			Drivers: driver.NewRegistry(echo()), Defaults: map[string]any{"detector": "echo"},
		},
	})
	stream := dial(t, address, insecure.NewCredentials())
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if stream.Send(of("p", i, 1)) != nil {
				return
			}
		}
	})
	n := 0
	var err error
	for ; err == nil; n++ {
		_, err = stream.Recv()
	}
	took := time.Since(began)
	cancel()
	wg.Wait()
	if status.Code(err) != codes.ResourceExhausted || intake.RetryAfter(err) < time.Second {
		t.Errorf("%v, want ResourceExhausted and when to come again", err)
	}
	if most := 100 + 1000*(took.Seconds()+0.1); float64(n) > most || n < 200 {
		t.Errorf("%d readings in %v, want more than the burst and at most %.0f", n, took, most)
	}
}

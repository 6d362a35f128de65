// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/grpcmethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// What the test binary is, instead of a test, and where: a detector on a socket, or a mapper with a directory.
const (
	asDetector = "REMOTE_TEST_DETECTOR"
	asMapper   = "REMOTE_TEST_MAPPER"
	stateDir   = "REMOTE_TEST_STATE"
	firstOne   = "REMOTE_TEST_FIRST" // number of the first reading, and of the one after the last
	afterLast  = "REMOTE_TEST_LAST"
	heavy      = "EDGE_ANOMALY_HEAVY"
)

func init() {
	switch {
	case os.Getenv(asDetector) != "":
		remote.Child = detectorMain
	case os.Getenv(asMapper) != "":
		remote.Child = mapperMain
	}
}

// detector answers a reading with its number. It learns from none twice, as far as it lives.
type detector struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	mu   sync.Mutex
	last map[string]uint64
}

func (d *detector) StreamDetect(stream pb.AnomalyDetectionService_StreamDetectServer) error {
	id := ""
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		if in.Stream != nil {
			id = in.Stream.StreamId
		}
		if id == "" || in.Sequence == 0 {
			return fmt.Errorf("no stream_id or no sequence: %v", in)
		}
		d.mu.Lock()
		of := id + in.DeviceName
		repeat := in.Sequence <= d.last[of]
		d.last[of] = max(d.last[of], in.Sequence)
		d.mu.Unlock()
		out := &pb.AnomalyResponse{Status: "ok", Sequence: in.Sequence, Severity: pb.Severity_SEVERITY_NORMAL, Expected: in.Value}
		if repeat {
			out.Message = "repeat"
			if in.Attempt == 0 {
				return fmt.Errorf("request %d is sent again with attempt 0", in.Sequence)
			}
		}
		if err := stream.Send(out); err != nil {
			return err
		}
	}
}

func detectorMain() {
	listener, err := net.Listen("unix", os.Getenv(asDetector))
	if err != nil {
		panic(err)
	}
	s := grpc.NewServer()
	pb.RegisterAnomalyDetectionServiceServer(s, &detector{last: make(map[string]uint64)})
	if err := s.Serve(listener); err != nil {
		panic(err)
	}
}

const devices = 3

// mapper feeds readings to a detector that is elsewhere.
type mapper struct {
	adapter admethod.Adapter
	streams []admethod.Stream
}

func newMapper(ctx context.Context, socket, dir string, deliver func(value int, repeat bool), dropped func(int)) (*mapper, error) {
	a, err := grpcmethod.Factory().New(admethod.AdapterSettings{
		Hooks: &admethod.Hooks{Dropped: func(_ driver.Key, n int) { dropped(n) }}, StateDir: dir, Mapper: "test",
		Options: map[string]any{
			"address": "unix:" + socket, "insecure": true, "delivery": "atLeastOnce", "timeout": "2s", "backoff": "300ms", "staleAfter": "1h",
		},
	})
	if err != nil {
		return nil, err
	}
	m := &mapper{adapter: a}
	if err := a.Start(ctx); err != nil {
		return nil, err
	}
	for i := range devices {
		s, err := a.Open(admethod.StreamSettings{
			Members: []driver.Member{{Key: driver.Key{Namespace: "default", Device: fmt.Sprint("d", i), Property: "p"}}},
			Deliver: func(r *driver.Result, row driver.Row) {
				value := -1
				if row != nil && r.Expected == row[0].Value {
					value = int(row[0].Value)
				}
				deliver(value, r.Message != "")
			},
			Dropped: dropped,
		})
		if err != nil {
			return nil, err
		}
		m.streams = append(m.streams, s)
	}
	return m, nil
}

func (m *mapper) submit(i int) {
	s := m.streams[i%devices]
	key := driver.Key{Namespace: "default", Device: fmt.Sprint("d", i%devices), Property: "p"}
	s.TrySubmit(driver.Row{{Key: key, At: time.Unix(int64(i), 0), Value: float64(i)}})
}

// mapperMain submits readings and writes the number of each that is answered to the file "answered". When each is
// answered or on disk it says so. It lives until it is killed.
func mapperMain() {
	ctx := context.Background()
	dir := os.Getenv(stateDir)
	answered, err := os.OpenFile(filepath.Join(dir, "answered"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		panic(err)
	}
	m, err := newMapper(ctx, os.Getenv(asMapper), dir,
		func(value int, _ bool) { fmt.Fprintln(answered, value) },
		func(n int) { fmt.Fprintln(answered, "dropped", n) })
	if err != nil {
		panic(err)
	}
	from, _ := strconv.Atoi(os.Getenv(firstOne))
	to, _ := strconv.Atoi(os.Getenv(afterLast))
	tick := time.NewTicker(10 * time.Millisecond)
	for i := from; i < to; {
		<-tick.C
		for end := min(i+500, to); i < end; i++ {
			m.submit(i)
		}
	}
	for memory := 1; memory > 0; {
		<-tick.C
		memory, _ = remote.Unkept(m.streams[0])
	}
	fmt.Println("kept")
	for waiting := 1; waiting > 0; {
		<-tick.C
		memory, disk := remote.Unkept(m.streams[0])
		waiting = memory + disk
	}
	fmt.Println("answered")
	<-ctx.Done()
}

func spawnDetector(t *testing.T, socket string) *proctest.Process {
	t.Helper()
	_ = os.Remove(socket)
	return proctest.Self(t, asDetector+"="+socket)
}

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func amount(light, full int) int {
	if os.Getenv(heavy) != "" {
		return full
	}
	return light
}

// While the detector is killed again and again, each reading is answered, and once.
func TestDetectorKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	readings, kills := amount(10_000, 100_000), amount(4, 20)
	socket := filepath.Join(t.TempDir(), "s")
	var mu sync.Mutex
	count := make([]int, readings)
	wrong, dropped, repeats := 0, 0, 0
	m, err := newMapper(t.Context(), socket, t.TempDir(), func(value int, repeat bool) {
		mu.Lock()
		defer mu.Unlock()
		if repeat {
			repeats++
		}
		if value < 0 || value >= readings {
			wrong++
			return
		}
		count[value]++
	}, func(n int) {
		mu.Lock()
		defer mu.Unlock()
		dropped += n
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for killed := range kills + 1 {
			d := spawnDetector(t, socket)
			if killed == kills {
				return
			}
			sleep(t, time.Duration(200+rand.IntN(500))*time.Millisecond)
			d.Kill()
			sleep(t, time.Duration(rand.IntN(400))*time.Millisecond)
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	perTick := readings / (kills * 100) // about half a second for each kill
	for i := 0; i < readings; {
		<-tick.C
		for end := min(i+perTick, readings); i < end; i++ {
			m.submit(i)
		}
	}
	wg.Wait()
	flush, cancel := context.WithTimeout(ctx, 2*time.Minute)
	if err := m.adapter.Flush(flush); err != nil {
		t.Error(err)
	}
	cancel()
	if err := m.adapter.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	stop()
	lost, twice := 0, 0
	for _, n := range count {
		if n == 0 {
			lost++
		} else if n > 1 {
			twice++
		}
	}
	t.Logf("%d readings, %d kills: %d lost, %d answered twice, %d dropped, %d wrong, %d repeats recognized", readings, kills, lost, twice, dropped, wrong, repeats)
	if lost+twice+dropped+wrong > 0 {
		t.Error("want each reading answered once")
	}
}

// A mapper that is killed loses nothing that is on disk, and at most the verdict that it was delivering is delivered
// again.
func TestMapperKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	rounds, perRound := amount(3, 10), amount(3000, 10_000)
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	var d *proctest.Process
	for round := range rounds {
		if round%2 == 1 { // killed while the rows of the round before are being sent
			d = spawnDetector(t, socket)
		}
		m := proctest.Self(t, asMapper+"="+socket, stateDir+"="+dir,
			firstOne+"="+strconv.Itoa(round*perRound), afterLast+"="+strconv.Itoa((round+1)*perRound))
		if line, err := m.Out.ReadString('\n'); line != "kept\n" {
			t.Fatalf("the mapper says %q, %v", line, err)
		}
		sleep(t, time.Duration(rand.IntN(100))*time.Millisecond)
		m.Kill()
		if d != nil {
			d.Kill()
		}
	}
	spawnDetector(t, socket)
	m := proctest.Self(t, asMapper+"="+socket, stateDir+"="+dir, firstOne+"=0", afterLast+"=0")
	for _, want := range []string{"kept\n", "answered\n"} {
		if line, err := m.Out.ReadString('\n'); line != want {
			t.Fatalf("the mapper says %q, %v", line, err)
		}
	}
	m.Kill()
	text, err := os.ReadFile(filepath.Join(dir, "answered"))
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int)
	for line := range strings.Lines(string(text)) {
		count[strings.TrimSpace(line)]++
	}
	lost, twice := 0, 0
	for i := range rounds * perRound {
		n := count[strconv.Itoa(i)]
		delete(count, strconv.Itoa(i))
		if n == 0 {
			lost++
		}
		twice += max(n-1, 0)
	}
	t.Logf("%d readings, %d kills: %d lost, %d verdicts delivered twice", rounds*perRound, rounds, lost, twice)
	if lost > 0 || twice > rounds || len(count) > 0 {
		t.Errorf("want none lost, at most one of each kill twice, and nothing else than %v", count)
	}
}

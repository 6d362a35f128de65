// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build unix

package detectserver_test

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/detectserver"
	"github.com/kubeedge/edge-anomaly/admethod/internal/faultproxy"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
)

// With delivery atLeastOnce each reading is answered, and once, with its own verdict, while the server is killed, is
// stopped for longer than the mapper waits, and its connections are cut. A server that stays alive learns none twice.
func TestEachReadingIsAnsweredOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	faults, readings := 6, 12_000
	if os.Getenv("EDGE_ANOMALY_HEAVY") != "" {
		faults, readings = 60, 100_000
	}
	t.Run("grpc", func(t *testing.T) {
		t.Parallel()
		answeredOnce(t, "grpc", readings, faults)
	})
	t.Run("http", func(t *testing.T) {
		t.Parallel()
		answeredOnce(t, "http", readings/2, faults/2)
	})
}

// sheet counts the verdicts on readings, of which each has its number as value.
type sheet struct {
	mu                    sync.Mutex
	counts                map[string][]int // by property
	other, unknown, wrong int
	dropped               int
	sample                driver.Result // of what is wrong
}

func (s *sheet) verdict(r *driver.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := s.counts[r.Key.Property]
	n := int(r.Value)
	switch {
	case n < 0 || n >= len(counts):
		s.other++
		s.sample = r.Clone()
		return
	case r.Severity != driver.Normal:
		s.unknown++
		s.sample = r.Clone()
	case !math.IsNaN(r.Expected) && r.Expected != r.Value:
		s.wrong++
		s.sample = r.Clone()
	}
	counts[n]++
}

func (s *sheet) missing() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, counts := range s.counts {
		for _, c := range counts {
			if c == 0 {
				n++
			}
		}
	}
	return n
}

// unused is an address where nobody listens.
func unused(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func answeredOnce(t *testing.T, name string, readings, faults int) {
	tallies := t.TempDir()
	child := detectserver.Child{Tally: tallies, Rate: -1}
	address := unused(t)
	if name == "grpc" {
		child.GRPC = address
	} else {
		child.HTTP = address
	}
	network := faultproxy.New(t, address)
	slow := faultproxy.Fault{Delay: 8 * time.Millisecond} // so that there is always something on its way
	network.Set(slow)
	server := detectserver.Spawn(t, child)

	const properties = 5
	s := &sheet{counts: make(map[string][]int)}
	h, err := pipeline.NewHandler(pipeline.Options{
		Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, StateDir: t.TempDir(), Replay: true,
		Hooks: admethod.Hooks{Verdict: s.verdict, Dropped: func(_ driver.Key, n int) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.dropped += n
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := &mapper{Handler: h}
	settings := map[string]any{
		"adMethodName": name, name + ".address": network.Addr(), name + ".insecure": true, name + ".delivery": "atLeastOnce",
		name + ".timeout": "500ms", name + ".backoff": "100ms", name + ".staleAfter": "1h", "detector": "tally",
	}
	var bindings []*pipeline.Binding
	for i := range properties {
		property := fmt.Sprint("p", i)
		bindings = append(bindings, m.bind(t, property, settings))
	}
	settings["detector"], settings["group"] = "tallyrows", "room"
	members := []*pipeline.Binding{m.bind(t, "light", settings), m.bind(t, "power", settings)}
	// Each number from 0 on is either a reading of one property or a row of the group.
	rows := readings / (properties + 1)
	s.mu.Lock()
	for i := range properties {
		s.counts[fmt.Sprint("p", i)] = make([]int, rows)
	}
	s.counts["light"], s.counts["power"] = make([]int, rows), make([]int, rows)
	s.mu.Unlock()

	flowing, flowed := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer flowed()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		perTick := max(rows/(faults*80), 1) // less than half a second for each fault
		for i := 0; i < rows; {
			<-tick.C
			for end := min(i+perTick, rows); i < end; i++ {
				at := began.Add(time.Duration(i) * time.Second)
				for _, b := range append(bindings, members...) {
					b.Observe(at, float64(i))
				}
			}
		}
	})
	kills := 0
	for fault := range faults {
		pause(t, 150+rand.IntN(200))
		switch fault % 3 {
		case 0:
			server.End(syscall.SIGKILL)
			kills++
			pause(t, rand.IntN(200))
			server = detectserver.Spawn(t, child)
		case 1:
			_ = server.Process.Signal(syscall.SIGSTOP)
			pause(t, 800)
			_ = server.Process.Signal(syscall.SIGCONT)
		case 2:
			for range 3 {
				network.Cut()
				pause(t, 40+rand.IntN(40))
			}
			network.Set(faultproxy.Fault{Delay: slow.Delay, Truncate: int64(20_000 + rand.IntN(20_000))})
			pause(t, 200)
			network.Set(slow)
		}
	}
	wg.Wait()
	<-flowing.Done()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := h.Flush(ctx); err != nil {
		t.Errorf("%d readings are not answered: %v", s.missing(), err)
	}
	if err := h.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	server.End(syscall.SIGTERM)

	lost, twice := 0, 0
	for _, counts := range s.counts {
		for _, c := range counts {
			if c == 0 {
				lost++
			}
			twice += max(c-1, 0)
		}
	}
	learned, relearned := learnedTwice(t, tallies, properties+1)
	t.Logf("%d verdicts, %d faults with %d kills: %d lost, %d answered twice, %d dropped, %d not judged, %d wrong, %d others; %d rows learned, %d of them twice by the same process",
		rows*(properties+2), faults, kills, lost, twice, s.dropped, s.unknown, s.wrong, s.other, learned, relearned)
	if lost+twice+s.dropped+s.unknown+s.wrong+s.other+relearned > 0 || learned < rows*(properties+1) {
		t.Errorf("want each reading answered once, and learned once; such as %+v", s.sample)
	}
}

// learnedTwice counts what the servers wrote down: a number belongs to as many series.
func learnedTwice(t *testing.T, dir string, series int) (learned, twice int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "tally-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		counts := make(map[int]int)
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			n, err := strconv.Atoi(lines.Text())
			if err != nil {
				t.Fatal(err)
			}
			counts[n]++
			learned++
		}
		_ = f.Close()
		for _, c := range counts {
			twice += max(c-series, 0)
		}
	}
	return learned, twice
}

func pause(tb testing.TB, milliseconds int) {
	tb.Helper()
	timer := time.NewTimer(time.Duration(milliseconds) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-tb.Context().Done():
	}
}

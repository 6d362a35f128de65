// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// plant is a mapper with one property that is observed at a steady pace. Each reading has a value of its own.
type plant struct {
	t       *testing.T
	handler *pipeline.Handler
	binding *pipeline.Binding
	state   string
	next    int

	mu      sync.Mutex
	count   map[int]int // verdicts of readings
	unknown []string    // messages of verdicts Unknown
	dropped int
}

func newPlant(t *testing.T, options map[string]any) *plant {
	t.Helper()
	p := &plant{t: t, count: make(map[int]int), state: t.TempDir()}
	p.start(options)
	return p
}

func (p *plant) start(options map[string]any) {
	p.t.Helper()
	adapters := new(admethod.AdapterRegistry)
	f := Factory()
	adapters.Register(f.Name, f)
	sinks := new(admethod.SinkRegistry)
	h, err := pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, Sinks: sinks, DefaultSinks: []string{}, StateDir: p.state, Mapper: "plant", Node: "edge-1",
		Hooks: admethod.Hooks{
			Verdict: func(r *driver.Result) {
				p.mu.Lock()
				defer p.mu.Unlock()
				if r.Severity == driver.Unknown {
					p.unknown = append(p.unknown, r.Message)
				}
				if r.Value == r.Value {
					p.count[int(r.Value)]++
				}
			},
			Dropped: func(_ driver.Key, n int) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.dropped += n
			},
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := h.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.handler = h
	all := map[string]any{
		"adMethodName": Name, "quality.missing": 0, "quality.late": 0, "grpc.delivery": "atLeastOnce", "grpc.insecure": true,
		"grpc.staleAfter": "500ms", "grpc.timeout": "1s", "grpc.backoff": "200ms",
	}
	maps.Copy(all, options)
	config, err := admethod.ParseSettings(all)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.binding, err = h.Bind(key, config, admethod.Meta{}); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), 20*time.Second)
		defer cancel()
		_ = h.Shutdown(ctx) // tests that want to know call it themselves
	})
}

// tail is how long the slowest of 100 and of 1,000 calls took.
type tail struct{ p99, p999 time.Duration }

// observe feeds readings for some time, ten each 10 ms as a mapper with a thousand properties would.
func (p *plant) observe(d time.Duration) tail {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var took []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		for range 10 {
			at := time.Now()
			p.binding.Observe(at, float64(p.next))
			took = append(took, time.Since(at))
			p.next++
		}
	}
	slices.Sort(took)
	return tail{took[len(took)*99/100], took[len(took)*999/1000]}
}

// until waits for a condition.
func (p *plant) until(what string, holds func() bool) {
	p.t.Helper()
	done := false
	defer func() {
		if !done {
			p.t.Logf("%d of %d answered, unknown: %.300q", len(p.count), p.next, p.unknown)
		}
	}()
	waittest.Eventually(p.t, what, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		done = holds()
		return done
	})
}

// complete waits until each reading has its verdict, and checks that none has two.
func (p *plant) complete() {
	p.t.Helper()
	p.until("verdicts on all readings", func() bool { return len(p.count) == p.next })
	p.mu.Lock()
	defer p.mu.Unlock()
	for value, n := range p.count {
		if n != 1 {
			p.t.Errorf("reading %d has %d verdicts", value, n)
		}
	}
	if p.dropped > 0 {
		p.t.Errorf("%d readings are dropped", p.dropped)
	}
}

// served is a detector in this process that answers each reading, and learns from each once.
type served struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	mu      sync.Mutex
	infos   []*pb.StreamInfo
	last    map[string]uint64
	repeats int
	wrong   []string
}

func (s *served) StreamDetect(stream pb.AnomalyDetectionService_StreamDetectServer) error {
	id, session := "", 0
	for {
		in, err := stream.Recv()
		if err != nil {
			return err
		}
		s.mu.Lock()
		if in.Stream != nil {
			id = in.Stream.StreamId
			s.infos = append(s.infos, in.Stream)
			session = len(s.infos)
		}
		if in.Sequence <= s.last[id] {
			s.repeats++
			// What the network held back of a session that was given up may come after the next one has begun.
			if in.Attempt == 0 && session == len(s.infos) {
				s.wrong = append(s.wrong, fmt.Sprintf("request %d comes again with attempt 0", in.Sequence))
			}
		}
		s.last[id] = max(s.last[id], in.Sequence)
		s.mu.Unlock()
		if err := stream.Send(&pb.AnomalyResponse{Status: "ok", Sequence: in.Sequence, Severity: pb.Severity_SEVERITY_NORMAL}); err != nil {
			return err
		}
	}
}

// serve serves on a port of its own until the test ends or stop is called.
func serve(t *testing.T, address string, options ...grpc.ServerOption) (s *served, at string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s = &served{last: make(map[string]uint64)}
	g := grpc.NewServer(options...)
	pb.RegisterAnomalyDetectionServiceServer(g, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(listener) })
	stop = sync.OnceFunc(func() {
		g.Stop()
		wg.Wait()
	})
	t.Cleanup(stop)
	return s, listener.Addr().String(), stop
}

// compare checks that observing is as quick during a fault as without one. The bound is wide, and on the slowest of 100
// calls: what it is to find is a call that waits for the network, a disk or a lock that is held meanwhile, and not that
// the machine is busy. BenchmarkObserve measures.
func compare(t *testing.T, before, during tail) {
	t.Helper()
	t.Logf("Observe, p99 and p99.9: %v before the fault, %v during it", before, during)
	if during.p99 > 20*before.p99+2*time.Millisecond {
		t.Errorf("Observe takes %v during the fault, %v before", during, before)
	}
}

const (
	calm  = 300 * time.Millisecond
	fault = 1200 * time.Millisecond
)

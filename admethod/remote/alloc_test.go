// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
)

// still is a detector in memory that answers, hangs or is absent, and allocates nothing.
type still struct{ does string }

func (still) Close() error { return nil }

func (d still) Open(ctx context.Context) (remote.Session, error) {
	if d.does == "absent" {
		return nil, errors.New("nobody is there")
	}
	return &stillSession{ctx: ctx, hangs: d.does == "hangs", asked: make(chan uint64, 8192)}, nil
}

type stillSession struct {
	ctx   context.Context
	hangs bool
	asked chan uint64
}

func (s *stillSession) Send(batch []remote.Request) error {
	for i := range batch {
		select {
		case s.asked <- batch[i].Sequence:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return nil
}

func (s *stillSession) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	asked := s.asked
	if s.hangs {
		asked = nil
	}
	select {
	case sequence := <-asked:
		return sequence, normal, nil
	case <-s.ctx.Done():
		return 0, nil, s.ctx.Err()
	}
}

func normal(_ *remote.Stream, r *driver.Result) { r.Judge(0.1, driver.KindNone) }

type stillConfig struct {
	remote.Config `param:""`
}

// Observe does not allocate, and neither does what comes after it, whatever the detector does.
func TestObserveDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("counts allocations")
	}
	for _, delivery := range []string{"latest", "atLeastOnce"} {
		for _, does := range []string{"answers", "hangs", "absent"} {
			t.Run(delivery+"/"+does, func(t *testing.T) { observeWithoutAllocation(t, delivery, does) })
		}
	}
}

func observeWithoutAllocation(t *testing.T, delivery, does string) {
	var judged, dropped atomic.Int64
	adapters := new(admethod.AdapterRegistry)
	adapters.Register("still", remote.Kind[stillConfig]{
		Name: "still", Defaults: func() stillConfig { return stillConfig{remote.DefaultConfig()} },
		Shared:    func(c *stillConfig) *remote.Config { return &c.Config },
		Transport: func(stillConfig, remote.Identity) (remote.Transport, error) { return still{does}, nil },
	}.Factory())
	h, err := pipeline.NewHandler(pipeline.Options{
		Adapters: adapters, Sinks: new(admethod.SinkRegistry), DefaultSinks: []string{}, StateDir: t.TempDir(), Replay: true,
		Hooks: admethod.Hooks{
			Verdict: func(*driver.Result) { judged.Add(1) },
			Dropped: func(_ driver.Key, n int) { dropped.Add(int64(n)) },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := sinktest.Watch(t, h, driver.Key{Namespace: "default", Device: "d", Property: "p"}, map[string]any{
		"adMethodName": "still", "still.address": "here", "still.insecure": true, "still.queue": 1024, "still.maxInFlight": 1024,
		"still.delivery": delivery, "still.spool.size": 1, "still.staleAfter": "1h", "still.timeout": "1h", "still.backoff": "1h",
	}, admethod.Meta{})
	began, n := time.Unix(1_700_000_000, 0), 0
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	observe := func(readings int) {
		for range readings {
			n++
			b.Observe(began.Add(time.Duration(n)*time.Millisecond), 21.5)
			// At the pace of the detector, or of a fast mapper.
			for n%256 == 0 {
				<-tick.C
				if does != "answers" || int64(n)-judged.Load()-dropped.Load() < 512 {
					break
				}
			}
		}
	}
	observe(20_000)
	var before, after runtime.MemStats
	const readings = 40_000
	for try := range 3 { // other parts of the process allocate now and then
		runtime.ReadMemStats(&before)
		observe(readings)
		runtime.ReadMemStats(&after)
		each := float64(after.Mallocs-before.Mallocs) / readings
		t.Logf("%.4f allocations for a reading", each)
		if each < 0.05 {
			break
		}
		if try == 2 {
			t.Errorf("%.3f allocations for a reading", each)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_ = h.Shutdown(ctx)
	if does == "answers" && dropped.Load() > 0 {
		t.Errorf("%d readings are dropped", dropped.Load())
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// fragile is a transport that panics now and then, wherever it is called.
type fragile struct {
	Transport
	calls *atomic.Int64
}

func (t *fragile) Open(ctx context.Context) (Session, error) {
	if t.calls.Add(1)%3 == 1 {
		panic("in Open")
	}
	s, err := t.Transport.Open(ctx)
	return &fragileSession{s, t.calls}, err
}

type fragileSession struct {
	Session
	calls *atomic.Int64
}

func (s *fragileSession) Send(batch []Request) error {
	err := s.Session.Send(batch)
	if s.calls.Add(1)%40 == 0 {
		panic("in Send")
	}
	return err
}

func (s *fragileSession) Receive() (uint64, func(*Stream, *driver.Result), error) {
	if s.calls.Add(1)%100 == 0 {
		panic("in Receive")
	}
	return s.Session.Receive()
}

// A panic in a goroutine of a link, be it the one that connects, sends or receives, ends its session; the link goes on,
// and each reading is judged once.
func TestPanicsOfALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		var calls atomic.Int64
		b := newBench(t, f, t.TempDir(), nil)
		kind := Kind[settings]{
			Name: "flaky", Defaults: func() settings { return settings{DefaultConfig()} },
			Shared:    func(c *settings) *Config { return &c.Config },
			Transport: func(_ settings, id Identity) (Transport, error) { return &fragile{f.with(id), &calls}, nil },
		}
		a, err := kind.Factory().New(admethod.AdapterSettings{
			Hooks: &admethod.Hooks{}, StateDir: t.TempDir(), Drivers: fallbacks(),
			Options: map[string]any{"address": "here", "insecure": true, "delivery": "atLeastOnce", "staleAfter": "1h", "backoff": "500ms"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.adapter.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.adapter = a
		s := b.open("s", 1)
		for i := 0; i < 2000; i += 20 {
			b.submit(s, i, i+20)
			<-time.After(100 * time.Millisecond)
		}
		b.flush(time.Hour)
		b.want("s", 0, 2000)
		b.shutdown()
		if calls.Load() < 200 {
			t.Errorf("%d calls: the test tests nothing", calls.Load())
		}
	})
}

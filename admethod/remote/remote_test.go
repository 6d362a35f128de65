// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) {
	if Child != nil {
		Child()
		return
	}
	goleak.VerifyTestMain(m)
}

// echo is a detector in memory that answers each row with its value, and may be away.
type echo struct {
	away     atomic.Bool
	sessions int
}

func (e *echo) Close() error { return nil }

func (e *echo) Open(ctx context.Context) (Session, error) {
	if e.away.Load() {
		return nil, errors.New("nobody is there")
	}
	e.sessions++
	return &echoSession{ctx: ctx, answers: make(chan answer, 4096)}, nil
}

type answer struct {
	sequence uint64
	value    float64
}

type echoSession struct {
	ctx     context.Context
	answers chan answer
}

func (s *echoSession) Send(batch []Request) error {
	for _, r := range batch {
		select {
		case s.answers <- answer{r.Sequence + uint64(len(r.Row)) - 1, r.Row[0].Value}:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
	return nil
}

func (s *echoSession) Receive() (uint64, func(*Stream, *driver.Result), error) {
	select {
	case a := <-s.answers:
		return a.sequence, func(_ *Stream, r *driver.Result) { r.Expected = a.value; r.Judge(0.1, driver.KindNone) }, nil
	case <-s.ctx.Done():
		return 0, nil, s.ctx.Err()
	}
}

type settings struct {
	Config `param:""`
}

func open(t *testing.T, e *echo, s admethod.StreamSettings) (admethod.Adapter, admethod.Stream) {
	t.Helper()
	kind := Kind[settings]{
		Name: "echo", Defaults: func() settings { return settings{DefaultConfig()} },
		Shared:    func(c *settings) *Config { return &c.Config },
		Transport: func(settings, Identity) (Transport, error) { return e, nil },
	}
	a, err := kind.Factory().New(admethod.AdapterSettings{
		Hooks: new(admethod.Hooks), Options: map[string]any{"address": "here", "insecure": true, "queue": 16, "staleAfter": "3s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Members = []driver.Member{{Key: driver.Key{Device: "d", Property: "p"}}}
	stream, err := a.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	return a, stream
}

func row(i int) driver.Row {
	return driver.Row{{Key: driver.Key{Device: "d", Property: "p"}, At: time.Unix(int64(i), 0), Value: float64(i)}}
}

// While the detector is away the newest readings wait, and those that are dropped are counted: without a lock, so that a
// hook may do as it likes.
func TestNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(echo)
		e.away.Store(true)
		dropped := 0
		var stream admethod.Stream
		var judged []int
		var unknown []driver.Result
		a, stream := open(t, e, admethod.StreamSettings{
			Dropped: func(n int) { dropped += n },
			Deliver: func(r *driver.Result, row driver.Row) {
				if r.Severity == driver.Unknown {
					unknown = append(unknown, r.Clone())
					return
				}
				if r.Expected != row[0].Value {
					t.Errorf("the verdict on %v was given to %v", r.Expected, row[0].Value)
				}
				judged = append(judged, int(r.Expected))
			},
		})
		lost := 0
		for i := range 40 {
			if !stream.TrySubmit(row(i)) {
				lost++
			}
		}
		<-time.After(time.Second) // who observes does not pay for counting
		synctest.Wait()
		if lost != 24 || dropped != 24 {
			t.Errorf("%d calls were refused and %d rows counted, want 24 of 40 in a queue of 16", lost, dropped)
		}
		<-time.After(10 * time.Second)
		if len(unknown) != 1 || unknown[0].Kind != driver.KindFailed || unknown[0].Message == "" {
			t.Errorf("while away: %+v, want one verdict that says why", unknown)
		}
		e.away.Store(false)
		if err := a.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := make([]int, 16)
		for i := range want {
			want[i] = 24 + i
		}
		if !slices.Equal(judged, want) {
			t.Errorf("judged %v, want the newest in order, %v", judged, want)
		}
		stream.Close()
		if stream.TrySubmit(row(41)) {
			t.Error("a closed stream takes rows")
		}
		if err := a.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A hook that submits, called for a row that is dropped, must not lock the link against itself.
func TestDroppedMaySubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := new(echo)
		e.away.Store(true)
		var stream admethod.Stream
		again := 0
		a, opened := open(t, e, admethod.StreamSettings{
			Deliver: func(*driver.Result, driver.Row) {},
			Dropped: func(int) {
				if again++; again < 5 {
					stream.TrySubmit(row(100))
				}
			},
		})
		stream = opened
		for i := range 17 {
			stream.TrySubmit(row(i))
		}
		if err := a.Shutdown(t.Context()); err == nil {
			t.Error("Shutdown with readings that nobody answered says nothing")
		}
		if again < 5 {
			t.Errorf("the hook was called %d times", again)
		}
	})
}

func TestConfigIsValidated(t *testing.T) {
	for name, set := range map[string]map[string]any{
		"no address":            {},
		"insecure with TLS":     {"address": "a", "insecure": true, "tls.ca": "ca.pem"},
		"a certificate, no key": {"address": "a", "tls.cert": "cert.pem"},
		"a token in plaintext":  {"address": "a", "insecure": true, "token": "t"},
	} {
		kind := Kind[settings]{
			Name: "echo", Defaults: func() settings { return settings{DefaultConfig()} },
			Shared:    func(c *settings) *Config { return &c.Config },
			Transport: func(settings, Identity) (Transport, error) { return &echo{}, nil },
		}
		a, err := kind.Factory().New(admethod.AdapterSettings{Hooks: new(admethod.Hooks), Options: set})
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Open(admethod.StreamSettings{Members: []driver.Member{{}}}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// flaky is a detector in memory that answers each row with its value. Its sessions end after some answers; answers come
// in any order where that is wanted. It checks what it is sent.
type flaky struct {
	t *testing.T

	mu       sync.Mutex
	away     bool
	lives    func() int // answers until a session ends
	shuffle  bool
	nameless bool              // answers carry no sequence
	silent   bool              // reads and never answers
	seen     map[string]uint64 // the highest sequence by stream ID and stream
	learned  map[string]int    // first-time requests by stream ID and sequence
	repeats  int
	opened   []string // stream IDs of the sessions
}

func (f *flaky) with(id Identity) *flakyTransport { return &flakyTransport{f, id.StreamID} }

type flakyTransport struct {
	f  *flaky
	id string
}

func (t *flakyTransport) Close() error { return nil }

func (t *flakyTransport) Open(ctx context.Context) (Session, error) {
	f := t.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return nil, errors.New("nobody is there")
	}
	lives := math.MaxInt
	if f.lives != nil {
		lives = f.lives()
	}
	f.opened = append(f.opened, t.id)
	return &flakySession{f: f, id: t.id, ctx: ctx, lives: lives, answers: make(chan answer, 1<<16), shuffle: f.shuffle}, nil
}

type flakySession struct {
	f       *flaky
	id      string
	ctx     context.Context
	lives   int
	shuffle bool
	answers chan answer
	held    []answer
}

func (s *flakySession) Send(batch []Request) error {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range batch {
		r := &batch[i]
		key := fmt.Sprintf("%s %s", s.id, r.Stream.Settings.ID())
		once := fmt.Sprintf("%s %d", s.id, r.Sequence)
		if r.Sequence > f.seen[key] {
			f.seen[key] = r.Sequence
		} else if f.learned[once] == 0 {
			f.t.Errorf("%s: %d was sent first after %d: a detector would take it for a repeat", key, r.Sequence, f.seen[key])
		}
		if f.learned[once] == 0 && r.Attempt > 0 {
			f.t.Errorf("%d is sent for the first time with attempt %d", r.Sequence, r.Attempt)
		}
		if f.learned[once]++; f.learned[once] > 1 {
			f.repeats++
			if r.Attempt == 0 {
				f.t.Errorf("%d is sent again with attempt 0", r.Sequence)
			}
		}
		if f.silent {
			continue
		}
		a := answer{r.Sequence + uint64(len(r.Row)) - 1, r.Row[0].Value}
		if f.nameless {
			a.sequence = 0
			for range len(r.Row) - 1 {
				s.answers <- a
			}
		}
		s.answers <- a
	}
	return s.ctx.Err()
}

func (s *flakySession) Receive() (uint64, func(*Stream, *driver.Result), error) {
	if s.lives--; s.lives < 0 {
		return 0, nil, errors.New("the detector was killed")
	}
	for s.shuffle && len(s.held) < 20 && len(s.answers) > 0 {
		s.held = append(s.held, <-s.answers)
	}
	var a answer
	if n := len(s.held); n > 0 {
		i := rand.IntN(n)
		a = s.held[i]
		s.held = slices.Delete(s.held, i, i+1)
	} else {
		select {
		case a = <-s.answers:
		case <-s.ctx.Done():
			return 0, nil, s.ctx.Err()
		}
	}
	return a.sequence, func(_ *Stream, r *driver.Result) { r.Expected = a.value; r.Judge(0.1, driver.KindNone) }, nil
}

func newFlaky(t *testing.T) *flaky {
	return &flaky{t: t, seen: make(map[string]uint64), learned: make(map[string]int)}
}

// bench is an adapter to a flaky detector, and what it delivered.
type bench struct {
	t       *testing.T
	adapter admethod.Adapter

	mu      sync.Mutex
	got     map[string][]int // values of the verdicts by stream, in order
	by      map[string]int   // verdicts by detector
	unknown int
	dropped int
	hooked  int
}

func newBench(t *testing.T, f *flaky, dir string, options map[string]any) *bench {
	t.Helper()
	b := &bench{t: t, got: make(map[string][]int), by: make(map[string]int)}
	all := map[string]any{"address": "here", "insecure": true, "delivery": "atLeastOnce", "staleAfter": "1h", "backoff": "500ms"}
	maps.Copy(all, options)
	kind := Kind[settings]{
		Name: "flaky", Defaults: func() settings { return settings{DefaultConfig()} },
		Shared:    func(c *settings) *Config { return &c.Config },
		Transport: func(_ settings, id Identity) (Transport, error) { return f.with(id), nil },
	}
	var err error
	b.adapter, err = kind.Factory().New(admethod.AdapterSettings{
		Hooks: &admethod.Hooks{Dropped: func(_ driver.Key, n int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.hooked += n
		}},
		Options: all, StateDir: dir, Drivers: fallbacks(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.adapter.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) open(name string, members int) admethod.Stream {
	b.t.Helper()
	return b.openIn("default", name, members, nil)
}

func (b *bench) openIn(namespace, name string, members int, options map[string]any) admethod.Stream {
	b.t.Helper()
	s := admethod.StreamSettings{
		Config: admethod.ADMethodConfig{Options: map[string]map[string]any{"flaky": options}},
		Deliver: func(r *driver.Result, row driver.Row) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if row == nil {
				b.unknown++
				return
			}
			if r.Detector == "" && r.Expected != row[0].Value {
				b.t.Errorf("the verdict on %v was given to %v", r.Expected, row[0].Value)
			}
			if row[0].Text != fmt.Sprint(row[0].Value) || row[0].At.Unix() != int64(row[0].Value) || row[0].Flags != driver.Late {
				b.t.Errorf("the row has changed: %+v", row[0])
			}
			b.by[r.Detector]++
			b.got[name] = append(b.got[name], int(row[0].Value))
		},
		Dropped: func(n int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.dropped += n
		},
	}
	if members > 1 {
		s.Group = namespace + "/" + name
	}
	for i := range members {
		s.Members = append(s.Members, driver.Member{Key: driver.Key{Namespace: namespace, Device: name, Property: fmt.Sprint("p", i)}})
	}
	stream, err := b.adapter.Open(s)
	if err != nil {
		b.t.Fatal(err)
	}
	return stream
}

func (b *bench) submit(s admethod.Stream, from, to int) {
	members := s.(*Stream).Settings.Members
	row := make(driver.Row, len(members))
	for i := from; i < to; i++ {
		for j := range row {
			row[j] = driver.Sample{
				Key: members[j].Key, At: time.Unix(int64(i), 0), Value: float64(i), Text: fmt.Sprint(i), Flags: driver.Late,
			}
		}
		s.TrySubmit(row)
	}
}

func (b *bench) flush(patience time.Duration) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := b.adapter.Flush(ctx); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) shutdown() {
	b.t.Helper()
	if err := b.adapter.Shutdown(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) want(name string, from, to int) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	want := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		want = append(want, i)
	}
	if got := slices.Sorted(slices.Values(b.got[name])); !slices.Equal(got, want) {
		b.t.Errorf("%s: got %d verdicts, want each of %d to %d once\n%s", name, len(got), from, to, cmp.Diff(want, got))
	}
	if b.dropped != 0 || b.hooked != 0 {
		b.t.Errorf("%d and %d readings are counted as dropped", b.dropped, b.hooked)
	}
}

func (b *bench) shutdownUnanswered() {
	b.t.Helper()
	if err := b.adapter.Shutdown(b.t.Context()); err != nil {
		b.t.Errorf("what is on disk is not lost: %v", err)
	}
}

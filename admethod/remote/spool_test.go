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
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
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
	s := admethod.StreamSettings{
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
		s.Group = "default/" + name
	}
	for i := range members {
		s.Members = append(s.Members, driver.Member{Key: driver.Key{Namespace: "default", Device: name, Property: fmt.Sprint("p", i)}})
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

// What comes while the detector is away is sent when it is back, in order, although there is no room for it in memory.
func TestOutage(t *testing.T) {
	for _, nameless := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFlaky(t)
			f.nameless = nameless
			b := newBench(t, f, t.TempDir(), map[string]any{"queue": 64, "maxInFlight": 100})
			one, group := b.open("one", 1), b.open("group", 3)
			b.submit(one, 0, 10)
			b.flush(time.Minute)
			f.mu.Lock()
			f.away = true
			f.lives = func() int { return 0 }
			f.mu.Unlock()
			for i := 10; i < 3000; i += 30 {
				b.submit(one, i, i+30)
				b.submit(group, i, i+30)
				<-time.After(100 * time.Millisecond)
			}
			f.mu.Lock()
			f.away, f.lives = false, nil
			f.mu.Unlock()
			b.flush(time.Minute)
			b.want("one", 0, 3010)
			b.want("group", 10, 3010)
			if !slices.IsSorted(b.got["one"]) || !slices.IsSorted(b.got["group"]) {
				t.Error("the verdicts are not in order")
			}
			b.submit(one, 3010, 3020)
			b.flush(time.Minute)
			b.want("one", 0, 3020)
			b.shutdown()
		})
	}
}

// Sessions that break at any moment, and answers in any order, lose nothing and deliver nothing twice.
func TestBrokenSessions(t *testing.T) {
	for _, c := range []struct {
		name              string
		shuffle, nameless bool
	}{{name: "in order"}, {name: "in any order", shuffle: true}, {name: "without sequences", nameless: true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t)
				f.shuffle, f.nameless = c.shuffle, c.nameless
				f.lives = func() int { return rand.IntN(400) }
				b := newBench(t, f, t.TempDir(), map[string]any{"queue": 200, "maxInFlight": 150})
				streams := []admethod.Stream{b.open("a", 1), b.open("b", 1), b.open("c", 2)}
				for i := 0; i < 4000; i += 20 {
					for _, s := range streams {
						b.submit(s, i, i+20)
					}
					<-time.After(time.Duration(60+rand.IntN(150)) * time.Millisecond)
				}
				b.flush(time.Hour)
				for _, name := range []string{"a", "b", "c"} {
					b.want(name, 0, 4000)
				}
				if f.repeats == 0 {
					t.Error("nothing was sent twice: the test tests nothing")
				}
				b.shutdown()
			})
		})
	}
}

// What is left at the end of a process is sent by the next, to streams that are opened again, when they are.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFlaky(t)
		f.lives = func() int { return 300 }
		streamIDs := make(map[string]bool)
		for round := range 4 {
			b := newBench(t, f, dir, map[string]any{"queue": 1024, "maxInFlight": 50, "spool.age": "10m"})
			if round == 3 {
				f.mu.Lock()
				f.away = false
				f.mu.Unlock()
			} else {
				f.mu.Lock()
				f.away = round > 0
				f.mu.Unlock()
			}
			early := b.open("early", 1)
			b.submit(early, round*1000, round*1000+500)
			<-time.After(2 * time.Second)
			late, group := b.open("late", 1), b.open("group", 2)
			if round == 0 {
				b.submit(b.open("never", 1), 0, 100)
				f.mu.Lock()
				f.silent = true
				f.mu.Unlock()
			}
			for i := round*1000 + 500; i < round*1000+1000; i += 20 {
				b.submit(early, i, i+20)
				b.submit(late, i, i+20)
				b.submit(group, i, i+20)
				<-time.After(200 * time.Millisecond)
			}
			if round < 3 {
				patience, cancel := context.WithTimeout(t.Context(), time.Second)
				if err := b.adapter.Shutdown(patience); err != nil {
					t.Error(err)
				}
				cancel()
				if round == 0 {
					f.mu.Lock()
					f.silent = false
					f.mu.Unlock()
				}
				if b.dropped+b.hooked > 0 {
					t.Errorf("round %d: %d and %d dropped", round, b.dropped, b.hooked)
				}
				for name := range b.got {
					f.mu.Lock()
					delivered[name] = append(delivered[name], b.got[name]...)
					f.mu.Unlock()
				}
				continue
			}
			b.flush(time.Hour)
			for name := range delivered {
				b.got[name] = append(b.got[name], delivered[name]...)
			}
			clear(delivered)
			b.want("early", 0, 4000)
			for _, name := range []string{"late", "group"} {
				slices.Sort(b.got[name])
				if len(b.got[name]) != 2000 || len(slices.Compact(b.got[name])) != 2000 {
					t.Errorf("%s: %d verdicts", name, len(b.got[name]))
				}
			}
			never := len(b.got["never"])
			<-time.After(20 * time.Minute) // older than the limit, and then a reading to have the segment left
			b.submit(early, 4000, 4001)
			<-time.After(20 * time.Minute)
			if b.hooked != 100-never {
				t.Errorf("%d readings of a stream that did not come back are counted as dropped, want %d", b.hooked, 100-never)
			}
			b.shutdown()
		}
		for _, id := range f.opened {
			streamIDs[id] = true
		}
		if len(streamIDs) != 1 {
			t.Errorf("%d stream IDs over restarts, want 1", len(streamIDs))
		}
	})
}

var delivered = make(map[string][]int) // by earlier processes

// While the disk is full the newest readings are kept in memory and the others counted; when there is room again they
// are kept on disk again.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.away = true
		b := newBench(t, f, dir, map[string]any{"queue": 64})
		s := b.open("s", 1)
		feed := func(from, to int) {
			for i := from; i < to; i += 20 {
				b.submit(s, i, i+20)
				<-time.After(200 * time.Millisecond)
			}
		}
		feed(0, 3000)
		b.mu.Lock()
		lost := b.dropped
		b.mu.Unlock()
		if lost == 0 || lost > 2900 {
			t.Fatalf("%d of 3000 readings are dropped, want those that neither disk nor memory has room for", lost)
		}
		if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 1<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
		_ = os.Remove(filepath.Join(dir, "x"))
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=16m"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		feed(3000, 6000)
		if b.dropped != lost {
			t.Errorf("%d more are dropped although there is room", b.dropped-lost)
		}
		f.mu.Lock()
		f.away = false
		f.mu.Unlock()
		b.flush(time.Hour)
		got := b.got["s"]
		if len(got) != 6000-lost || !slices.IsSorted(got) || len(slices.Compact(got)) != 6000-lost || got[len(got)-1] != 5999 {
			t.Errorf("%d verdicts and %d dropped of 6000", len(got), lost)
		}
		b.shutdown()
	})
}

// A spool that cannot be opened at first is used as soon as it can, with what an earlier process has left in it.
func TestSpoolThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFlaky(t)
		f.away = true
		first := newBench(t, f, dir, nil)
		first.submit(first.open("s", 1), 0, 1000)
		<-time.After(time.Second)
		second := newBench(t, f, dir, nil) // the spool is in use
		s := second.open("s", 1)
		second.submit(s, 1000, 2000)
		<-time.After(2 * time.Second)
		first.shutdownUnanswered()
		<-time.After(2 * time.Second)
		f.mu.Lock()
		f.away = false
		f.mu.Unlock()
		second.submit(s, 2000, 3000)
		<-time.After(5 * time.Second)
		second.flush(time.Hour)
		second.want("s", 0, 3000)
		if len(first.got["s"]) > 0 {
			t.Error("the first was answered")
		}
		second.shutdown()
	})
}

func (b *bench) shutdownUnanswered() {
	b.t.Helper()
	if err := b.adapter.Shutdown(b.t.Context()); err != nil {
		b.t.Errorf("what is on disk is not lost: %v", err)
	}
}

func TestSpoolNeedsADirectory(t *testing.T) {
	b := newBench(t, newFlaky(t), "", nil)
	if _, err := b.adapter.Open(admethod.StreamSettings{Members: make([]driver.Member, 1)}); err == nil {
		t.Error("atLeastOnce without a state directory is accepted")
	}
	b.shutdown()
}

func FuzzRow(f *testing.F) {
	members := []driver.Member{{Key: driver.Key{Device: "d", Property: "p"}}, {Key: driver.Key{Device: "d", Property: "q"}}}
	row := []driver.Sample{
		{Key: members[0].Key, At: time.Unix(5, 6), Value: math.Inf(1), Text: "high", Flags: driver.Late},
		{Key: members[1].Key, At: time.Unix(7, 8), Value: -1},
	}
	f.Add(appendRow(nil, "id", row))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		id, samples, err := cutRow(data)
		if err != nil {
			return
		}
		got, err := appendSamples(nil, samples, members)
		if err != nil {
			return
		}
		again := appendRow(nil, string(id), got)
		id2, samples, err := cutRow(again)
		if err != nil || string(id2) != string(id) {
			t.Fatalf("%q, %v", id2, err)
		}
		got2, err := appendSamples(nil, samples, members)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(got2) {
			t.Fatalf("%v, %v, %v", got, got2, err)
		}
	})
}

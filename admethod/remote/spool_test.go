// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

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

// What one namespace may keep on disk, and for how long, touches nothing of another's: neither while both wait for the
// detector, nor after a restart, when the one that keeps least comes first.
func TestSpoolsOfNamespaces(t *testing.T) {
	small := map[string]any{"spool.age": "2s", "spool.size": 1}
	for name, options := range map[string]map[string]any{"same settings": nil, "other settings": small} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				f := newFlaky(t)
				f.away = true
				var b *bench
				for restarted := range 2 {
					b = newBench(t, f, dir, map[string]any{"queue": 64, "spool.size": 1})
					greedy := b.openIn("greedy", "g", 1, options)
					if restarted == 0 {
						modest := b.open("modest", 1)
						for i := 0; i < 500; i += 20 {
							b.submit(modest, i, i+20)
							<-time.After(100 * time.Millisecond)
						}
					}
					<-time.After(time.Second)
					for i := 0; i < 30_000; i += 50 {
						b.submit(greedy, i, i+50)
						<-time.After(60 * time.Millisecond)
					}
					if restarted == 0 {
						b.shutdownUnanswered()
					}
				}
				modest := b.open("modest", 1)
				f.mu.Lock()
				f.away = false
				f.mu.Unlock()
				b.submit(modest, 500, 501)
				b.flush(time.Hour)
				if got := b.got["modest"]; len(got) != 501 {
					t.Errorf("%d of 501 readings of the modest namespace are judged, %d of the greedy one", len(got), len(b.got["g"]))
				}
				b.shutdown()
			})
		})
	}
}

// A spool that nobody uses is given up when this process has seen its own age pass, whatever the ages of others, and
// whatever the dates of its files.
func TestUnusedSpools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFlaky(t)
		f.away = true
		b := newBench(t, f, dir, map[string]any{"spool.age": "10m"})
		old := b.openIn("old", "o", 1, nil)
		b.submit(old, 0, 500)
		<-time.After(time.Second)
		b.shutdownUnanswered()
		spools := func() []string {
			found, err := filepath.Glob(filepath.Join(dir, "flaky-spool", "*"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		year := time.Now().Add(-365 * 24 * time.Hour) // as if the clock had been set to a year later
		if err := os.Chtimes(spools()[0], year, year); err != nil {
			t.Fatal(err)
		}
		b = newBench(t, f, dir, nil)
		b.openIn("new", "n", 1, map[string]any{"spool.age": "1s"})
		<-time.After(9 * time.Minute)
		givenUp := func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.hooked
		}
		if n := len(spools()); n != 2 || givenUp() > 0 {
			t.Fatalf("%d spools before its time, %d readings are given up", n, givenUp())
		}
		<-time.After(5 * time.Minute)
		if n := len(spools()); n != 1 || givenUp() != 500 {
			t.Errorf("%d spools after its time, %d readings are counted as given up, want 1 and 500", n, givenUp())
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

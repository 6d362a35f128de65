// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package spool

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

// childDir makes the test binary a process that appends to the log in that directory until it is killed.
const childDir = "SPOOL_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		appendForEver(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

const flag State = 2

var start = time.Unix(1_700_000_000, 0)

func options() Options { return Options{MaxBytes: MinBytes, MaxAge: time.Hour, Label: "first"} }

func open(tb testing.TB, dir string, o Options) *Log {
	tb.Helper()
	o.Damaged = func(err error) { tb.Errorf("damaged: %v", err) }
	l, err := Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	return l
}

func records(from, n, size int, at time.Time) []Record {
	out := make([]Record, n)
	for i := range out {
		data := bytes.Repeat([]byte{byte(from + i)}, size)
		out[i] = Record{ID: uint64(from + i), At: at, Data: data}
	}
	return out
}

func mustAppend(tb testing.TB, l *Log, rs []Record) []Pos {
	tb.Helper()
	places, err := l.Append(rs, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return places
}

// waiting reads the IDs of all records that are not done, in steps of the given number.
func waiting(tb testing.TB, l *Log, step int) []uint64 {
	tb.Helper()
	var ids []uint64
	buf := make([]byte, 64<<10)
	for at := (Pos{}); at.Before(l.End()); {
		n := 0
		next, err := l.Next(at, buf, func(_ Pos, r Record) bool {
			ids = append(ids, r.ID)
			for _, b := range r.Data {
				if b != byte(r.ID) {
					tb.Fatalf("record %d holds the data of another", r.ID)
				}
			}
			n++
			return n < step
		})
		if err != nil {
			tb.Fatal(err)
		}
		if !at.Before(next) {
			tb.Fatalf("stuck at %v", at)
		}
		at = next
	}
	return ids
}

func sequence(from, to int) []uint64 {
	var ids []uint64
	for i := from; i < to; i++ {
		ids = append(ids, uint64(i))
	}
	return ids
}

func TestRecordsComeBackInOrderUntilDone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	places := mustAppend(t, l, records(1, 100, 20, start))
	places = append(places, mustAppend(t, l, records(101, 100, 3, start))...)
	if err := l.SetMark(77); err != nil {
		t.Fatal(err)
	}
	want := sequence(1, 201)
	for i := range 200 {
		if i%3 == 0 {
			if err := l.Set(places[i], Done); err != nil {
				t.Fatal(err)
			}
			want = slices.DeleteFunc(want, func(id uint64) bool { return id == uint64(i+1) })
		}
	}
	if err := l.Set(places[1], flag); err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1, 7, 1000} {
		if got := waiting(t, l, step); !slices.Equal(got, want) {
			t.Errorf("in steps of %d: %v", step, got)
		}
	}
	if l.Waiting() != len(want) {
		t.Errorf("%d wait, want %d", l.Waiting(), len(want))
	}
	if _, err := Open(dir, options()); err == nil {
		t.Error("the log is opened twice")
	}
	if err := errors.Join(l.Sync(), l.Close()); err != nil {
		t.Fatal(err)
	}

	o := options()
	o.Label = "second"
	var found []uint64
	o.Found = func(_ Pos, r Record) {
		found = append(found, r.ID)
		if (r.State == flag) != (r.ID == 2) {
			t.Errorf("record %d has state %d", r.ID, r.State)
		}
	}
	l = open(t, dir, o)
	if !slices.Equal(found, want) || !slices.Equal(waiting(t, l, 50), want) {
		t.Errorf("after opening again: %v", found)
	}
	if l.Label() != "first" || l.Mark() != 77 {
		t.Errorf("label %q and mark %d", l.Label(), l.Mark())
	}
	mustAppend(t, l, records(201, 10, 5, start))
	if got := waiting(t, l, 64); !slices.Equal(got, append(want, sequence(201, 211)...)) {
		t.Errorf("after appending more: %v", got)
	}
}

func TestSegmentsThatAreDoneAreRemoved(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir, options())
	var places []Pos
	for i := range 100 {
		places = append(places, mustAppend(t, l, records(1+i*10, 10, 500, start))...)
	}
	for _, p := range places {
		if err := l.Set(p, Done); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, l, records(5000, 1, 1, start))
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix)); len(files) > 2 || l.Waiting() != 1 || l.Bytes() > MinBytes/8 {
		t.Errorf("%d files of %d bytes, %d records wait", len(files), l.Bytes(), l.Waiting())
	}
}

func TestTheOldestIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	o := options()
	var lost []uint64
	o.Lost = func(r Record) { lost = append(lost, r.ID) }
	l := open(t, dir, o)
	const n = 4000
	for i := 0; i < n; i += 20 {
		mustAppend(t, l, records(1+i, 20, 1000, start.Add(time.Duration(i)*time.Millisecond)))
		if l.Bytes() > MinBytes {
			t.Fatalf("%d bytes, want at most %d", l.Bytes(), MinBytes)
		}
	}
	kept := waiting(t, l, 100)
	if got := append(slices.Clone(lost), kept...); !slices.Equal(got, sequence(1, n+1)) {
		t.Errorf("%d lost and %d kept of %d, or not in order", len(lost), len(kept), n)
	}
	if float64(l.Bytes()) < 0.85*MinBytes {
		t.Errorf("%d bytes are kept of %d", l.Bytes(), MinBytes)
	}
	l.Trim(start.Add(n*time.Millisecond + time.Hour/2))
	if l.Waiting() != len(kept) {
		t.Error("records are given up before their time")
	}
	l.Trim(start.Add(n*time.Millisecond + time.Hour + time.Second))
	if l.Waiting() != 0 || len(lost) != n {
		t.Errorf("%d wait, %d lost, want 0 and %d", l.Waiting(), len(lost), n)
	}
	if _, err := l.Append([]Record{{Data: make([]byte, MinBytes)}}, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record as large as the log: %v", err)
	}
}

// Old records do not hide in a segment that young ones keep.
// Age is what was seen to pass while the log was open, by all processes together; what the clock on the wall, and so the
// dates of files, say meanwhile does not matter.
func TestAgeIsWhatWasSeenToPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := options() // an hour
		lost := 0
		o.Lost = func(Record) { lost++ }
		l := open(t, dir, o)
		mustAppend(t, l, records(1, 10, 20, time.Now()))
		wait := func(d time.Duration) {
			for range d / time.Minute {
				<-time.After(time.Minute)
				l.Trim(time.Now())
			}
		}
		wait(40 * time.Minute)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		<-time.After(365 * 24 * time.Hour) // nobody saw it, or the clock was wrong
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for i, name := range files {
			at := time.Now().Add(time.Duration(i*2-1) * 365 * 24 * time.Hour)
			if err := os.Chtimes(name, at, at); err != nil {
				t.Fatal(err)
			}
		}
		l = open(t, dir, o)
		var at time.Time
		if _, err := l.Next(Pos{}, make([]byte, 4096), func(_ Pos, r Record) bool { at = r.At; return false }); err != nil {
			t.Fatal(err)
		}
		if age := time.Since(at); age < 40*time.Minute || age > 41*time.Minute {
			t.Errorf("a record is %v old, want 40 minutes", age)
		}
		if wait(19 * time.Minute); lost != 0 {
			t.Errorf("%d records are given up before their time", lost)
		}
		if wait(3 * time.Minute); lost != 10 {
			t.Errorf("%d of 10 records are given up after their time", lost)
		}
		if age, err := Age(dir); age != time.Hour || err != nil {
			t.Errorf("age %v, %v", age, err)
		}
	})
}

func TestAgeOfALogThatGrowsSlowly(t *testing.T) {
	lost := 0
	o := options()
	o.Lost = func(Record) { lost++ }
	l := open(t, t.TempDir(), o)
	for i := range 180 { // three hours
		now := start.Add(time.Duration(i) * time.Minute)
		l.Trim(now)
		mustAppend(t, l, records(i, 1, 10, now))
	}
	if n := l.Waiting(); n < 60 || n > 66 || lost != 180-n {
		t.Errorf("%d wait and %d were given up, want the last hour of three", n, lost)
	}
}

func TestDamage(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut off in a record": func(b []byte) []byte { return b[:len(b)-7] },
		"cut off in a header": func(b []byte) []byte { return b[:len(b)-40] },
		"a flipped bit":       func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"a strange header":    func(b []byte) []byte { b[0]++; return b },
		"zeroes at the end":   func(b []byte) []byte { return append(b, make([]byte, 4096)...) },
		"empty":               func([]byte) []byte { return nil },
		"a length of 4 GiB":   func(b []byte) []byte { copy(b[headerSize+lengthOffset:], "\xff\xff\xff\xff"); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, dir, options())
			mustAppend(t, l, records(1, 100, 20, start))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			files, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
			data, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(files[0], damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err = Open(dir, options())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			got := waiting(t, l, 10)
			if !slices.Equal(got, sequence(1, len(got)+1)) || len(got) == 100 && name != "zeroes at the end" {
				t.Errorf("%v", got)
			}
			mustAppend(t, l, records(101, 5, 20, start))
			if after := waiting(t, l, 10); !slices.Equal(after, append(got, sequence(101, 106)...)) {
				t.Errorf("appended behind the damage: %v", after)
			}
		})
	}
	t.Run("meta", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, dir, options())
		mustAppend(t, l, records(1, 3, 20, start))
		_ = l.Close()
		if err := os.WriteFile(filepath.Join(dir, "meta"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := options()
		told := 0
		o.Label, o.Damaged = "new", func(error) { told++ }
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if l.Label() != "new" || l.Waiting() != 3 || told != 1 {
			t.Errorf("label %q, %d wait, told %d times", l.Label(), l.Waiting(), told)
		}
	})
}

// appendForEver appends batches, marks some records of each as done, and says so after each batch.
func appendForEver(dir string) {
	o := options()
	o.MaxBytes = 256 << 20
	l, err := Open(dir, o)
	if err != nil {
		panic(err)
	}
	next := l.Mark()
	for {
		rs := records(int(next), 50, 30, time.Now())
		places, err := l.Append(rs, nil)
		if err != nil {
			panic(err)
		}
		next += 50
		if err := l.SetMark(next); err != nil {
			panic(err)
		}
		for i := 0; i < 50; i += 2 {
			if err := l.Set(places[i], Done); err != nil {
				panic(err)
			}
		}
		fmt.Println(next)
	}
}

// What was appended before a kill is there after it, and what was done is done.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	const rounds = 5
	said := 0
	for range rounds {
		p := proctest.Self(t, childDir+"="+dir)
		var text []byte
		buf := make([]byte, 64)
		lines := 5 + rand.IntN(20)
		for bytes.Count(text, []byte("\n")) < lines {
			n, err := p.Out.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, buf[:n]...)
		}
		p.Kill()
		whole := strings.Split(strings.TrimSpace(string(text[:bytes.LastIndexByte(text, '\n')])), "\n")
		var err error
		if said, err = strconv.Atoi(whole[len(whole)-1]); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir, options())
	got := waiting(t, l, 1000)
	open := 0 // to be done by a process that was killed right then
	for id := range uint64(said) {
		switch _, there := slices.BinarySearch(got, id); {
		case id%2 == 1 && !there:
			t.Fatalf("record %d of %d is lost", id, said)
		case id%2 == 0 && there:
			open++
		}
	}
	if open > rounds*25 {
		t.Errorf("%d records were done and are not any more", open)
	}
}

// On a full disk appending fails and harms nothing; marking works; appending works again when there is room.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("needs root on Linux to mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	l := open(t, dir, options())
	defer l.Close()
	var places []Pos
	var err error
	n := 0
	for err == nil {
		var more []Pos
		if more, err = l.Append(records(n, 10, 300, start), nil); err == nil {
			places, n = append(places, more...), n+10
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || n == 0 {
		t.Fatalf("after %d records: %v", n, err)
	}
	if got := waiting(t, l, 100); !slices.Equal(got, sequence(0, n)) {
		t.Errorf("%v", got)
	}
	if err := l.SetMark(9); err != nil {
		t.Errorf("mark: %v", err)
	}
	for _, p := range places {
		if err := l.Set(p, Done); err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, l, records(n, 10, 300, start))
	if got := waiting(t, l, 100); !slices.Equal(got, sequence(n, n+10)) {
		t.Errorf("when there is room again: %v", got)
	}
}

func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	l := open(f, dir, options())
	mustAppend(f, l, records(1, 3, 20, start))
	_ = l.Close()
	data, err := os.ReadFile(filepath.Join(dir, fileName(1)))
	if err != nil {
		f.Fatal(err)
	}
	meta, err := os.ReadFile(filepath.Join(dir, "meta"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, meta)
	f.Add(data[:30], meta[:20])
	f.Fuzz(func(t *testing.T, data, meta []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{fileName(1): data, "meta": meta} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		found := 0
		o := options()
		o.Found = func(Pos, Record) { found++ }
		l, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n := 0
		for at := (Pos{}); at.Before(l.End()); {
			at, err = l.Next(at, make([]byte, 64<<10), func(p Pos, _ Record) bool {
				n++
				if err := l.Set(p, Done); err != nil {
					t.Error(err)
				}
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if n != found || l.Waiting() != 0 {
			t.Errorf("%d found, %d read, %d wait after all are done", found, n, l.Waiting())
		}
	})
}

func BenchmarkAppendAndDone(b *testing.B) {
	l := open(b, b.TempDir(), Options{MaxBytes: 1 << 30, MaxAge: time.Hour})
	rs := records(0, 256, 80, start)
	var places []Pos
	var err error
	for b.Loop() {
		if places, err = l.Append(rs, places); err != nil {
			b.Fatal(err)
		}
		for _, p := range places {
			if err := l.Set(p, Done); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(rs)), "ns/record")
}

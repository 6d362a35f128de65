// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

func TestTornEndIsCutOff(t *testing.T) {
	dir := t.TempDir()
	var entries []store.Entry
	for i := range 300 { // three frames
		entries = append(entries, entry("light-1", i))
	}
	record(t, dir, store.Settings{}, entries...)
	name := files(t, dir, "*.log")[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{len(whole), len(whole) - 1, len(whole) / 2, 9, 8, 7, 0} {
		if err := os.WriteFile(name, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got := scan(t, dir, store.Query{})
		if len(got) != 300 && len(got)%128 != 0 || n == len(whole) && len(got) != 300 || n < 10 && len(got) != 0 {
			t.Errorf("%d of %d bytes: %d readings", n, len(whole), len(got))
		}
		if diff := cmp.Diff(entries[:len(got)], got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%d of %d bytes (-want +got):\n%s", n, len(whole), diff)
		}
	}
	// A flipped bit ends it as well.
	flipped := bytes.Clone(whole)
	flipped[len(flipped)-3] ^= 4
	if err := os.WriteFile(name, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	reseal(t, dir)
	if got := scan(t, dir, store.Query{}); len(got) != 256 {
		t.Errorf("%d readings after a flipped bit in the third frame, want 256", len(got))
	}
}

// recordForever mirrors 10,000 readings a second and tells, each hundredth of one, how many it has taken and lost. Most
// of the readings get a verdict.
func recordForever(dir string) {
	rows, err := strconv.Atoi(os.Getenv(childRows))
	if err != nil {
		panic(err)
	}
	s, err := store.Open(dir, store.Settings{SegmentRows: rows})
	if err != nil {
		panic(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began, i := time.Now(), 0; ; {
		<-tick.C
		for until := int(time.Since(began) / (100 * time.Microsecond)); i < until; {
			e := entry("light-"+strconv.Itoa(i%500), i)
			verdict := e
			e.Severity, e.Score = "", math.NaN()
			s.Mirror(e, true)
			if i%10 != 0 {
				s.Judge(verdict)
			}
			i++
		}
		fmt.Println(i, time.Now().UnixNano(), s.Stats().Lost) // the parent's end closes the pipe
	}
}

type told struct{ count, at, lost int64 }

// child runs recordForever in a process of its own until more says no to what it tells; then kills it, with SIGKILL.
func child(t *testing.T, dir string, segmentRows int, more func(all []told, pid int) bool) (all []told) {
	t.Helper()
	p := proctest.Self(t, childDir+"="+dir, childRows+"="+strconv.Itoa(segmentRows))
	lines := bufio.NewScanner(p.Out)
	for lines.Scan() {
		var l told
		if _, err := fmt.Sscan(lines.Text(), &l.count, &l.at, &l.lost); err != nil {
			t.Fatal(err)
		}
		if all = append(all, l); !more(all, p.ID()) {
			break
		}
	}
	p.Signal(t, syscall.SIGKILL)
	for lines.Scan() {
	}
	p.Kill()
	return all
}

func TestKilledRecorderLosesAtMostASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	all := child(t, dir, 4000, func(all []told, _ int) bool {
		return all[len(all)-1].at-all[0].at <= int64(3*time.Second)
	})
	last := all[len(all)-1]
	if last.lost > 0 {
		t.Errorf("%d readings were lost before", last.lost)
	}
	var must int64 // what was taken a second before the end
	for _, l := range all {
		if l.at <= last.at-int64(time.Second) {
			must = l.count
		}
	}
	reseal(t, dir)
	seen := make(map[int64]bool)
	judged := 0
	for _, e := range scan(t, dir, store.Query{}) {
		if seen[int64(e.Value)] {
			t.Fatalf("reading %v is there twice", e.Value)
		}
		seen[int64(e.Value)] = true
		if e.Severity != "" {
			judged++
		}
	}
	for i := range must {
		if !seen[i] {
			t.Fatalf("reading %d is lost; %d were taken a second before the end, of %d", i, must, last.count)
		}
	}
	if least := len(seen) * 9 / 10; judged < least-1 {
		t.Errorf("%d of %d readings have their verdict, want %d", judged, len(seen), least)
	}
	t.Logf("taken %d, a second before %d, recovered %d", last.count, must, len(seen))
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skip("cannot mount a small file system:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	states := make(chan error, 64)
	s, err := store.Open(dir, store.Settings{FlushEvery: 5 * time.Millisecond, State: func(err error) { states <- err }})
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	add := func() { s.Add(entry("light", i)); i++ }
	add()
	waittest.Eventually(t, "the first is written", func() bool { return s.Stats().Written == 1 })
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, io.LimitReader(zeros{}, 1<<20)); err == nil {
		t.Fatal("the disk is not full")
	}
	f.Close()
	waittest.Eventually(t, "readings are lost", func() bool { add(); st := s.Stats(); return st.Err != nil && st.Lost > 0 })
	if err := <-states; err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("state is %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	waittest.Eventually(t, "it works again", func() bool { add(); return s.Stats().Err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if got := scan(t, dir, store.Query{}); uint64(len(got)) != st.Written || st.Written+st.Lost != uint64(i) {
		t.Errorf("%d readings are there; stats %+v of %d", len(got), st, i)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

// What takes minutes and a gigabyte of disk runs where EDGE_ANOMALY_HEAVY is set.
func heavy(t *testing.T) {
	t.Helper()
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("EDGE_ANOMALY_HEAVY is not set")
	}
}

// within measures up to three times, as others may use the machine too, and returns the shortest.
func within(t *testing.T, limit time.Duration, what func()) time.Duration {
	t.Helper()
	shortest := time.Duration(math.MaxInt64)
	for range 3 {
		began := time.Now()
		what()
		if shortest = min(shortest, time.Since(began)); shortest <= limit {
			break
		}
	}
	return shortest
}

// Ten million readings are exported at half a million a second, in memory that does not grow with them, and a day of one
// device among them is found within a second.
func TestTenMillion(t *testing.T) {
	heavy(t)
	const (
		n        = 10_000_000
		devices  = 1000
		perSec   = 500_000
		mostHeap = 128 << 20
	)
	dir := t.TempDir()
	began := time.Now()
	fill(t, dir, n, devices)
	t.Logf("recorded %d in %s", n, time.Since(began))

	file := filepath.Join(t.TempDir(), "out.parquet")
	var heap uint64
	took := within(t, n*time.Second/perSec, func() {
		heap = 0
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		progress := func(int64, int64, int) {
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			heap = max(heap, mem.HeapInuse)
		}
		runtime.GC()
		got, err := store.Export(t.Context(), out, dir, store.Query{}, store.ExportOptions{Format: store.Parquet, Progress: progress})
		if err != nil || got != n {
			t.Fatalf("exported %d, error %v", got, err)
		}
	})
	t.Logf("exported in %s: %.0f rows/s; heap %d MiB at most", took, n/took.Seconds(), heap>>20)
	if rate := n / took.Seconds(); rate < perSec {
		t.Errorf("%.0f rows/s, want %d", rate, perSec)
	}
	if heap > mostHeap {
		t.Errorf("heap of %d MiB, want at most %d", heap>>20, mostHeap>>20)
	}

	var day []store.Entry
	took = within(t, time.Second, func() {
		day = scan(t, dir, store.Query{Device: "light-0500", From: start, To: start.Add(24 * time.Hour)})
	})
	t.Logf("a day of one device: %d readings in %s", len(day), took)
	if len(day) != 1440 || took > time.Second {
		t.Errorf("%d readings in %s, want 1440 in at most a second", len(day), took)
	}
}

// fill records readings of many devices, one a minute of each.
func fill(t *testing.T, dir string, n, devices int) {
	t.Helper()
	s, err := store.Open(dir, store.Settings{Queue: 64 << 10, FlushEvery: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	wait := time.NewTicker(5 * time.Millisecond)
	defer wait.Stop()
	names := make([]string, devices)
	for i := range names {
		names[i] = fmt.Sprintf("light-%04d", i)
	}
	for i := 0; i < n; {
		e := entry(names[i%devices], i/devices*60)
		e.Value = math.Sin(float64(i) / 1000)
		if i%8192 == 0 && s.Stats().Written+32<<10 < uint64(i) {
			<-wait.C
			continue
		}
		if s.Add(e) {
			i++
		} else {
			<-wait.C
		}
	}
	for len(files(t, dir, "*.log")) > 1 {
		<-wait.C
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A process that records 10,000 readings a second, with their verdicts, sealing included, stays within 64 MiB.
func TestMemory(t *testing.T) {
	heavy(t)
	const most = 64 << 10 // KiB
	resident := 0
	all := child(t, t.TempDir(), 0, func(all []told, pid int) bool {
		if all[len(all)-1].count < 400_000 { // several logs are sealed by then
			return true
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Skip(err)
		}
		for line := range strings.Lines(string(status)) {
			if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				if _, err := fmt.Sscanf(kib, "%d kB", &resident); err != nil {
					t.Fatal(err)
				}
			}
		}
		return false
	})
	last := all[len(all)-1]
	t.Logf("resident at most: %d KiB, of the test program too; %d readings in %s, %d lost",
		resident, last.count, time.Duration(last.at-all[0].at), last.lost)
	rate := float64(last.count-all[0].count) / (float64(last.at-all[0].at) / 1e9)
	if resident == 0 || resident > most || last.lost > 0 || rate < 9900 {
		t.Errorf("want at most %d KiB, none lost and 10,000 readings/s", most)
	}
}

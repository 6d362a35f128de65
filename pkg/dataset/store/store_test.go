// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
)

const childDir = "STORE_TEST_DIR" // set: the process is a recorder that is killed

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		recordForever(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var start = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

func entry(device string, i int) store.Entry {
	return store.Entry{
		Namespace: "default", Device: device, Property: "temperature", At: start.Add(time.Duration(i) * time.Second),
		Value: float64(i), Severity: "normal", Score: 0.25,
	}
}

// record writes entries and closes the store.
func record(t testing.TB, dir string, set store.Settings, entries ...store.Entry) {
	t.Helper()
	s, err := store.Open(dir, set)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !s.Add(e) {
			t.Fatal("no room in the queue")
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func scan(t testing.TB, dir string, q store.Query) (got []store.Entry) {
	t.Helper()
	err := store.Scan(t.Context(), dir, q, func(batch []store.Entry) error {
		got = append(got, batch...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// eventually polls until what is asked for is so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("timed out: %s", what)
		case <-tick.C:
		}
	}
}

func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// reseal opens the store until its logs are sealed.
func reseal(t testing.TB, dir string) {
	t.Helper()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "logs are sealed", func() bool { return len(files(t, dir, "*.log")) == 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestScanFindsTheSameInLogsAndSegments(t *testing.T) {
	dir := t.TempDir()
	odd := store.Entry{
		Namespace: "plant", Device: "door-1", Property: "state", At: start.Add(time.Nanosecond), Value: math.NaN(),
		Text: "open, \"wide\"", Severity: "critical", Score: math.NaN(), Kind: "state",
	}
	plain := store.Entry{Namespace: "plant", Device: "light-2", Property: "lux", At: start.Add(time.Hour), Value: -1.5, Score: math.NaN()}
	record(t, dir, store.Settings{}, entry("light-1", 0), odd, entry("light-1", 1), plain)
	if err := store.AddLabel(dir, store.Label{Device: "light-*", From: start.Add(time.Second), To: start.Add(2 * time.Second), Label: "anomaly"}); err != nil {
		t.Fatal(err)
	}
	labelled := entry("light-1", 1)
	labelled.Label = "anomaly"
	check := func(t *testing.T) {
		for name, c := range map[string]struct {
			q    store.Query
			want []store.Entry
		}{
			"all":       {store.Query{}, []store.Entry{odd, entry("light-1", 0), labelled, plain}},
			"device":    {store.Query{Device: "light-1"}, []store.Entry{entry("light-1", 0), labelled}},
			"glob":      {store.Query{Device: "light-*"}, []store.Entry{entry("light-1", 0), labelled, plain}},
			"suffix":    {store.Query{Device: "*-2"}, []store.Entry{plain}},
			"namespace": {store.Query{Namespace: "plant"}, []store.Entry{odd, plain}},
			"property":  {store.Query{Property: "lux"}, []store.Entry{plain}},
			"time":      {store.Query{From: start.Add(1), To: start.Add(time.Hour)}, []store.Entry{odd, labelled}},
			"verdict":   {store.Query{Verdicts: []string{"critical", "none"}}, []store.Entry{odd, plain}},
			"label":     {store.Query{Label: "anom*"}, []store.Entry{labelled}},
			"nothing":   {store.Query{Device: "lamp"}, nil},
		} {
			got := scan(t, dir, c.q)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateNaNs(), cmpopts.SortSlices(func(a, b store.Entry) bool {
				return a.Device+a.At.String() < b.Device+b.At.String()
			})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	t.Run("log", check)
	reseal(t, dir)
	if len(files(t, dir, "*.parquet")) != 1 {
		t.Fatalf("want one segment, have %v", files(t, dir, "*"))
	}
	t.Run("segment", check)
}

func TestQueryIsRefused(t *testing.T) {
	for name, q := range map[string]store.Query{
		"pattern": {Device: "light-["},
		"verdict": {Verdicts: []string{"bad"}},
		"times":   {From: start, To: start},
	} {
		if err := store.Scan(t.Context(), t.TempDir(), q, func([]store.Entry) error { return nil }); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

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

func TestRetention(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		record(t, dir, store.Settings{}, entry("light-"+strconv.Itoa(i), i))
		reseal(t, dir)
	}
	if n := len(files(t, dir, "*.parquet")); n != 3 {
		t.Fatalf("%d segments, want 3", n)
	}
	info, err := os.Stat(files(t, dir, "*.parquet")[0])
	if err != nil {
		t.Fatal(err)
	}
	// By size: two stay.
	s, err := store.Open(dir, store.Settings{MaxBytes: info.Size()*2 + info.Size()/2})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the oldest is removed", func() bool { return len(files(t, dir, "*.parquet")) == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir, store.Query{}); len(got) != 2 || got[0].Device != "light-1" {
		t.Errorf("what stayed: %v", got)
	}
	// By age: one that is new stays.
	fresh := entry("new", 0)
	fresh.At = time.Now()
	record(t, dir, store.Settings{}, fresh)
	reseal(t, dir)
	if s, err = store.Open(dir, store.Settings{MaxAge: time.Minute * 10, FlushEvery: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old ones are removed", func() bool { return len(files(t, dir, "*.parquet")) <= 1 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir, store.Query{}); time.Since(start) > time.Hour && (len(got) != 1 || got[0].Device != "new") {
		t.Errorf("what stayed: %v", got)
	}
}

func TestOneRecorderAtATime(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, store.Settings{}); err == nil || !strings.Contains(err.Error(), "another recorder") {
		t.Errorf("error of the second is %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	s, err := store.Open(t.TempDir(), store.Settings{Queue: 2, FlushEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if room := s.Add(entry("a", i)); room != (i < 2) {
			t.Errorf("reading %d: room %v", i, room)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Lost != 3 || st.Written != 2 {
		t.Errorf("stats %+v, want 2 written, 3 lost", st)
	}
}

func TestReadersWorkWhileRecording(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Settings{SegmentRows: 200, FlushEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	for i := range n {
		if !s.Add(entry("light", i)) {
			t.Fatal("no room")
		}
		if i%500 == 0 {
			before := s.Stats().Written
			if got := scan(t, dir, store.Query{}); uint64(len(got)) < before {
				t.Fatalf("%d readings, %d were written before", len(got), before)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[float64]int)
	for _, e := range scan(t, dir, store.Query{}) {
		seen[e.Value]++
	}
	for i := range n {
		if seen[float64(i)] != 1 {
			t.Fatalf("reading %d is there %d times", i, seen[float64(i)])
		}
	}
}

// recordForever records 10,000 readings a second and tells each second's worth of what it took.
func recordForever(dir string) {
	s, err := store.Open(dir, store.Settings{SegmentRows: 4000})
	if err != nil {
		panic(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; {
		<-tick.C
		for range 100 {
			s.Add(entry("light-"+strconv.Itoa(i%50), i))
			i++
		}
		fmt.Println(i, time.Now().UnixNano()) // the parent's end closes the pipe
	}
}

func TestKilledRecorderLosesAtMostASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	type told struct{ count, at int64 }
	var all []told
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var l told
		if _, err := fmt.Sscan(lines.Text(), &l.count, &l.at); err != nil {
			t.Fatal(err)
		}
		if all = append(all, l); l.at-all[0].at > int64(3*time.Second) {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	_ = cmd.Wait() // killed
	last := all[len(all)-1]
	var must int64 // what was taken a second before the end
	for _, l := range all {
		if l.at <= last.at-int64(time.Second) {
			must = l.count
		}
	}
	reseal(t, dir)
	seen := make(map[int64]bool)
	for _, e := range scan(t, dir, store.Query{}) {
		if seen[int64(e.Value)] {
			t.Fatalf("reading %v is there twice", e.Value)
		}
		seen[int64(e.Value)] = true
	}
	for i := range must {
		if !seen[i] {
			t.Fatalf("reading %d is lost; %d were taken a second before the end, of %d", i, must, last.count)
		}
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
	eventually(t, "the first is written", func() bool { return s.Stats().Written == 1 })
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, io.LimitReader(zeros{}, 1<<20)); err == nil {
		t.Fatal("the disk is not full")
	}
	f.Close()
	eventually(t, "readings are lost", func() bool { add(); st := s.Stats(); return st.Err != nil && st.Lost > 0 })
	if err := <-states; err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("state is %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it works again", func() bool { add(); return s.Stats().Err == nil })
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

func TestExport(t *testing.T) {
	dir := t.TempDir()
	b := entry("b", 0)
	b.Property, b.Value, b.Text = "state", math.NaN(), "open"
	record(t, dir, store.Settings{}, entry("a", 0), entry("a", 1), b)
	if err := store.AddLabel(dir, store.Label{Device: "a", From: start, To: start.Add(time.Second), Label: "anomaly"}); err != nil {
		t.Fatal(err)
	}
	for format, want := range map[string]string{
		store.CSV: "time,namespace,device,property,value,text,severity,score,kind,label\n" +
			"2026-03-01T00:00:00Z,default,a,temperature,0,,normal,0.25,,anomaly\n" +
			"2026-03-01T00:00:01Z,default,a,temperature,1,,normal,0.25,,\n" +
			"2026-03-01T00:00:00Z,default,b,state,,open,normal,0.25,,\n",
		store.WideCSV: "time,a/temperature,b/state,label\n2026-03-01T00:00:00Z,0,open,anomaly\n2026-03-01T00:00:01Z,1,,\n",
		store.JSON: `{"time":"2026-03-01T00:00:00Z","namespace":"default","device":"a","property":"temperature","value":0,"severity":"normal","score":0.25,"label":"anomaly"}` + "\n" +
			`{"time":"2026-03-01T00:00:01Z","namespace":"default","device":"a","property":"temperature","value":1,"severity":"normal","score":0.25}` + "\n" +
			`{"time":"2026-03-01T00:00:00Z","namespace":"default","device":"b","property":"state","value":null,"text":"open","severity":"normal","score":0.25}` + "\n",
	} {
		var out strings.Builder
		n, err := store.Export(t.Context(), &out, dir, store.Query{}, store.ExportOptions{Format: format})
		if err != nil || n != 3 {
			t.Fatalf("%s: %d readings, error %v", format, n, err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
	var out bytes.Buffer
	if _, err := store.Export(t.Context(), &out, dir, store.Query{Device: "a"}, store.ExportOptions{Format: store.Parquet}); err != nil {
		t.Fatal(err)
	}
	type columns struct {
		Device string  `parquet:"device"`
		Value  float64 `parquet:"value"`
		Label  string  `parquet:"label"`
	}
	got, err := parquet.Read[columns](bytes.NewReader(out.Bytes()), int64(out.Len()))
	if diff := cmp.Diff([]columns{{"a", 0, "anomaly"}, {"a", 1, ""}}, got); err != nil || diff != "" {
		t.Errorf("parquet: error %v (-want +got):\n%s", err, diff)
	}
}

// BenchmarkAdd is to be run with -benchtime 30000x: more than the queue holds at once is lost.
func BenchmarkAdd(b *testing.B) {
	s, err := store.Open(b.TempDir(), store.Settings{})
	if err != nil {
		b.Fatal(err)
	}
	e := entry("light-1", 1)
	b.ReportAllocs()
	for b.Loop() {
		s.Add(e)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

// TestTenMillion measures; it takes minutes and a gigabyte of disk: EDGE_ANOMALY_HEAVY=1.
func TestTenMillion(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("EDGE_ANOMALY_HEAVY is not set")
	}
	const (
		n       = 10_000_000
		devices = 1000
	)
	dir := t.TempDir()
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
	began := time.Now()
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
	t.Logf("recorded %d in %s", n, time.Since(began))

	began = time.Now()
	out, err := os.Create(filepath.Join(t.TempDir(), "out.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	got, err := store.Export(t.Context(), out, dir, store.Query{}, store.ExportOptions{Format: store.Parquet})
	took := time.Since(began)
	if err != nil || got != n {
		t.Fatalf("exported %d, error %v", got, err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.Logf("exported in %s: %.0f rows/s; %d MiB taken from the system at most, recording included", took, n/took.Seconds(), mem.Sys>>20)

	began = time.Now()
	day := scan(t, dir, store.Query{Device: "light-0500", From: start, To: start.Add(24 * time.Hour)})
	t.Logf("a day of one device: %d readings in %s", len(day), time.Since(began))
	if len(day) != 1440 {
		t.Errorf("%d readings, want 1440", len(day))
	}
}

// TestMemory measures what a process takes that records 10,000 readings a second, sealing included.
func TestMemory(t *testing.T) {
	if os.Getenv("EDGE_ANOMALY_HEAVY") == "" {
		t.Skip("EDGE_ANOMALY_HEAVY is not set")
	}
	s, err := store.Open(t.TempDir(), store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < 280_000; {
		<-tick.C
		for range 100 {
			s.Add(entry("light-"+strconv.Itoa(i%500), i))
			i++
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			t.Logf("resident at most: %s; stats %+v", strings.TrimSpace(kib), s.Stats())
		}
	}
}

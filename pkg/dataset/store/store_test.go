// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/wait/waittest"
)

// Where the first is set, the process is a recorder that is killed; the second is after how many readings it seals.
const childDir, childRows = "STORE_TEST_DIR", "STORE_TEST_ROWS"

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
	waittest.Eventually(t, "logs are sealed", func() bool { return len(files(t, dir, "*.log")) == 0 })
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
	if err := labels.Add(dir, labels.Label{Device: "light-*", From: start.Add(time.Second), To: start.Add(2 * time.Second), Label: "anomaly"}); err != nil {
		t.Fatal(err)
	}
	labelled := entry("light-1", 1)
	labelled.Label = "anomaly"
	check := func(t *testing.T) {
		for name, c := range map[string]struct {
			q    store.Query
			want []store.Entry
		}{
			"all":        {store.Query{}, []store.Entry{odd, entry("light-1", 0), labelled, plain}},
			"device":     {store.Query{Device: "light-1"}, []store.Entry{entry("light-1", 0), labelled}},
			"glob":       {store.Query{Device: "light-*"}, []store.Entry{entry("light-1", 0), labelled, plain}},
			"suffix":     {store.Query{Device: "*-2"}, []store.Entry{plain}},
			"namespace":  {store.Query{Namespace: "plant"}, []store.Entry{odd, plain}},
			"property":   {store.Query{Property: "lux"}, []store.Entry{plain}},
			"time":       {store.Query{From: start.Add(1), To: start.Add(time.Hour)}, []store.Entry{odd, labelled}},
			"verdict":    {store.Query{Verdicts: []string{"critical", "none"}}, []store.Entry{odd, plain}},
			"label":      {store.Query{Label: "anom*"}, []store.Entry{labelled}},
			"far ages":   {store.Query{From: start.AddDate(-4000, 0, 0), To: start.AddDate(4000, 0, 0), Device: "light-2"}, []store.Entry{plain}},
			"far future": {store.Query{From: start.AddDate(2000, 0, 0)}, nil},
			"nothing":    {store.Query{Device: "lamp"}, nil},
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
	waittest.Eventually(t, "the oldest is removed", func() bool { return len(files(t, dir, "*.parquet")) == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, dir, store.Query{}); len(got) != 2 || got[0].Device != "light-1" {
		t.Errorf("what stayed: %v", got)
	}
}

// Readings are kept for as long as recorders see pass, whatever times they and the wall clock tell: a clock that is a year
// ahead, and back, loses none.
func TestRetentionByAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		devices := func() (names []string) {
			for _, e := range scan(t, dir, store.Query{}) {
				names = append(names, e.Device)
			}
			return names
		}
		run := func(d time.Duration, device string, at time.Time) {
			s, err := store.Open(dir, store.Settings{MaxAge: 10 * time.Minute, SegmentAge: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			e := entry(device, 0)
			e.At = at
			s.Add(e)
			<-time.After(d)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Now()
		run(5*time.Minute, "of-1970", time.Unix(0, 0))
		<-time.After(48 * time.Hour) // nobody knows how long a time without a recorder is
		run(4*time.Minute, "of-next-year", now.AddDate(1, 0, 0))
		if got := devices(); len(got) != 2 {
			t.Errorf("after 9 minutes there is %q, want both", got)
		}
		run(3*time.Minute, "of-now", now)
		if got := strings.Join(devices(), " "); got != "of-next-year of-now" {
			t.Errorf("after 12 minutes there is %q, want all but the oldest", got)
		}
	})
}

func TestOneRecorderAtATime(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, store.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, store.Settings{}); err == nil || !strings.Contains(err.Error(), "another process") {
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

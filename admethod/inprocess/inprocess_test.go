// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/proctest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// A detector that hangs delays nobody: not the caller, not the other streams of its lane; each reading is accounted for.
func TestHungDetectorDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 100_000
		release := make(chan struct{})
		var failed atomic.Int64
		var story []string
		var mu sync.Mutex
		h := sinktest.Handler(t, pipeline.Options{
			Drivers:        driver.NewRegistry(drivertest.Hangs(release), sum()),
			AdapterOptions: map[string]map[string]any{"inprocess": {"lanes": 1, "queue": 1000, "hang": "5s"}},
			Hooks: admethod.Hooks{
				Failed: func(driver.Key, error) { failed.Add(1) },
				Verdict: func(r *driver.Result) {
					mu.Lock()
					story = append(story, r.Key.Device+" "+r.Severity.String()+" "+string(r.Kind))
					mu.Unlock()
				},
			},
		})
		hung := bind(t, h, "hung", map[string]any{"detector": "hangs", "quality.missing": 0}, admethod.Meta{})
		healthy := bind(t, h, "healthy", map[string]any{"detector": "sum", "quality.missing": 0}, admethod.Meta{})
		at := time.Now()
		for range n { // returns although nothing takes from the queue
			at = at.Add(time.Millisecond)
			hung.Observe(at, 1)
		}
		if waited := time.Since(at.Add(-n * time.Millisecond)); waited > 0 {
			t.Errorf("the caller waited %v", waited)
		}
		<-time.After(10 * time.Second) // the watch cuts the detector off
		healthy.Observe(time.Now(), 1)
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := hung.Stats(); got.Readings != n || got.Dropped != n {
			t.Errorf("%d readings, %d dropped; want %d, all of them", got.Readings, got.Dropped, n)
		}
		mu.Lock()
		want := []string{"hung unknown failed", "healthy normal "}
		if failed.Load() != 1 || !slices.Equal(story, want) {
			t.Errorf("%d failures, verdicts %q; want 1, %q", failed.Load(), story, want)
		}
		mu.Unlock()
		close(release) // lets the test join the goroutine that hung
	})
}

// A detector that panics is cut off; what it would have judged is counted; the other streams go on.
func TestPanickingDetectorIsCutOff(t *testing.T) {
	var failures []string
	h := sinktest.Handler(t, pipeline.Options{
		Replay:         true,
		Drivers:        driver.NewRegistry(drivertest.Panics(3), sum()),
		AdapterOptions: map[string]map[string]any{"inprocess": {"lanes": 1}},
		Hooks: admethod.Hooks{Failed: func(key driver.Key, err error) {
			failures = append(failures, key.Device+": "+strings.SplitN(err.Error(), "\n", 2)[0])
		}},
	})
	bad := bind(t, h, "bad", map[string]any{"detector": "panics"}, admethod.Meta{})
	good := bind(t, h, "good", map[string]any{"detector": "sum"}, admethod.Meta{})
	for i := range 100 {
		at := time.Unix(int64(1000+i), 0)
		bad.Observe(at, float64(i))
		good.Observe(at, float64(i))
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := bad.Stats().Dropped; got != 98 {
		t.Errorf("%d readings of the bad detector dropped, want 98", got)
	}
	if got := good.Stats().Dropped; got != 0 {
		t.Errorf("%d readings of the good detector dropped, want 0", got)
	}
	want := []string{`bad: detector "panics" panicked: drivertest: panic on reading 3, as asked for`}
	if !slices.Equal(failures, want) {
		t.Errorf("failures %q, want %q", failures, want)
	}
}

// Verdicts that break the contract do not reach the sinks as they are.
func TestWrongResultsAreSanitized(t *testing.T) {
	var results []driver.Result
	h := sinktest.Handler(t, pipeline.Options{
		Replay: true, Drivers: driver.NewRegistry(drivertest.WrongResults()),
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) { results = append(results, r.Clone()) }},
	})
	b := bind(t, h, "d", map[string]any{"detector": "wrong"}, admethod.Meta{})
	for i := range 50 {
		b.Observe(time.Unix(int64(1000+i), 0), float64(i))
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Key != b.Key() || r.Severity > driver.Critical ||
			r.Severity != driver.Unknown && !(r.Score >= 0 && r.Score <= 1) || r.Severity == driver.Normal && r.Kind != "" {
			t.Errorf("reached the sinks: %+v", r)
		}
	}
}

// The oldest readings make room for the newest, and the order is kept.
func TestFullQueueDropsTheOldest(t *testing.T) {
	gate := make(chan struct{})
	var got []float64
	slow := drivertest.Func("slow", func(row driver.Row, out *driver.Result) {
		<-gate
		got = append(got, row[0].Value)
		out.Judge(0, driver.KindNone)
	})
	h := sinktest.Handler(t, pipeline.Options{
		Replay: true, Drivers: driver.NewRegistry(slow),
		AdapterOptions: map[string]map[string]any{"inprocess": {"lanes": 1, "queue": 16}},
	})
	b := bind(t, h, "d", map[string]any{"detector": "slow"}, admethod.Meta{})
	for i := range 1000 {
		b.Observe(time.Unix(int64(1000+i), 0), float64(i))
	}
	close(gate)
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(got) || got[len(got)-1] != 999 || uint64(len(got))+b.Stats().Dropped != 1000 {
		t.Errorf("judged %v, dropped %d", got, b.Stats().Dropped)
	}
}

// What was learned survives an orderly restart, with the state of the stages before the detector.
func TestStateSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	var value float64
	run := func(readings ...string) {
		h := newHandler(t, pipeline.Options{
			Replay: true, StateDir: dir, Drivers: driver.NewRegistry(sum()),
			Hooks: admethod.Hooks{
				Verdict: func(r *driver.Result) { value = r.Expected },
				State:   func(_ string, err error) { t.Error(err) },
			},
		})
		b := bind(t, h, "d", map[string]any{"detector": "sum"}, admethod.Meta{DataType: "string"})
		for _, text := range readings {
			at, err := time.Parse("15:04", text[:5])
			if err != nil {
				t.Fatal(err)
			}
			b.ObserveAny(at.AddDate(2026, 0, 0), text[6:])
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run("10:00 idle", "10:01 run", "10:02 jam")
	if value != 0+1+2 {
		t.Fatalf("sum of categories %v, want 3", value)
	}
	run("10:02 jam", "10:03 run") // the device repeats its last reading; run is still category 1
	if value != 3+1 {
		t.Errorf("sum after the restart %v, want 4", value)
	}
}

// A file with damage is set aside; what is whole in it is used, the rest starts anew.
func TestDamagedSnapshotIsSetAside(t *testing.T) {
	damages := []struct {
		name  string
		harm  func([]byte) []byte
		saved int // of 10 streams
	}{
		{"a flipped bit", func(b []byte) []byte { b[len(b)/2] ^= 4; return b }, 9},
		{"cut short", func(b []byte) []byte { return b[:len(b)-7] }, 9},
		{"garbage", func([]byte) []byte { return []byte("not a snapshot at all") }, 0},
		{"a length beyond all bounds", func([]byte) []byte { return []byte{255, 255, 255, 255, 1} }, 0},
	}
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "inprocess.snapshot")
			run := func(complaints *int) (total float64) {
				h := newHandler(t, pipeline.Options{
					Replay: true, StateDir: dir, Drivers: driver.NewRegistry(sum()),
					Hooks: admethod.Hooks{
						Verdict: func(r *driver.Result) { total += r.Expected },
						State:   func(string, error) { *complaints++ },
					},
				})
				for i := range 10 {
					b := bind(t, h, fmt.Sprint("d", i), map[string]any{"detector": "sum"}, admethod.Meta{})
					b.Observe(time.Now(), 1)
					if err := h.Flush(t.Context()); err != nil { // one lane at a time adds to sum
						t.Fatal(err)
					}
				}
				if err := h.Shutdown(t.Context()); err != nil {
					t.Fatal(err)
				}
				return total
			}
			complaints := 0
			if first := run(&complaints); first != 10 || complaints != 0 {
				t.Fatalf("sum %v, %d complaints", first, complaints)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.harm(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, want := run(&complaints), float64(10+tt.saved); got != want || complaints != 1 {
				t.Errorf("sum %v, %d complaints; want %v, 1", got, complaints, want)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A full or read-only disk costs the snapshots, not the verdicts.
func TestUnwritableStateDirIsReported(t *testing.T) {
	file := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	verdicts := 0
	h := newHandler(t, pipeline.Options{
		Replay: true, StateDir: filepath.Join(file, "below-a-file"), Drivers: driver.NewRegistry(sum()),
		Hooks: admethod.Hooks{Verdict: func(*driver.Result) { verdicts++ }},
	})
	b := bind(t, h, "d", map[string]any{"detector": "sum"}, admethod.Meta{})
	b.Observe(time.Now(), 1)
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Shutdown(t.Context()); err == nil || verdicts != 1 {
		t.Errorf("error %v, %d verdicts; want an error, 1", err, verdicts)
	}
}

const victimDir = "EDGE_ANOMALY_TEST_VICTIM"

// victim is a mapper that observes until it is killed. It prints the sum that each snapshot period began with.
func victim(dir string) {
	var sumNow atomic.Int64
	h, err := pipeline.NewHandler(pipeline.Options{
		Replay: true, StateDir: dir, Drivers: driver.NewRegistry(sum()),
		AdapterOptions: map[string]map[string]any{"inprocess": {"snapshot": "1s"}},
		Hooks:          admethod.Hooks{Verdict: func(r *driver.Result) { sumNow.Store(int64(r.Expected)) }},
	})
	if err == nil {
		err = h.Start(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	config, _ := admethod.ParseSettings(map[string]any{"detector": "sum"})
	b, err := h.Bind(driver.Key{Namespace: "default", Device: "d", Property: "temperature"}, config, admethod.Meta{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	for now := range ticker.C {
		b.Observe(now, 1)
		fmt.Println(sumNow.Load())
	}
}

// kill -9 loses at most what was learned since the last snapshot.
func TestKilledMapperLosesAtMostOnePeriod(t *testing.T) {
	dir := t.TempDir()
	mapper := proctest.Self(t, victimDir+"="+dir)
	var last, lines int
	for lines = 0; last < 250; lines++ { // 2.5 periods of 100 readings
		if _, err := fmt.Fscanln(mapper.Out, &last); err != nil {
			t.Fatalf("after %d lines: %v", lines, err)
		}
	}
	mapper.Kill()

	var value float64
	h := newHandler(t, pipeline.Options{
		Replay: true, StateDir: dir, Drivers: driver.NewRegistry(sum()),
		Hooks: admethod.Hooks{Verdict: func(r *driver.Result) { value = r.Expected }},
	})
	b := bind(t, h, "d", map[string]any{"detector": "sum"}, admethod.Meta{})
	b.Observe(time.Now(), 1)
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A period is about 100 readings; a busy machine may stretch one.
	if lost := last - int(value); lost > 200 || value < 50 {
		t.Errorf("%d readings learned, %d lost; want at most about one period of 100", int(value), lost)
	}
}

// 100,000 bound streams: the state of each, with its binding and its detector, fits 1 KiB.
func TestMemoryOfAStream(t *testing.T) {
	if testing.Short() {
		t.Skip("binds 100,000 streams")
	}
	const n = 100_000
	h := sinktest.Handler(t, pipeline.Options{Replay: true})
	config, err := admethod.ParseSettings(map[string]any{"detector": "ewma"})
	if err != nil {
		t.Fatal(err)
	}
	keys := make([]driver.Key, n)
	for i := range keys {
		keys[i] = driver.Key{Namespace: "default", Device: fmt.Sprint("device-", i), Property: "temperature"}
	}
	bindings := make([]*pipeline.Binding, n)
	before := heap()
	for i, key := range keys {
		if bindings[i], err = h.Bind(key, config, admethod.Meta{DataType: "double", Cycle: time.Second}); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 3 {
		at := time.Unix(int64(1000+round), 0)
		for i := range bindings {
			bindings[i].Observe(at, float64(round))
		}
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	each := float64(heap()-before) / n
	t.Logf("%.0f bytes a stream", each)
	if each > 1280 {
		t.Errorf("%.0f bytes a stream, want at most 1280", each)
	}
	runtime.KeepAlive(bindings)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// adder sums its readings and reports the sum as what it expects; the sum is its learned state.
type adder struct{ sum float64 }

func (a *adder) Detect(row driver.Row, out *driver.Result) {
	a.sum += row[0].Value
	out.Expected = a.sum
	out.Judge(0, driver.KindNone)
}

func (a *adder) MarshalBinary() ([]byte, error) {
	var w state.Writer
	w.Float(a.sum)
	return w.Bytes, nil
}

func (a *adder) UnmarshalBinary(data []byte) error {
	r := state.NewReader(data)
	sum := r.Finite("sum")
	if err := r.Close(); err != nil {
		return err
	}
	a.sum = sum
	return nil
}

func sum() driver.Factory {
	return driver.NewFactory(driver.Info{Name: "sum"}, func() struct{} { return struct{}{} },
		func(driver.Settings, struct{}) (driver.Detector, error) { return new(adder), nil })
}

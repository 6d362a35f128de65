// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package inprocess_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/inprocess"
	"github.com/kubeedge/edge-anomaly/admethod/pipeline"
	"github.com/kubeedge/edge-anomaly/admethod/sink/sinktest"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/driver/drivertest"
)

// fates collects what became of numbered rows.
type fates struct {
	mu    sync.Mutex
	of    map[uint64][]string
	count chan struct{}
}

func newFates() *fates {
	return &fates{of: make(map[uint64][]string), count: make(chan struct{}, 1<<16)}
}

func (f *fates) answer(number uint64, r *driver.Result, row driver.Row) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r == nil:
		f.of[number] = append(f.of[number], "lost")
	case row == nil:
		f.of[number] = append(f.of[number], "failed")
	case r.Value != float64(number) || row[0].Value != float64(number):
		f.of[number] = append(f.of[number], fmt.Sprint("judged as ", r.Value))
	default:
		f.of[number] = append(f.of[number], "judged")
	}
	f.count <- struct{}{}
}

// wait waits for n answers.
func (f *fates) wait(t *testing.T, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range n {
		select {
		case <-f.count:
		case <-ctx.Done():
			t.Fatalf("%d answers of %d", i, n)
		}
	}
}

func startAdapter(t *testing.T, options map[string]any, factories ...driver.Factory) *inprocess.Adapter {
	t.Helper()
	a, err := inprocess.New(admethod.AdapterSettings{
		Drivers: driver.NewRegistry(factories...), Hooks: new(admethod.Hooks), Options: options,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

func openNumbered(t *testing.T, a *inprocess.Adapter, tenant, property, detector string, f *fates) admethod.NumberedStream {
	t.Helper()
	config, err := admethod.ParseSettings(map[string]any{"detector": detector})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(admethod.StreamSettings{
		Members: []driver.Member{{Key: driver.Key{Namespace: "n", Device: "d", Property: property}}}, Config: config, Tenant: tenant,
		Answer: f.answer, Deliver: func(*driver.Result, driver.Row) { t.Error("delivered beside the answer") },
		Dropped: func(int) { t.Error("dropped beside the answer") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.(admethod.NumberedStream)
}

func numbered(n uint64) driver.Row { return driver.Row{{At: time.Unix(7, 0), Value: float64(n)}} }

// Every row is answered once under its number: judged, lost from a full queue, failed, cut off and closed ones.
func TestEveryNumberedRowIsAnsweredOnce(t *testing.T) {
	release := make(chan struct{})
	a := startAdapter(t, map[string]any{"lanes": 1, "queue": 16, "hang": "10s"},
		drivertest.Hangs(release), drivertest.Panics(3))
	f := newFates()
	s := openNumbered(t, a, "", "p", "hangs", f)
	s.TrySubmitNumbered(numbered(0), 0)
	release <- struct{}{} // it is being judged, or was: what follows waits
	const n = 40
	for i := uint64(1); i < n; i++ {
		s.TrySubmitNumbered(numbered(i), i)
	}
	close(release)
	f.wait(t, n)
	s.Close()
	s.TrySubmitNumbered(numbered(n), n)
	f.wait(t, 1)
	lost := 0
	for i := range uint64(n + 1) {
		if len(f.of[i]) != 1 || f.of[i][0] != "judged" && f.of[i][0] != "lost" {
			t.Errorf("row %d: %q", i, f.of[i])
		} else if f.of[i][0] == "lost" {
			lost++
		}
	}
	if lost < 2 {
		t.Errorf("%d lost, want those beyond the queue and the one after the end", lost)
	}

	f = newFates()
	s = openNumbered(t, a, "", "q", "panics", f)
	for i := range uint64(5) {
		s.TrySubmitNumbered(numbered(i), i)
	}
	f.wait(t, 5)
	if got := fmt.Sprint(f.of); got != "map[0:[judged] 1:[judged] 2:[failed] 3:[lost] 4:[lost]]" {
		t.Error(got)
	}
}

// A detector that hangs delays only its own tenant; when it is cut off, and comes back at last, its row was answered.
func TestTenantsDoNotWaitForOneAnother(t *testing.T) {
	release := make(chan struct{})
	a := startAdapter(t, map[string]any{"lanes": 1, "hang": "2s"}, drivertest.Hangs(release),
		drivertest.Func("quick", func(_ driver.Row, out *driver.Result) { out.Judge(0, driver.KindNone) }))
	stuck, waits, free := newFates(), newFates(), newFates()
	h := openNumbered(t, a, "one", "stuck", "hangs", stuck)
	w := openNumbered(t, a, "one", "waits", "quick", waits)
	q := openNumbered(t, a, "two", "free", "quick", free)
	h.TrySubmitNumbered(numbered(1), 1)
	w.TrySubmitNumbered(numbered(1), 1)
	for i := range uint64(100) {
		q.TrySubmitNumbered(numbered(i), i)
	}
	free.wait(t, 100)
	stuck.mu.Lock()
	if len(stuck.of) != 0 {
		t.Error("the other tenant's rows were not judged before the hung one was cut off")
	}
	stuck.mu.Unlock()
	waits.wait(t, 1)
	stuck.wait(t, 1)
	close(release)
	h.Close()
	if got := fmt.Sprint(stuck.of, waits.of); got != "map[1:[failed]] map[1:[judged]]" {
		t.Error(got)
	}
}

// State of streams that are gone is bounded.
func TestParkedStatesAreBounded(t *testing.T) {
	dir := t.TempDir()
	h := sinktest.Handler(t, pipeline.Options{
		StateDir: dir, AdapterOptions: map[string]map[string]any{"inprocess": {"parked": 10}},
	})
	config, err := admethod.ParseSettings(map[string]any{"detector": "ewma"})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{}, 1)
	for i := range 50 {
		a, err := h.Attach(pipeline.AttachSettings{
			Members: []driver.Member{{Key: driver.Key{Namespace: "n", Device: "d", Property: fmt.Sprint(i)}}}, Config: config,
			Answer: func(uint64, *driver.Result, driver.Row) { answered <- struct{}{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		a.TrySubmit(numbered(1), 1)
		<-answered
		a.Close()
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "inprocess.snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "n/d/"); n == 0 || n > 10 {
		t.Errorf("%d states are kept, want 1 to 10", n)
	}
}

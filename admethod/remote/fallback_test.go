// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

type counting struct {
	limit float64
	n     int
}

func (c *counting) Detect(row driver.Row, out *driver.Result) {
	if c.n++; row[0].Value == 666 {
		panic("the number of the beast")
	}
	out.Lower = float64(c.n)
	out.Judge(min(row[0].Value/c.limit, 1), driver.KindRange)
}

func fallbacks() *driver.Registry {
	type config struct {
		Limit float64 `param:"limit" min:"1"`
	}
	return driver.NewRegistry(driver.NewFactory(driver.Info{Name: "counting", Members: 3},
		func() config { return config{1000} },
		func(_ driver.Settings, c config) (driver.Detector, error) { return &counting{limit: c.Limit}, nil }))
}

// While the detector is away, its fallback judges each reading once, and nobody does so again; it has seen what the
// detector judged before. When the detector is back it judges.
func TestFallback(t *testing.T) {
	for _, delivery := range []string{"latest", atLeastOnce} {
		t.Run(delivery, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t)
				b := newBench(t, f, t.TempDir(), map[string]any{
					"delivery": delivery, "staleAfter": "3s", "fallback": "counting", "fallback.limit": 5000, "queue": 1024,
				})
				s := b.open("s", 1)
				feed := func(from, to int) {
					for i := from; i < to; i += 10 {
						b.submit(s, i, i+10)
						<-time.After(200 * time.Millisecond)
					}
				}
				feed(0, 100)
				f.mu.Lock()
				f.away = true
				f.lives = func() int { return 0 }
				f.mu.Unlock()
				s.(*Stream).link.mu.Lock()
				s.(*Stream).link.interrupt(nil)
				s.(*Stream).link.mu.Unlock()
				<-time.After(time.Second)
				feed(100, 1100)
				b.mu.Lock()
				if by := b.by["counting"]; by < 950 || len(b.got["s"]) < 1050 || b.unknown != 0 {
					t.Errorf("%d verdicts, %d of them by the fallback, %d unknown", len(b.got["s"]), by, b.unknown)
				}
				b.mu.Unlock()
				f.mu.Lock()
				f.away, f.lives = false, nil
				f.mu.Unlock()
				<-time.After(2 * time.Second)
				feed(1100, 2000)
				b.flush(time.Minute)
				b.want("s", 0, 2000)
				if !slices.IsSorted(b.got["s"]) {
					t.Error("the verdicts are not in order")
				}
				if by := b.by[""]; by < 900 {
					t.Errorf("%d verdicts by the detector that is back, want most of 1000", by)
				}
				if f.learned != nil && delivery == atLeastOnce && len(f.learned) != 2000 {
					t.Errorf("the detector was sent %d readings, want all", len(f.learned))
				}
				b.shutdown()
			})
		})
	}
}

// A detector that is connected and silent is replaced as well, and a fallback that panics is off.
func TestFallbackForASilentDetector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.silent = true
		b := newBench(t, f, t.TempDir(), map[string]any{
			"delivery": "latest", "staleAfter": "3s", "timeout": "2s", "fallback": "counting", "fallback.limit": 5000,
		})
		s := b.open("s", 1)
		for i := 0; i < 600; i += 10 {
			b.submit(s, i, i+10)
			<-time.After(200 * time.Millisecond)
		}
		b.want("s", 0, 600)
		b.submit(s, 666, 670)
		<-time.After(time.Minute)
		if n := len(b.got["s"]); n != 604 {
			t.Errorf("%d verdicts, want 604, the last of them unknown", n)
		}
		b.shutdown()
	})
}

func TestFallbackThatIsWrong(t *testing.T) {
	for name, options := range map[string]map[string]any{
		"no such detector":    {"fallback": "nobody"},
		"parameters alone":    {"fallback.limit": 5},
		"a parameter unknown": {"fallback": "counting", "fallback.limits": 5},
		"out of bounds":       {"fallback": "counting", "fallback.limit": 0},
	} {
		b := newBench(t, newFlaky(t), t.TempDir(), map[string]any{"delivery": "latest"})
		config := admethod.DefaultConfig()
		config.Options = map[string]map[string]any{"flaky": options}
		if _, err := b.adapter.Open(admethod.StreamSettings{Members: make([]driver.Member, 1), Config: config}); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			t.Log(err)
		}
		b.shutdown()
	}
}

// What the fallback has judged is sent to the detector also after a restart, and is not judged again.
func TestFallbackAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f := newFlaky(t)
		f.away = true
		options := map[string]any{"staleAfter": "3s", "fallback": "counting", "fallback.limit": 5000, "queue": 256}
		first := newBench(t, f, dir, options)
		s := first.open("s", 1)
		for i := 0; i < 1000; i += 10 {
			if i != 660 {
				first.submit(s, i, i+10)
			}
			<-time.After(100 * time.Millisecond)
		}
		first.shutdown()
		if n := first.by["counting"]; n < 900 || first.dropped > 0 {
			t.Fatalf("the fallback judged %d, %d are dropped", n, first.dropped)
		}
		f.mu.Lock()
		f.away = false
		f.mu.Unlock()
		second := newBench(t, f, dir, options)
		second.open("s", 1)
		second.flush(time.Minute)
		got := append(second.got["s"], first.got["s"]...)
		slices.Sort(got)
		if len(got) != 990 || len(slices.Compact(got)) != 990 || len(f.learned) != 990 {
			t.Errorf("%d and %d verdicts on 990 readings, %d were sent", len(first.got["s"]), len(second.got["s"]), len(f.learned))
		}
		second.shutdown()
	})
}

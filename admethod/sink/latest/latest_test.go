// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package latest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func verdict(property string, value float64) driver.Result {
	return driver.Result{Key: driver.Key{Property: property}, Value: value}
}

// peer remembers what it was told, and fails as it is told to.
type peer struct {
	mu    sync.Mutex
	err   error
	calls []time.Duration // since the start
	begin time.Time
	got   []string
	hang  bool
	sizes []int
	hates string // fails with the property of this name
	after error  // how
}

func (p *peer) deliver(ctx context.Context, batch []Item) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, time.Since(p.begin))
	if p.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	p.sizes = append(p.sizes, len(batch))
	if p.err != nil {
		return p.err
	}
	if slices.ContainsFunc(batch, func(it Item) bool { return it.Key.Property == p.hates }) {
		return p.after
	}
	for _, it := range batch {
		word := it.Key.Property + "=" + strconv.FormatFloat(it.Value, 'g', -1, 64)
		if it.Gone {
			word = it.Key.Property + " gone"
		}
		p.got = append(p.got, word)
	}
	return nil
}

func (p *peer) comesBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = nil
}

func put(t *testing.T, q *Queue, verdicts ...driver.Result) {
	t.Helper()
	if err := q.Write(t.Context(), verdicts); err != nil {
		t.Fatal(err)
	}
}

func pass(d time.Duration) { <-time.After(d) }

// start makes a queue within a bubble; what the peer remembers is to be looked at after synctest.Wait only.
func start(t *testing.T, p *peer, o Options) *Queue {
	t.Helper()
	p.begin = time.Now()
	o.Sink, o.Deliver = "test", p.deliver
	if o.Limit == 0 {
		o.Limit = 100
	}
	if o.Batch == 0 {
		o.Batch = 10
	}
	q := New(o)
	if err := q.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return q
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestNewestWinsWhileThePeerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{err: errors.New("away")}
		q := start(t, p, Options{})
		for i := range 1000 {
			put(t, q, verdict("a", float64(i)), verdict("b", float64(-i)))
			pass(100 * time.Millisecond)
		}
		synctest.Wait()
		if s := q.Stats(); s.Waiting != 2 || s.Delivered != 0 || s.Refused != 0 {
			t.Errorf("while away: %+v", s)
		}
		for i := 2; i < len(p.calls); i++ {
			if gap := p.calls[i] - p.calls[i-1]; gap < shortestWait/2 || gap > 3*longestWait/2 {
				t.Errorf("try %d came %v after the one before", i, gap)
			}
		}
		if n := len(p.calls); n < 4 || n > 20 {
			t.Errorf("%d tries in 100 s", n)
		}
		p.comesBack()
		pass(2 * longestWait)
		synctest.Wait()
		slices.Sort(p.got)
		check(t, "once it is back", p.got, []string{"a=999", "b=-999"})
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestClassesOfErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		again bool
		after time.Duration // at least
	}{
		"permanent": {err: admethod.Permanent(errors.New("no"))},
		"throttled": {err: &admethod.ThrottledError{Wait: time.Minute, Err: errors.New("later")}, again: true, after: time.Minute},
		"other":     {err: errors.New("oops"), again: true, after: shortestWait / 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told []bool
				p := &peer{err: c.err}
				q := start(t, p, Options{Hooks: &admethod.Hooks{SinkFailed: func(sink string, err error, retry bool) {
					told = append(told, retry)
				}}})
				put(t, q, verdict("a", 1))
				synctest.Wait()
				p.comesBack()
				pass(2 * time.Minute)
				synctest.Wait()
				check(t, "hooks", told, []bool{c.again})
				if c.again != (len(p.got) == 1) {
					t.Errorf("the peer got %q", p.got)
				}
				if c.again && p.calls[1] < c.after {
					t.Errorf("tried again after %v", p.calls[1])
				}
				s := q.Stats()
				if s.Waiting != 0 || s.Refused != 0 == c.again || s.Delivered != 0 != c.again {
					t.Errorf("%+v", s)
				}
				if err := q.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// One item that the peer cannot bear holds up no other.
func TestOneBadItem(t *testing.T) {
	for name, err := range map[string]error{"permanent": admethod.Permanent(errors.New("no")), "other": errors.New("cut off")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peer{hates: "3", after: err}
				q := New(Options{Sink: "test", Limit: 100, Batch: 10, Deliver: p.deliver})
				for i := range 25 {
					put(t, q, verdict(strconv.Itoa(i), 0))
				}
				if err := q.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				pass(10 * time.Minute)
				synctest.Wait()
				if len(p.got) != 24 {
					t.Errorf("%d arrived in deliveries of %v: %q", len(p.got), p.sizes, p.got)
				}
				s := q.Stats()
				if permanent := errors.Is(err, admethod.ErrPermanent); permanent != (s.Refused == 1) || permanent != (s.Waiting == 0) {
					t.Errorf("%+v", s)
				}
				if n := len(p.sizes); n > 60 {
					t.Errorf("%d tries in ten minutes", n)
				}
				_ = q.Shutdown(t.Context())
			})
		})
	}
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{err: errors.New("away")}
		q := start(t, p, Options{Limit: 3, Batch: 1})
		for i := range 10 {
			put(t, q, verdict(strconv.Itoa(i), 0))
		}
		for i := range 10 {
			q.Forget(driver.Key{Property: "gone" + strconv.Itoa(i)})
		}
		put(t, q, verdict("0", 5))
		synctest.Wait()
		if s := q.Stats(); s.Waiting > 2*3+1 || s.Refused == 0 {
			t.Errorf("%+v", s)
		}
		p.comesBack()
		pass(2 * longestWait)
		synctest.Wait()
		if !slices.Contains(p.got, "0=5") || !slices.Contains(p.got, "gone0 gone") || len(p.got) > 7 {
			t.Errorf("got %q", p.got)
		}
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestGoneTakesThePlaceOfAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		q := New(Options{Sink: "test", Limit: 10, Batch: 10, Deliver: p.deliver})
		put(t, q, verdict("a", 1), verdict("b", 1))
		q.Forget(driver.Key{Property: "a"})
		if err := q.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		check(t, "delivered", p.got, []string{"a gone", "b=1"})
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestUpkeepComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		var upkeep atomic.Int32
		var connected atomic.Bool
		q := start(t, p, Options{Every: time.Minute, Upkeep: func(context.Context) error {
			upkeep.Add(1)
			if !connected.Load() {
				return errors.New("not connected")
			}
			return nil
		}})
		put(t, q, verdict("a", 1))
		pass(time.Minute)
		synctest.Wait()
		if len(p.calls) != 0 || upkeep.Load() < 3 {
			t.Errorf("%d deliveries, %d times upkeep", len(p.calls), upkeep.Load())
		}
		connected.Store(true)
		pass(time.Minute)
		synctest.Wait()
		check(t, "delivered", p.got, []string{"a=1"})
		upkeep.Store(0)
		pass(10 * time.Minute)
		synctest.Wait()
		check(t, "times upkeep in ten minutes", upkeep.Load(), 10)
		q.Wake()
		synctest.Wait()
		check(t, "times upkeep after Wake", upkeep.Load(), 11)
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdown(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		hang bool
		lost bool
		took time.Duration
	}{
		"well":    {},
		"away":    {err: errors.New("away"), lost: true},
		"hanging": {hang: true, lost: true, took: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peer{err: c.err, hang: c.hang}
				q := start(t, p, Options{Batch: 2})
				for i := range 7 {
					put(t, q, verdict(strconv.Itoa(i), 0))
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				err := q.Shutdown(ctx)
				if took := time.Since(begin); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if (err != nil) != c.lost {
					t.Errorf("error %v", err)
				}
				if c.lost && !strings.Contains(err.Error(), "7 properties") {
					t.Errorf("error %v does not say how many", err)
				}
				_ = q.Shutdown(ctx) // idempotent
				if err := q.Start(t.Context()); !errors.Is(err, admethod.ErrClosed) {
					t.Errorf("start after shutdown: %v", err)
				}
			})
		})
	}
	if err := New(Options{}).Shutdown(t.Context()); err != nil {
		t.Errorf("without Start: %v", err)
	}
}

// A delivery, or an upkeep, that panics is a failure like others: it is tried again.
func TestPanicOfADelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []driver.Key
		deliveries, upkeeps := 0, 0
		q := New(Options{
			Sink: "test", Limit: 10, Batch: 10,
			Upkeep: func(context.Context) error {
				if upkeeps++; upkeeps == 2 {
					panic("in an upkeep")
				}
				return nil
			},
			Deliver: func(_ context.Context, batch []Item) error {
				if deliveries++; deliveries <= 2 {
					panic("in a delivery")
				}
				for _, it := range batch {
					told = append(told, it.Key)
				}
				return nil
			},
		})
		if err := q.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		key := driver.Key{Namespace: "n", Device: "d", Property: "p"}
		if err := q.Write(t.Context(), []driver.Result{{Key: key}}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if len(told) != 1 || told[0] != key || deliveries != 3 {
			t.Errorf("%v after %d deliveries", told, deliveries)
		}
		if err := q.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/driver"
	_ "github.com/kubeedge/edge-anomaly/driver/builtin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is an intake, and a feed of a source that may use limits, and bring everything. They end with the test.
func running(tb testing.TB, c intake.Config, limits intake.Limits) (*intake.Intake, *intake.Feed) {
	tb.Helper()
	in, f, _ := startedWith(tb, c, limits)
	return in, f
}

// restartable is the same, which may be stopped before.
func restartable(tb testing.TB, c intake.Config) (*intake.Intake, *intake.Feed, func()) {
	tb.Helper()
	return startedWith(tb, c, intake.Limits{})
}

func startedWith(tb testing.TB, c intake.Config, limits intake.Limits) (*intake.Intake, *intake.Feed, func()) {
	tb.Helper()
	in, err := intake.New(c)
	if err != nil {
		tb.Fatal(err)
	}
	client := in.Client("plant", []string{"default", "hall"}, limits)
	feeds := make(chan source.Intake, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, in.Source(client, lends{feeds})) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(stop)
	return in, (<-feeds).(*intake.Feed), stop
}

// lends is a source that gives its intake away.
type lends struct{ to chan<- source.Intake }

func (l lends) Run(ctx context.Context, in source.Intake) error {
	l.to <- in
	<-ctx.Done()
	return ctx.Err()
}

// verdicts are those that were told, by property.
type verdicts struct {
	mu    sync.Mutex
	of    map[driver.Key][]driver.Result
	waits []chan struct{}
}

// hooks keep what is told of verdicts.
func (v *verdicts) hooks() admethod.Hooks {
	return admethod.Hooks{Verdict: func(r *driver.Result) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.of == nil {
			v.of = make(map[driver.Key][]driver.Result)
		}
		v.of[r.Key] = append(v.of[r.Key], r.Clone())
		for _, w := range v.waits {
			close(w)
		}
		v.waits = nil
	}}
}

// await waits for a verdict.
func (v *verdicts) await(tb testing.TB, key driver.Key, is func(*driver.Result) bool) driver.Result {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	for {
		v.mu.Lock()
		for i := range v.of[key] {
			if r := v.of[key][i]; is(&r) {
				v.mu.Unlock()
				return r
			}
		}
		n := len(v.of[key])
		w := make(chan struct{})
		v.waits = append(v.waits, w)
		v.mu.Unlock()
		select {
		case <-w:
		case <-ctx.Done():
			tb.Fatalf("%s: no such verdict among %d", key, n)
		}
	}
}

// told are the verdicts on a property.
func (v *verdicts) told(key driver.Key) []driver.Result {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.of[key]
}

// answers are those that were waited for.
type answers struct {
	mu  sync.Mutex
	got map[uint64]*driver.Result
	all sync.WaitGroup
}

// Answer is as [source.Answerer] has it.
func (a *answers) Answer(token uint64, r *driver.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.got == nil {
		a.got = make(map[uint64]*driver.Result)
	}
	if _, twice := a.got[token]; twice {
		panic("answered twice")
	}
	a.got[token] = nil
	if r != nil {
		c := r.Clone()
		a.got[token] = &c
	}
	a.all.Done()
}

// take hands readings over and waits for the answers, by their place.
func take(tb testing.TB, f source.Intake, readings ...source.Reading) ([]*driver.Result, error) {
	tb.Helper()
	var a answers
	for i := range readings {
		readings[i].Answer, readings[i].Token = &a, uint64(i)
	}
	a.all.Add(len(readings))
	err := f.Take(tb.Context(), readings)
	var refused *source.RefusedError
	if errors.As(err, &refused) {
		a.all.Add(-len(refused.Refused))
	} else if err != nil {
		tb.Fatal(err)
	}
	a.all.Wait()
	got := make([]*driver.Result, len(readings))
	for token, r := range a.got {
		got[token] = r
	}
	return got, err
}

var began = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func key(property string) driver.Key {
	return driver.Key{Namespace: "default", Device: "pump-1", Property: property}
}

// at is a reading of a property, a second after the one before.
func at(property string, second int, value float64) source.Reading {
	return source.Reading{Key: key(property), At: began.Add(time.Duration(second) * time.Second), Value: value}
}

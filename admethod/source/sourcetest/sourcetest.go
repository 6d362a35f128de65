// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sourcetest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
)

// Origin is what a source under test reads from. The test makes it hold readings with the values 1, 2, 3 …, which go
// round its series: the first one to the first series, and so on.
type Origin struct {
	// New makes a source of the origin, anew each time, as after a restart of the program: it has the same state
	// directory, where it has one.
	New func(t *testing.T) source.Source
	// Send makes the origin hold the reading of the value n, a positive whole number, of the series n modulo Series. It
	// returns when the origin has it; it may do so before any source is there only where the origin Replays.
	Send   func(t *testing.T, n int)
	Series int // 0 means 1

	// Cut breaks every connection of the source, at once and for a moment; nil where there is none to break.
	Cut  func(t *testing.T)
	Cuts int // how often the test does; 0 means 5
	// Replays: what a source has not acknowledged comes again, after a cut and to another source after a restart; so
	// nothing is lost.
	Replays bool
	// Again: the origin may bring a reading a second time, after a cut, as at QoS 1. What comes again comes with all
	// that came after it.
	Again bool
	// Ready waits until a source that runs gets what is sent from now on; nil where it gets all that was ever sent.
	Ready func(t *testing.T)

	// Within is how long a reading may take from Send to Take; 0 means 10 s.
	Within time.Duration
}

// Run runs a source in a goroutine. stop ends it, joins it, and returns what Run returned, nil for the error of its
// context; it fails the test where that takes longer than five seconds.
func Run(t *testing.T, s source.Source, in source.Intake) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, in) }()
	stop = sync.OnceValue(func() error {
		early := ctx.Err() == nil && len(ended) > 0
		cancel()
		timer := time.NewTimer(5 * time.Second)
		defer timer.Stop()
		select {
		case err := <-ended:
			if early {
				t.Errorf("Run ended before its context did: %v", err)
			}
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-timer.C:
			t.Error("Run goes on five seconds after its context ended")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return stop
}

// Test proves what a source promises. origin is called for each part of the test; it sets up a new one.
func Test(t *testing.T, origin func(t *testing.T) *Origin) {
	t.Helper()
	t.Run("what the origin has is taken, in order", func(t *testing.T) { newBench(t, origin).inOrder() })
	t.Run("a slow intake is waited for", func(t *testing.T) { newBench(t, origin).slowly() })
	t.Run("readings that are refused keep none of the others", func(t *testing.T) { newBench(t, origin).refused() })
	t.Run("it ends while the intake is held", func(t *testing.T) { newBench(t, origin).endsHeld() })
	t.Run("it ends while nothing comes", func(t *testing.T) { newBench(t, origin).endsIdle() })
	t.Run("connections that break", func(t *testing.T) { newBench(t, origin).cut() })
	t.Run("a restart of the program", func(t *testing.T) { newBench(t, origin).restart() })
}

// bench is an origin and an intake, and what was sent.
type bench struct {
	*Origin
	t    *testing.T
	in   Intake
	sent int
}

func newBench(t *testing.T, origin func(t *testing.T) *Origin) *bench {
	t.Helper()
	o := *origin(t)
	o.Series, o.Within, o.Cuts = max(o.Series, 1), cmp.Or(o.Within, 10*time.Second), cmp.Or(o.Cuts, 5)
	return &bench{Origin: &o, t: t}
}

func (b *bench) run() (stop func() error) {
	b.t.Helper()
	stop = Run(b.t, b.New(b.t), &b.in)
	if b.Ready != nil {
		b.Ready(b.t)
	}
	return stop
}

func (b *bench) send(n int) {
	b.t.Helper()
	for range n {
		b.sent++
		b.Send(b.t, b.sent)
	}
}

// await waits until the intake is as it should be.
func (b *bench) await(what string, ready func(State) bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), b.Within)
	defer cancel()
	if now, err := b.in.Wait(ctx, ready); err != nil {
		b.t.Fatalf("want %s within %v: %d sent, %d taken, %d refused, %d calls held", what, b.Within, b.sent, now.Taken, now.Refused, now.Waiting)
	}
}

// last waits until the last reading that was sent is taken.
func (b *bench) last() {
	b.t.Helper()
	b.await("the last reading", func(State) bool {
		return slices.ContainsFunc(b.in.taken, func(r source.Reading) bool { return number(&r) == float64(b.sent) }) // under the lock
	})
}

// complete checks that each reading from the first to the last was taken, once and in the order of its series; gaps
// says that some may be missing.
func (b *bench) complete(gaps bool) {
	b.t.Helper()
	seen := make(map[int]bool)
	newest := make(map[int]int) // by series
	keys := make(map[int]any)
	for i, r := range b.in.Readings() {
		value := number(&r)
		n := int(value)
		if value != float64(n) || n < 1 || n > b.sent {
			b.t.Fatalf("reading %d, %s: %v %q: want one that was sent, 1 to %d", i, r.Key, r.Value, r.Text, b.sent)
		}
		series := n % b.Series
		if key, known := keys[series]; known && key != any(r.Key) {
			b.t.Errorf("reading %d of series %d is of %s: want %v", n, series, r.Key, key)
		}
		keys[series] = r.Key
		switch {
		case seen[n] && !b.Again:
			b.t.Errorf("reading %d was taken twice", n)
		case n < newest[series] && !b.Again:
			b.t.Errorf("reading %d of series %d was taken after %d", n, series, newest[series])
		}
		seen[n], newest[series] = true, n
	}
	for n := 1; n <= b.sent && !gaps; n++ {
		if !seen[n] {
			b.t.Errorf("reading %d of %d was lost", n, b.sent)
		}
	}
}

// number is the value of a reading, which the origin may have as text.
func number(r *source.Reading) float64 {
	if r.Text == "" {
		return r.Value
	}
	v, err := strconv.ParseFloat(r.Text, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func (b *bench) inOrder() {
	b.run()
	b.send(100)
	b.last()
	b.complete(false)
}

func (b *bench) slowly() {
	release := b.in.Hold()
	defer release()
	b.run()
	b.send(100)
	b.await("a call that waits", func(s State) bool { return s.Waiting > 0 })
	if n := len(b.in.Readings()); n > 0 {
		b.t.Fatalf("%d readings were taken by an intake that is held", n)
	}
	release()
	b.last()
	b.complete(!b.Replays)
}

func (b *bench) refused() {
	b.in.Refuse = func(r *source.Reading) error {
		if int(number(r))%3 == 0 {
			return errors.New("a multiple of three")
		}
		return nil
	}
	b.run()
	b.send(100)
	b.await("the last reading, 33 refused", func(s State) bool { return s.Taken == 67 && s.Refused >= 33 || s.Taken > 67 })
	for _, r := range b.in.Readings() {
		if int(number(&r))%3 == 0 {
			b.t.Errorf("reading %v was refused and taken", number(&r))
		}
	}
}

func (b *bench) endsHeld() {
	defer b.in.Hold()()
	stop := b.run()
	b.send(10)
	b.await("a call that waits", func(s State) bool { return s.Waiting > 0 })
	if err := stop(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) endsIdle() {
	stop := b.run()
	if err := stop(); err != nil {
		b.t.Error(err)
	}
	if _, err := b.in.Wait(b.t.Context(), func(s State) bool { return s.Waiting == 0 }); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) cut() {
	if b.Cut == nil {
		b.t.Skip("there is no connection to break")
	}
	b.run()
	for range b.Cuts {
		b.send(20)
		b.Cut(b.t)
		if !b.Replays && b.Ready != nil {
			b.Ready(b.t)
		}
	}
	b.send(1)
	b.last()
	b.complete(!b.Replays)
}

func (b *bench) restart() {
	if !b.Replays {
		b.t.Skip("the origin has nothing for who comes later")
	}
	for range 3 {
		stop := b.run()
		b.send(20)
		b.last()
		if err := stop(); err != nil {
			b.t.Error(err)
		}
		b.send(20) // meanwhile
	}
	b.run()
	b.last()
	b.complete(false)
}

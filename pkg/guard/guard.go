// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package guard keeps a panic from ending the process. A mapper runs code of many: drivers of devices and detectors,
// sinks, hooks, and our own. Whoever starts a goroutine calls what runs in it by [Call], [Loop] or [Handler]: a panic is
// then an error of the owner, which goes on, and it is logged, with its stack the first time and as a count a minute
// from then on.
package guard

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// Panic is the error that a panic has become.
type Panic struct {
	In    string // what panicked
	Value any    // what it panicked with
	Stack []byte // of the first one in In
}

func (p *Panic) Error() string { return logs.Line(fmt.Sprintf("%s panicked: %v", p.In, p.Value)) }

// Unwrap returns the value where it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Call calls f. A panic of f is logged, and returned as a [*Panic]. in names what f is.
func Call(in string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = Caught(in, v)
		}
	}()
	return f()
}

// Do calls f as [Call] does.
func Do(in string, f func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = Caught(in, v)
		}
	}()
	f()
	return nil
}

// Recover is to be deferred: it ends a panic and logs it.
func Recover(in string) {
	if v := recover(); v != nil {
		_ = Caught(in, v) // is logged
	}
}

// The pause before what panicked is run again doubles from one to the other.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

// Loop runs f, which is meant to run until ctx ends. If f panics, it is run again after a pause.
func Loop(ctx context.Context, in string, f func(context.Context)) {
	for pause := (wait.Backoff{First: firstPause, Longest: longestPause}); ; {
		began := time.Now()
		if err := Do(in, func() { f(ctx) }); err == nil || ctx.Err() != nil {
			return
		}
		if time.Since(began) > longestPause {
			pause.Reset()
		}
		if wait.Sleep(ctx, pause.Next()) != nil {
			return
		}
	}
}

// Handler has net/http end a request whose handler panics, without a line of its own: the answer may be half written.
func Handler(in string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares so
				_ = Caught(in, v) // is logged
			}
			panic(http.ErrAbortHandler)
		}()
		h.ServeHTTP(w, r)
	})
}

var (
	first = logs.Limiter{Every: 1 << 62} // for the stack: once in the life of the process
	again logs.Limiter
)

// Caught makes a recovered value an error and logs it, for owners that call recover themselves. in tells apart what is
// logged once; what else is to be said of it goes with the line.
func Caught(in string, value any, keysAndValues ...any) *Panic {
	p := &Panic{In: in, Value: value}
	if _, ok := first.Allow(in); ok {
		p.Stack = debug.Stack()
		logs.ErrorS(p, "Panic", append(keysAndValues, "in", in, "stack", logs.Stack(p.Stack))...)
		again.Allow(in)
	} else {
		again.ErrorS(in, p, "Panic", append(keysAndValues, "in", in)...)
	}
	return p
}

// Join waits until all goroutines of wg have ended; if ctx ends before, it returns its cause. One goroutine then waits on.
func Join(ctx context.Context, wg *sync.WaitGroup) error {
	joined := make(chan struct{})
	go func() {
		wg.Wait()
		close(joined)
	}()
	select {
	case <-joined:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

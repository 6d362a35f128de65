// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package guard_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs/logstest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("k8s.io/klog/v2.(*flushDaemon).run.func1"))
}

func TestAPanicIsAnError(t *testing.T) {
	cause := errors.New("index out of range")
	err := guard.Call("a driver", func() error { panic(cause) })
	var p *guard.Panic
	if !errors.As(err, &p) || !errors.Is(err, cause) || p.Error() != "a driver panicked: index out of range" || !bytes.Contains(p.Stack, []byte("guard_test.go")) {
		t.Errorf("got %v", err)
	}
	if err := guard.Do("a driver", func() { panic("two\nlines") }); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if err := guard.Call("a driver", func() error { return cause }); err != cause { //nolint:errorlint // the very same
		t.Errorf("an error that is none of a panic became %v", err)
	}
	func() {
		defer guard.Recover("a hook")
		panic("in a hook")
	}()
}

// What runs for ever is run again after a panic, not at once, and not when its owner has ended.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		runs, began := 0, time.Now()
		guard.Loop(ctx, "a sweeper", func(ctx context.Context) {
			if runs++; runs < 4 {
				panic(runs)
			}
			cancel()
			<-ctx.Done()
		})
		if took := time.Since(began); runs != 4 || took < 350*time.Millisecond || took > 700*time.Millisecond {
			t.Errorf("%d runs in %v, want 4 in 0.35 to 0.7 s", runs, took)
		}
		guard.Loop(ctx, "a sweeper", func(context.Context) { runs++; panic("after the end") })
		if runs != 5 {
			t.Errorf("%d runs, want no other after the end", runs)
		}
	})
}

// Goroutines that end are waited for; of those that do not, who waits hears why it ended.
func TestJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		hung := make(chan struct{})
		wg.Go(func() { <-hung })
		cause := errors.New("no time is left")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		if err := guard.Join(ctx, &wg); !errors.Is(err, cause) {
			t.Errorf("while one hangs: got %v, want %v", err, cause)
		}
		close(hung)
		if err := guard.Join(t.Context(), &wg); err != nil {
			t.Errorf("after all have ended: %v", err)
		}
	})
}

// A panic that comes back a thousand times a second has one stack in the log, and then a line a minute.
func TestStackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logstest.Capture(t)
		for range 3*60*1000 + 1 {
			_ = guard.Do("a driver that always panics", func() { panic("again") })
			time.Sleep(time.Millisecond) //nolint:forbidigo // of synctest
		}
		if n := strings.Count(log.String(), "debug.Stack()"); n != 1 {
			t.Errorf("%d stacks, want 1", n)
		}
		if n := strings.Count(log.String(), "] \"Panic\""); n != 4 {
			t.Errorf("%d lines in three minutes, want 4:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "more=59999") {
			t.Errorf("no count in\n%s", log.String())
		}
	})
}

func TestHandler(t *testing.T) {
	h := guard.Handler("GET /broken", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/broken" {
			panic("in a handler")
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	s := httptest.NewServer(h)
	defer s.Close()
	for range 3 {
		if resp, err := s.Client().Get(s.URL + "/broken"); err == nil {
			resp.Body.Close()
			t.Error("a handler that panics answers")
		}
		resp, err := s.Client().Get(s.URL + "/fine")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
}

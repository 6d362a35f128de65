// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// mostCauses are told apart. What comes beyond shares one line a minute.
const mostCauses = 1024

// Limiter tells each cause once a minute. The zero value is ready for use, and safe for concurrent use.
type Limiter struct {
	Every time.Duration // 0 means a minute

	mu    sync.Mutex
	told  map[string]told
	swept time.Time // when what is long ago was last dropped
}

type told struct {
	at   time.Time
	left int // out since then
}

// Allow tells whether there may be a line on the cause now, and how many there would have been since the last one.
func (l *Limiter) Allow(cause string) (left int, ok bool) {
	every := l.Every
	if every == 0 {
		every = time.Minute
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	t, known := l.told[cause]
	if !known && len(l.told) >= mostCauses {
		if now.Sub(l.swept) >= every {
			l.swept = now
			l.drop(now, every)
		}
		if len(l.told) >= mostCauses {
			cause = ""
			t, known = l.told[cause]
		}
	}
	if known && now.Sub(t.at) < every {
		t.left++
		l.told[cause] = t
		return 0, false
	}
	if l.told == nil {
		l.told = make(map[string]told)
	}
	l.told[cause] = told{at: now}
	return t.left, true
}

// drop forgets causes that may be told again. The caller holds mu.
func (l *Limiter) drop(now time.Time, every time.Duration) {
	for cause, t := range l.told {
		if now.Sub(t.at) >= every {
			delete(l.told, cause)
		}
	}
}

// Warningf logs a warning unless the cause was told within the last minute.
func (l *Limiter) Warningf(cause, format string, args ...any) {
	if left, ok := l.Allow(cause); ok {
		if left > 0 {
			format, args = format+" (%d more like it since the last line)", append(args, left)
		}
		klog.WarningDepth(1, Line(fmt.Sprintf(format, args...)))
	}
}

// ErrorS logs an error unless the cause was told within the last minute.
func (l *Limiter) ErrorS(cause string, err error, message string, keysAndValues ...any) {
	if left, ok := l.Allow(cause); ok {
		if left > 0 {
			keysAndValues = append(keysAndValues, "more", left)
		}
		klog.ErrorSDepth(1, onLine(err), Line(message), values(keysAndValues)...)
	}
}

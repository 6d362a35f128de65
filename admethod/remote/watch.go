// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// errSilent is why a session ends whose detector does not answer: it may be that of the connection.
var errSilent = errors.New("no answer")

// watchProgress ends a session in which the oldest row waits too long for its answer.
func (l *link) watchProgress(ctx context.Context, end context.CancelCauseFunc) {
	since, oldest := time.Now(), uint64(0)
	wait.Tick(ctx, l.config.Timeout/8, func(now time.Time) {
		l.mu.Lock()
		waits := l.pending.n > 0
		head := uint64(0)
		if waits {
			head = l.pending.at(0).sequence
		}
		l.mu.Unlock()
		if !waits || head != oldest {
			since, oldest = now, head
		} else if now.Sub(since) >= l.config.Timeout {
			end(fmt.Errorf("request %d: %w within %v", head, errSilent, l.config.Timeout))
		}
	})
}

const tendEvery = 100 * time.Millisecond

// watchStale tells every stream when its detector has not answered for long, once in each outage.
func (l *link) watchStale(ctx context.Context) {
	since, answers := time.Now(), uint64(0)
	wait.Tick(ctx, min(max(l.config.StaleAfter/8, 10*time.Millisecond), tendEvery), func(now time.Time) {
		l.tend()
		l.mu.Lock()
		moved := !l.inbox.owes() || l.answers != answers
		answers = l.answers
		l.mu.Unlock()
		if moved {
			since = now
		} else if away := now.Sub(since); away >= l.config.StaleAfter {
			l.tellStale(away)
		}
	})
}

// tellStale has the fallback take over or, where there is none, delivers a verdict Unknown to each stream that has had
// none in this outage, or one for another cause some time ago.
func (l *link) tellStale(away time.Duration) {
	l.delivering.Lock()
	defer l.delivering.Unlock()
	l.mu.Lock()
	streams := slices.Collect(maps.Keys(l.streams))
	cause := l.cause
	if l.up {
		cause = errors.New("it is connected but silent")
	}
	l.mu.Unlock()
	if l.judge != nil {
		l.takeOver(cause)
		return
	}
	lasts := make([]time.Time, len(streams))
	l.inbox.mu.Lock()
	for i, s := range streams {
		lasts[i] = s.last
	}
	l.inbox.mu.Unlock()
	now := time.Now()
	again := now.Sub(l.toldStale) >= l.config.StaleAfter
	for i, s := range streams {
		if lasts[i].IsZero() || s.stale != "" && (!again || s.stale == cause.Error()) {
			continue
		}
		l.toldStale = now
		s.stale = cause.Error()
		r := &l.result
		r.Reset(nil)
		r.Key, r.At = s.Settings.Members[0].Key, lasts[i]
		r.Threshold, r.Kind = s.Settings.Config.Threshold, driver.KindFailed
		r.Message = fmt.Sprintf("the detector at %s has not answered for %v: %v", l.config.Address, away.Round(time.Second), cause)
		s.Settings.Deliver(r, nil)
	}
}

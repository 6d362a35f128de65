// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"sync"
	"sync/atomic"
	"time"

	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// reasons are what the newest verdicts say of the incidents that are open, those among them that sinks are not told for want
// of news: how long it lasts, and who is to blame. While none is open they cost a load of an atomic.
type reasons struct {
	n  atomic.Int64
	mu sync.Mutex
	of map[driver.Key]*reason
}

// reason is what the newest verdict on a property says.
type reason struct {
	at                  time.Time
	message, translated string
	cause               driver.Key // to blame most; zero where nothing is
	blames              bool       // a verdict of the incident has blamed something
}

func (p *reason) take(r *driver.Result) {
	if p.at = r.At; r.Message != "" && r.Severity.Anomalous() {
		p.message, p.translated = r.Message, r.Translated
	}
	if p.cause = (driver.Key{}); len(r.Causes) > 0 {
		p.cause, p.blames = r.Causes[0].Key, true
	}
}

// open takes a verdict that was told on a property that has an incident, and has what follows taken.
func (l *reasons) open(r *driver.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of[r.Key]
	if p == nil {
		if l.of == nil {
			l.of = make(map[driver.Key]*reason)
		}
		p = new(reason)
		l.of[r.Key] = p
		l.n.Store(int64(len(l.of)))
	}
	if !r.At.Before(p.at) {
		p.take(r)
	}
}

func (l *reasons) end(key driver.Key) {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, key)
	l.n.Store(int64(len(l.of)))
}

// see takes a verdict.
func (l *reasons) see(r *driver.Result) {
	if l.n.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.of[r.Key]; p != nil {
		p.take(r)
	}
}

func (l *reasons) get(key driver.Key) (reason, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.of[key]; p != nil {
		return *p, true
	}
	return reason{}, false
}

// reason is what is known now of the incident that is open of a property; the zero value where none is. A member of a group
// that is blamed no longer hears of it by what is said of the others.
func (s *Server) reason(key driver.Key) reason {
	own, open := s.reasons.get(key)
	if !open || own.cause != (driver.Key{}) || !own.blames || s.watched == nil {
		return own
	}
	group, _ := s.watched(key)
	var newest time.Time
	for _, k := range group.Members {
		if p, ok := s.reasons.get(k); ok && p.cause != (driver.Key{}) && !p.at.Before(newest) {
			newest, own.cause = p.at, p.cause
		}
	}
	return own
}

// tell makes an incident say it.
func (p *reason) tell(i *Incident) {
	if p.message != "" {
		i.Message, i.Translated = p.message, p.translated
	}
	if p.cause != (driver.Key{}) {
		i.Cause = &shared.Blamed{Device: p.cause.Device, Property: p.cause.Property}
	}
	if i.Phase.Open() {
		i.Duration = max(i.Duration, p.at.Sub(i.Start).Seconds())
	}
}

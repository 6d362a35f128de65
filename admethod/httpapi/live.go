// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
)

// livePace is the least time between two readings of a property that a listener is told, while nothing changes.
const livePace = 100 * time.Millisecond

// live hands every verdict on the properties that somebody looks at to who does, also those that say nothing new. While
// nobody does it costs a load of an atomic.
type live struct {
	watched atomic.Int64 // listeners

	mu   sync.Mutex
	keys map[driver.Key]*looked
}

// looked is a property that somebody looks at.
type looked struct {
	events
	told     time.Time
	severity driver.Severity
}

// Hooks implements [admethod.Observer].
func (s *Server) Hooks() *admethod.Hooks {
	return &admethod.Hooks{Verdict: func(r *driver.Result) {
		s.live.see(r)
		s.reasons.see(r)
	}}
}

// see takes a verdict.
func (l *live) see(r *driver.Result) {
	if l.watched.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[r.Key]
	if k == nil {
		return
	}
	now := time.Now()
	if r.Severity == k.severity && now.Sub(k.told) < livePace {
		return
	}
	data, err := json.Marshal(FromResult(r))
	if err != nil {
		return // the sink's Write tells of it
	}
	k.told, k.severity = now, r.Severity
	k.publish(r.Key.Namespace, data, false)
}

// listen returns a channel of what comes on a property; nil when there are too many listeners.
func (l *live) listen(key driver.Key) (c chan event, leave func()) {
	if l.watched.Add(1) > mostListeners {
		l.watched.Add(-1)
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[key]
	if k == nil {
		if l.keys == nil {
			l.keys = make(map[driver.Key]*looked)
		}
		k = new(looked)
		k.init()
		l.keys[key] = k
	}
	_, c = k.listen(0, false)
	return c, func() {
		l.watched.Add(-1)
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.leave(c); len(k.listeners) == 0 && l.keys[key] == k {
			delete(l.keys, key)
		}
	}
}

// follow answers GET /v1/live: the verdicts on one property, as they come, those that say nothing new among them.
func (s *Server) follow(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	key := driver.Key{Namespace: q.Get("namespace"), Device: q.Get("device"), Property: q.Get("property")}
	if key.Device == "" {
		http.Error(w, "device: want the name of one", http.StatusBadRequest)
		return
	}
	if !viewerOf(r).sees(key.Namespace) {
		http.Error(w, "namespace: it is not among those that you see", http.StatusForbidden)
		return
	}
	c, leave := s.live.listen(key)
	if c == nil {
		http.Error(w, "too many listeners", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	s.send(w, r, nil, c)
}

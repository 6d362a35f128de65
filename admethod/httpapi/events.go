// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	mostListeners = 64   // of events at one time
	listenerQueue = 256  // events that wait for a listener before it is cut off
	keptEvents    = 1024 // for listeners that come back
	keepAlive     = 15 * time.Second
	slowestWrite  = 10 * time.Second
)

type event struct {
	id        int64
	namespace string
	data      []byte
	same      bool // it says what the one before on its property said
}

// events hands verdicts to listeners. Its memory is bounded: a listener that does not keep up is cut off.
type events struct {
	most int // listeners

	mu        sync.Mutex
	next      int64
	kept      []event
	listeners map[chan event]bool // and whether they want changes alone
}

// init numbers on from the time of day, so that the numbers of an earlier process are not met again.
func (e *events) init() {
	e.most, e.next = mostListeners, time.Now().UnixMicro()
	e.listeners = make(map[chan event]bool)
}

func (e *events) publish(namespace string, data []byte, same bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	ev := event{e.next, namespace, data, same}
	if len(e.kept) == keptEvents {
		e.kept = slices.Delete(e.kept, 0, keptEvents/4)
	}
	e.kept = append(e.kept, ev)
	for l, changes := range e.listeners {
		if changes && same {
			continue
		}
		select {
		case l <- ev:
		default:
			delete(e.listeners, l)
			close(l)
		}
	}
}

// listen returns what was kept after the event of number last (nothing for 0), and a channel for what comes. It is nil
// when there are too many listeners.
func (e *events) listen(last int64, changes bool) ([]event, chan event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.listeners) >= e.most {
		return nil, nil
	}
	l := make(chan event, listenerQueue)
	e.listeners[l] = changes
	if last <= 0 {
		return nil, l
	}
	i, _ := slices.BinarySearchFunc(e.kept, last+1, func(ev event, id int64) int { return cmp.Compare(ev.id, id) })
	missed := slices.Clone(e.kept[i:])
	return slices.DeleteFunc(missed, func(ev event) bool { return changes && ev.same }), l
}

func (e *events) leave(l chan event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
}

// stream answers GET /v1/events. With changes=true it is told only what changes a severity or an incident, not that all is
// as before.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	last, _ := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64) // what is not a number of ours asks for nothing old
	changes, _ := strconv.ParseBool(r.URL.Query().Get("changes"))
	missed, l := s.events.listen(last, changes)
	if l == nil {
		http.Error(w, "too many listeners", http.StatusServiceUnavailable)
		return
	}
	defer s.events.leave(l)
	s.send(w, r, missed, l)
}

// send writes events until the listener or the server is gone.
func (s *Server) send(w http.ResponseWriter, r *http.Request, missed []event, l <-chan event) {
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	write := func(format string, args ...any) bool {
		_ = control.SetWriteDeadline(time.Now().Add(slowestWrite)) // not every ResponseWriter has one
		_, err := fmt.Fprintf(w, format, args...)
		return err == nil && control.Flush() == nil
	}
	if !write(": verdicts\n\n") {
		return
	}
	v := viewerOf(r)
	for _, ev := range missed {
		if v.sees(ev.namespace) && !write("id: %d\ndata: %s\n\n", ev.id, ev.data) {
			return
		}
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for ok := true; ok; {
		select {
		case ev, open := <-l:
			ok = open && (!v.sees(ev.namespace) || write("id: %d\ndata: %s\n\n", ev.id, ev.data))
		case <-tick.C:
			ok = write(": alive\n\n")
		case <-r.Context().Done():
			return
		case <-s.stop:
			return
		}
	}
}

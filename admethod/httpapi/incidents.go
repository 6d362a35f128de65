// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// Incident is an incident as the API answers it.
type Incident = shared.Report

const (
	usualIncidents = 100  // of an answer
	mostIncidents  = 1000 // of an answer, and of those remembered that are over
)

// IncidentFilter narrows a list of incidents. What is empty matches all.
type IncidentFilter struct {
	ID                          string // of one
	Namespace, Device, Property string // globs
	Kind                        driver.Kind
	Severity                    driver.Severity // that or worse
	Since                       time.Time       // those that lasted then or began later
	Open                        *bool           // those that last, or those that are over
	After                       *Incident       // those behind it, in the order of [shared.Compare]
	Limit                       int             // so many at most; 0 means 100
	Seen                        []string        // namespaces that may be seen, globs; empty is all
}

// Matches reports whether an incident is one of those.
func (f *IncidentFilter) Matches(i *Incident) bool {
	return seen(f.Seen, i.Namespace) && (f.ID == "" || f.ID == i.ID) &&
		fits(f.Namespace, i.Namespace) && fits(f.Device, i.Device) && fits(f.Property, i.Property) &&
		(f.Kind == "" || f.Kind == i.Kind) && i.Severity >= f.Severity &&
		(f.Since.IsZero() || i.End == nil || !i.End.Before(f.Since)) &&
		(f.Open == nil || *f.Open == (i.End == nil)) &&
		(f.After == nil || shared.Compare(i, f.After) > 0)
}

// parse reads the query of a request.
func (f *IncidentFilter) parse(q url.Values) error {
	f.ID, f.Namespace, f.Device, f.Property, f.Kind = q.Get("id"), q.Get("namespace"), q.Get("device"), q.Get("property"), driver.Kind(q.Get("kind"))
	err := globs(q, "namespace", "device", "property")
	if err != nil {
		return err
	}
	if text := q.Get("severity"); text != "" {
		if err = f.Severity.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("severity: want %w", err)
		}
	}
	if f.Since, err = moment(q, "since", time.Time{}); err != nil {
		return err
	}
	if text := q.Get("open"); text != "" {
		open, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("open: got %q, want true or false", text)
		}
		f.Open = &open
	}
	if f.Limit, err = Number(q, "limit", usualIncidents, 1, mostIncidents); err != nil {
		return err
	}
	if text := q.Get("page"); text != "" {
		data, err := base64.RawURLEncoding.DecodeString(text)
		if f.After = new(Incident); err != nil || json.Unmarshal(data, f.After) != nil || f.After.ID == "" {
			return errors.New("page: want what an earlier answer gave as next")
		}
	}
	return nil
}

// next is where the page behind an incident begins.
func next(i *Incident) string {
	at := Incident{Namespace: i.Namespace, Device: i.Device, Property: i.Property}
	at.ID, at.Start, at.Severity, at.Phase = i.ID, i.Start, driver.Unknown, driver.NoIncident
	data, _ := json.Marshal(at) // plain values: it cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// Incidents knows incidents: the latest that fit, at most f.Limit of them, in the order of [shared.Compare].
type Incidents func(ctx context.Context, f IncidentFilter) ([]Incident, error)

// Past adds what knows of incidents that are over to the answers of servers, until remove is called.
func (rs *Routes) Past(known Incidents) (remove func()) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	p := &known
	rs.past = append(rs.past, p)
	return func() {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		rs.past = slices.DeleteFunc(rs.past, func(o *Incidents) bool { return o == p })
	}
}

func (rs *Routes) pasts() []*Incidents {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return slices.Clone(rs.past)
}

// ledger holds the incidents that are open, and the last that ended. Its memory is bounded.
type ledger struct {
	book *incidents.Book
	open map[driver.Key]*Incident
	over []*Incident // the last one ended last
}

func newLedger(most int) ledger {
	return ledger{book: incidents.NewBook(most), open: make(map[driver.Key]*Incident)}
}

func (l *ledger) take(r *driver.Result, most int, known reason) {
	news := l.book.Take(r)
	if news.Ended.ID != 0 {
		i := l.open[r.Key]
		if delete(l.open, r.Key); i == nil {
			i = new(Incident)
		}
		i.Update(r, &news.Ended)
		known.tell(i)
		l.end(i)
	}
	if news.Now.ID == 0 {
		return
	}
	i := l.open[r.Key]
	if i == nil {
		if len(l.open) >= most {
			return
		}
		i = new(Incident)
		l.open[r.Key] = i
	}
	i.Update(r, &news.Now)
}

func (l *ledger) forget(key driver.Key, at time.Time) {
	ended := l.book.Forget(key, at)
	if i := l.open[key]; i != nil && ended.ID != 0 {
		i.Update(&driver.Result{Key: key, At: at}, &ended)
		l.end(i)
	}
	delete(l.open, key)
}

func (l *ledger) end(i *Incident) {
	if len(l.over) >= mostIncidents {
		l.over = slices.Delete(l.over, 0, mostIncidents/4)
	}
	l.over = append(l.over, i)
}

// list is [Incidents] of the ledger.
func (l *ledger) list(f *IncidentFilter) (found []Incident) {
	add := func(i *Incident) {
		if f.Matches(i) {
			found = append(found, *i)
		}
	}
	for _, i := range l.open {
		add(i)
	}
	for _, i := range l.over {
		add(i)
	}
	slices.SortFunc(found, func(a, b Incident) int { return shared.Compare(&a, &b) })
	return found[:min(len(found), f.Limit)]
}

// find lists incidents that the server knows, and what others know of the past.
func (s *Server) find(ctx context.Context, f IncidentFilter) ([]Incident, error) {
	s.mu.Lock()
	found := s.ledger.list(&f)
	s.mu.Unlock()
	for i := range found {
		if f := &found[i]; f.Phase.Open() {
			known := s.reason(driver.Key{Namespace: f.Namespace, Device: f.Device, Property: f.Property})
			known.tell(f)
		}
	}
	for _, known := range s.routes.pasts() {
		more, err := (*known)(ctx, f)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	// Of one that several know, the first is kept: what the server knows itself is the latest.
	slices.SortStableFunc(found, func(a, b Incident) int { return shared.Compare(&a, &b) })
	found = slices.CompactFunc(found, func(a, b Incident) bool { return shared.Compare(&a, &b) == 0 })
	return found[:min(len(found), f.Limit)], nil
}

// incidents answers GET /v1/incidents: the latest first. The query may narrow by namespace, device and property (globs),
// kind, severity (that or worse), since (those that lasted then or began later) and open; limit and page lead through
// long lists.
func (s *Server) incidents(w http.ResponseWriter, r *http.Request) {
	var f IncidentFilter
	if err := f.parse(r.URL.Query()); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	more := f
	more.Seen = viewerOf(r).namespaces
	more.Limit++ // by which it is known whether there is another page
	found, err := s.find(r.Context(), more)
	if err != nil {
		logs.Warningf("api: incidents: %v", err)
		http.Error(w, "the history cannot be read now", http.StatusServiceUnavailable)
		return
	}
	answer := struct {
		Incidents []Incident `json:"incidents"`
		Next      string     `json:"next,omitempty"` // the page that follows
	}{Incidents: found}
	if len(found) > f.Limit {
		answer.Incidents, answer.Next = found[:f.Limit], next(&found[f.Limit-1])
	}
	if answer.Incidents == nil {
		answer.Incidents = []Incident{}
	}
	WriteJSON(w, http.StatusOK, answer)
}

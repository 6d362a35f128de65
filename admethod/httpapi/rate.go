// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	shared "github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	rateEvery   = 15 * time.Second // between two looks at all properties
	rateCell    = time.Minute
	rateCells   = 24 * 60 // of a day
	mostRates   = 200     // namespaces with models that are told apart; the others are one
	heatCell    = 10 * time.Minute
	heatCells   = 24 * 6 // of a day
	heatScale   = 40     // steps of a rarity of 1
	leastRarity = 1      // a score of 0.9
	mostRanked  = 500    // of an answer
	usualRanked = 20
)

// RateOf is what is told apart in the share of properties that are anomalous.
type RateOf struct {
	Namespace string `json:"namespace"` // "" is all others
	Model     string `json:"model"`     // of the device; "" where it is not known
}

// Rate is the share of properties that are anomalous, over time.
type Rate struct {
	RateOf
	Share      []*float64 `json:"share"` // from 0 to 1, of each minute; null where nothing was judged
	Properties int        `json:"properties"`
}

// cells is a ring of minutes.
type cells struct {
	newest int64 // minutes since 1970
	judged [rateCells]uint32
	odd    [rateCells]uint32
}

// turn clears what is over, so that the cell of a minute may be added to. Minutes that are long ago have none.
func (c *cells) turn(minute int64) (at int, ok bool) {
	if c.newest == 0 {
		c.newest = minute
	}
	for ; c.newest < minute; c.newest++ {
		if minute-c.newest > rateCells {
			c.newest = minute - rateCells
		}
		next := (c.newest + 1) % rateCells
		c.judged[next], c.odd[next] = 0, 0
	}
	return int(minute % rateCells), minute > c.newest-rateCells && minute >= 0
}

// rates remembers how many properties were anomalous, and when each was unusual, for a day. Its memory is bounded.
type rates struct {
	mu   sync.Mutex
	of   map[RateOf]*cells
	heat map[driver.Key]*heat // of those that were unusual at some time
}

// heat is how unusual a property was, at most, in each ten minutes of a day.
type heat struct {
	newest int64 // of heatCell since 1970
	cells  [heatCells]uint8
}

// look counts the properties that are anomalous now.
func (s *Server) look(now time.Time) {
	type count struct{ judged, odd uint32 }
	counts := make(map[RateOf]count)
	s.grouped(&viewer{}, func(d *group) {
		of := RateOf{d.keys[0].Namespace, d.model}
		c := counts[of]
		for _, severity := range d.severities {
			if severity != driver.Unknown {
				c.judged++
			}
			if severity.Anomalous() {
				c.odd++
			}
		}
		counts[of] = c
	})
	s.rates.mu.Lock()
	defer s.rates.mu.Unlock()
	if s.rates.of == nil {
		s.rates.of = make(map[RateOf]*cells)
	}
	minute := now.Unix() / int64(rateCell/time.Second)
	for of, n := range counts {
		c := s.rates.of[of]
		if c == nil {
			if len(s.rates.of) >= mostRates {
				of = RateOf{}
				c = s.rates.of[of]
			}
			if c == nil {
				c = new(cells)
				s.rates.of[of] = c
			}
		}
		if at, ok := c.turn(minute); ok {
			c.judged[at], c.odd[at] = c.judged[at]+n.judged, c.odd[at]+n.odd
		}
	}
	oldest := now.Unix()/int64(heatCell/time.Second) - heatCells
	for key, h := range s.rates.heat {
		if h.newest < oldest {
			delete(s.rates.heat, key)
		}
	}
}

// watchRates looks until ctx ends.
func (s *Server) watchRates(ctx context.Context) { wait.Tick(ctx, rateEvery, s.look) }

// warm notes how unusual a reading is.
func (t *rates) warm(r *driver.Result, most int) {
	rarity := shared.Rarity(r.Score)
	if rarity < leastRarity {
		return
	}
	cell := r.At.Unix() / int64(heatCell/time.Second)
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.heat[r.Key]
	if h == nil {
		if len(t.heat) >= most || cell < heatCells {
			return
		}
		if t.heat == nil {
			t.heat = make(map[driver.Key]*heat)
		}
		h = &heat{newest: cell}
		t.heat[r.Key] = h
	}
	for ; h.newest < cell; h.newest++ {
		if cell-h.newest > heatCells {
			h.newest = cell - heatCells
		}
		h.cells[(h.newest+1)%heatCells] = 0
	}
	if cell > h.newest-heatCells {
		at := &h.cells[cell%heatCells]
		*at = max(*at, uint8(rarity*heatScale))
	}
}

// rate answers GET /v1/rate: the share of properties that are anomalous, of each namespace and model, minute by minute for
// the last hours, 24 at most.
func (s *Server) rate(w http.ResponseWriter, r *http.Request) {
	hours := 24.0
	if text := r.URL.Query().Get("hours"); text != "" {
		var err error
		if hours, err = strconv.ParseFloat(text, 64); err != nil || !(hours > 0 && hours <= 24) {
			http.Error(w, fmt.Sprintf("hours: got %q, want a number up to 24", text), http.StatusBadRequest)
			return
		}
	}
	v, now := viewerOf(r), time.Now()
	minute, n := now.Unix()/60, max(1, int(hours*60))
	list := []Rate{}
	s.rates.mu.Lock()
	for of, c := range s.rates.of {
		if !v.sees(of.Namespace) {
			continue
		}
		rate := Rate{RateOf: of, Share: make([]*float64, n)}
		for i := range n {
			at := minute - int64(n-1-i)
			if at > c.newest || at <= c.newest-rateCells || c.judged[at%rateCells] == 0 {
				continue
			}
			share := float64(c.odd[at%rateCells]) / float64(c.judged[at%rateCells])
			rate.Share[i] = &share
		}
		list = append(list, rate)
	}
	s.rates.mu.Unlock()
	counts := make(map[RateOf]int)
	s.grouped(v, func(d *group) { counts[RateOf{d.keys[0].Namespace, d.model}] += len(d.keys) })
	for i := range list {
		list[i].Properties = counts[list[i].RateOf]
	}
	slices.SortFunc(list, func(a, b Rate) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Model, b.Model))
	})
	WriteJSON(w, http.StatusOK, map[string]any{"from": time.Unix((minute-int64(n-1))*60, 0).UTC(), "each": 60, "rates": list})
}

// Unusual is a property, and how unusual it was in a span of time.
type Unusual struct {
	Namespace string          `json:"namespace"`
	Device    string          `json:"device"`
	Property  string          `json:"property"`
	Rank      float64         `json:"rank"`               // rarity, as powers of ten, over the time of the span
	Score     float64         `json:"score"`              // the greatest
	Seconds   float64         `json:"seconds"`            // of the span in an incident
	Severity  driver.Severity `json:"severity,omitempty"` // of its worst incident
	Kind      driver.Kind     `json:"kind,omitempty"`     // likewise
	Message   string          `json:"message,omitempty"`  // likewise
	Start     *time.Time      `json:"start,omitempty"`    // likewise
}

// unusual answers GET /v1/unusual: what was most unusual in a span of time, across devices. It goes by the scores of the
// last day, and by incidents as far back as they are known.
func (s *Server) unusual(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	most := 0
	from, to, err := Span(q, time.Now())
	if err == nil {
		most, err = Number(q, "limit", usualRanked, 1, mostRanked)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if from.IsZero() {
		from = to.Add(-time.Hour)
	}
	v := viewerOf(r)
	found := make(map[driver.Key]*Unusual)
	of := func(key driver.Key) *Unusual {
		u := found[key]
		if u == nil {
			u = &Unusual{Namespace: key.Namespace, Device: key.Device, Property: key.Property}
			found[key] = u
		}
		return u
	}
	length := to.Sub(from).Seconds()
	s.rates.between(from, to, v, func(key driver.Key, rarity, worst float64) {
		u := of(key)
		u.Rank, u.Score = rarity/length, 1-math.Pow(10, -worst)
	})
	incidents, err := s.find(r.Context(), IncidentFilter{Since: from, Limit: mostIncidents, Seen: v.namespaces})
	if err != nil {
		s.trouble("incidents")(err) // what is known itself is shown all the same
	}
	for i := range incidents {
		one := &incidents[i]
		end := to
		if one.End != nil && one.End.Before(to) {
			end = *one.End
		}
		begin := one.Start
		if begin.Before(from) {
			begin = from
		}
		if !begin.Before(to) || end.Before(begin) {
			continue
		}
		u := of(driver.Key{Namespace: one.Namespace, Device: one.Device, Property: one.Property})
		seconds, score := end.Sub(begin).Seconds(), 0.0
		if one.Score != nil {
			score = *one.Score
		}
		u.Seconds += seconds
		u.Score = max(u.Score, score)
		u.Rank = max(u.Rank, max(shared.Rarity(score), leastRarity)*max(seconds, 1)/length)
		if one.Severity >= u.Severity {
			start := one.Start
			u.Severity, u.Kind, u.Message, u.Start = one.Severity, one.Kind, one.Message, &start
		}
	}
	list := make([]Unusual, 0, len(found))
	for _, u := range found {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b Unusual) int {
		return cmp.Or(cmp.Compare(b.Rank, a.Rank), cmp.Compare(b.Score, a.Score), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Property, b.Property))
	})
	WriteJSON(w, http.StatusOK, map[string]any{"from": from.UTC(), "to": to.UTC(), "unusual": list[:min(len(list), most)]})
}

// between calls each with the sum of the rarity of what was unusual in a span, times seconds, and with the greatest.
func (t *rates) between(from, to time.Time, v *viewer, each func(key driver.Key, rarity, worst float64)) {
	size := int64(heatCell / time.Second)
	first, last := from.Unix()/size, to.Unix()/size
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, h := range t.heat {
		if !v.sees(key.Namespace) {
			continue
		}
		sum, worst := 0.0, 0.0
		for cell := max(first, h.newest-heatCells+1); cell <= min(last, h.newest); cell++ {
			rarity := float64(h.cells[cell%heatCells]) / heatScale
			begin, end := max(cell*size, from.Unix()), min((cell+1)*size, to.Unix())
			sum, worst = sum+rarity*float64(max(end-begin, 0)), max(worst, rarity)
		}
		if worst > 0 {
			each(key, sum, worst)
		}
	}
}

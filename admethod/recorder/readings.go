// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

const (
	mostPoints  = 4000
	usualPoints = 800
	mostOdd     = 500
	mostStates  = 65 // of an enumeration, as the converter has them
	mostState   = 64 // bytes of one
	scansAtOnce = 2
)

// Points are the readings of a property in a span, in parts of equal length of which the least and the greatest are kept:
// no extreme is lost, however long the span.
type Points struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	N    int       `json:"n"`   // readings
	At   []float64 `json:"at"`  // of the last reading of each part that has some, in seconds since 1970
	Min  []float64 `json:"min"` // of the part
	Max  []float64 `json:"max"`
	// What was expected at last, and the least and the greatest bound of it, of each part, null where that is not known; left
	// out where it is of none.
	Expected []*float64 `json:"expected,omitempty"`
	Lower    []*float64 `json:"lower,omitempty"`
	Upper    []*float64 `json:"upper,omitempty"`
	// States are what the numbers stand for, from 0 on; left out where they are numbers.
	States []string  `json:"states,omitempty"`
	Odd    []Stretch `json:"odd"`  // where something was found
	Said   []Stretch `json:"said"` // what people said it was: of kind anomaly or normal, or as they named it
}

// Stretch is a part of a span.
type Stretch struct {
	From     float64 `json:"from"` // seconds since 1970
	To       float64 `json:"to"`
	Severity string  `json:"severity"`
	Kind     string  `json:"kind,omitempty"`
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()/1e3) / 1e6 }

// thinner makes points of readings that come about in the order of time.
type thinner struct {
	Points
	from, each int64 // ns
	part       int64
	bands      []store.Band // of the parts
	banded     bool
	numbers    bool // it is known to be one of numbers
}

func newThinner(from, to time.Time, points int) *thinner {
	return &thinner{Points: Points{From: from, To: to}, from: from.UnixNano(), each: max(1, int64(to.Sub(from))/int64(points)), part: -1}
}

// none is a band of which nothing is known.
var none = store.Band{Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN()}

func (t *thinner) add(at time.Time, v float64, band store.Band) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	if band == (store.Band{}) {
		band = none
	} else {
		t.banded = true
	}
	t.N++
	part := (at.UnixNano() - t.from) / t.each
	if k := len(t.At) - 1; k >= 0 && part <= t.part { // also what comes out of order
		t.Min[k], t.Max[k] = min(t.Min[k], v), max(t.Max[k], v)
		t.At[k] = max(t.At[k], seconds(at))
		b := &t.bands[k]
		if !math.IsNaN(band.Expected) {
			b.Expected = band.Expected
		}
		b.Lower, b.Upper = widest(b.Lower, band.Lower, math.Min), widest(b.Upper, band.Upper, math.Max)
		return
	}
	t.part = part
	t.At, t.Min, t.Max, t.bands = append(t.At, seconds(at)), append(t.Min, v), append(t.Max, v), append(t.bands, band)
}

// widest is of two, or the one that is known.
func widest(a, b float64, of func(a, b float64) float64) float64 {
	switch {
	case math.IsNaN(a):
		return b
	case math.IsNaN(b):
		return a
	}
	return of(a, b)
}

// text adds a reading of an enumeration: its number is the place among the states. In what is numbers a text is no reading.
func (t *thinner) text(at time.Time, text string) {
	if t.numbers || t.N > 0 && t.States == nil {
		return
	}
	if len(text) > mostState {
		text = strings.ToValidUTF8(text[:mostState], "")
	}
	i := slices.Index(t.States, text)
	if i < 0 {
		if i = len(t.States); i >= mostStates {
			return
		}
		t.States = append(t.States, text)
	}
	t.add(at, float64(i), store.Band{})
}

// points are what was thinned.
func (t *thinner) points() *Points {
	if t.banded {
		for i := range t.bands {
			b := &t.bands[i]
			t.Expected, t.Lower, t.Upper = append(t.Expected, verdict.Finite(b.Expected)), append(t.Lower, verdict.Finite(b.Lower)), append(t.Upper, verdict.Finite(b.Upper))
		}
	}
	return &t.Points
}

// found notes what a verdict said of a reading.
func (t *thinner) found(at time.Time, severity, kind string) {
	if severity != driver.Warning.String() && severity != driver.Critical.String() {
		return
	}
	s := seconds(at)
	if k := len(t.Odd) - 1; k >= 0 && t.Odd[k].Severity == severity && s-t.Odd[k].To <= 3*float64(t.each)/1e9 {
		t.Odd[k].To = max(s, t.Odd[k].To)
		return
	}
	if len(t.Odd) < mostOdd {
		t.Odd = append(t.Odd, Stretch{s, s, severity, kind})
	}
}

// asked is what a request wants to see.
type asked struct {
	key      driver.Key
	from, to time.Time
}

func parseAsked(q url.Values, now time.Time) (a asked, err error) {
	a.key = driver.Key{Namespace: q.Get("namespace"), Device: q.Get("device"), Property: q.Get("property")}
	if a.key.Device == "" || a.key.Property == "" {
		return a, errors.New("want namespace, device and property")
	}
	a.from, a.to, err = httpapi.Span(q, now)
	return a, err
}

// scan calls each with what is recorded of a property. A directory that is not there yet has nothing.
func (r *Recorder) scan(ctx context.Context, a *asked, each func(*store.Entry) error) error {
	q := store.Query{
		From: a.from, To: a.to, Namespace: labels.Exactly(a.key.Namespace), Device: labels.Exactly(a.key.Device), Property: labels.Exactly(a.key.Property),
	}
	err := store.Scan(ctx, r.config.Dir, q, func(batch []store.Entry) error {
		for i := range batch {
			if err := each(&batch[i]); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// may answers one who asks for what makes no sense, or is not to see it.
func (a *asked) may(w http.ResponseWriter, req *http.Request, err error) bool {
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case !httpapi.Sees(req, a.key.Namespace):
		http.Error(w, "namespace: it is not among those that you see", http.StatusForbidden)
	default:
		return true
	}
	return false
}

// look is scan for a request, as far back as is kept, in its turn: one that shows a chart can wait. Where nothing can be read
// it answers that, and reports false, as it does where nobody waits any more.
func (r *Recorder) look(w http.ResponseWriter, req *http.Request, a *asked, each func(*store.Entry) error) bool {
	ctx := req.Context()
	select {
	case r.scans <- struct{}{}:
		defer func() { <-r.scans }()
	case <-ctx.Done():
		return false
	}
	a.begin(r.config.MaxAge)
	some := false
	err := r.scan(ctx, a, func(e *store.Entry) error {
		some = true
		return each(e)
	})
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		return false
	case !some:
		logs.Warningf("recorder: readings of %v: %v", a.key, err)
		http.Error(w, "the readings cannot be read now; the log says why", http.StatusServiceUnavailable)
	}
	return some
}

// begin is when what is recorded begins, as far as it is kept.
func (a *asked) begin(age time.Duration) {
	if oldest := a.to.Add(-age); a.from.Before(oldest) {
		a.from = oldest
	}
}

// readings answers GET /v1/readings: those of one property in a span, in as many parts as points says, each with its
// least and greatest reading. Without from it is all that is recorded.
func (r *Recorder) readings(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	a, err := parseAsked(q, time.Now())
	points := 0
	if err == nil {
		points, err = httpapi.Number(q, "points", usualPoints, 2, mostPoints)
	}
	if !a.may(w, req, err) {
		return
	}
	whole := a.from.IsZero()
	var t *thinner
	told := r.look(w, req, &a, func(e *store.Entry) error {
		if t == nil {
			if whole {
				a.from = e.At
			}
			t = r.thinner(&a, points)
		}
		if e.Text != "" && math.IsNaN(e.Value) {
			t.text(e.At, e.Text)
		} else {
			t.add(e.At, e.Value, e.Band)
		}
		t.found(e.At, e.Severity, e.Kind)
		return nil
	})
	if !told {
		return
	}
	if t == nil {
		t = r.thinner(&a, points)
	}
	said, err := r.faults(&a)
	if err != nil {
		logs.Warningf("recorder: labels of %v: %v", a.key, err) // the readings are shown all the same
	}
	for _, l := range said {
		if l.Label != "" && l.To.After(a.from) && l.From.Before(a.to) && len(t.Said) < mostOdd {
			t.Said = append(t.Said, Stretch{From: seconds(l.From), To: seconds(l.To), Kind: l.Label})
		}
	}
	httpapi.WriteJSON(w, http.StatusOK, t.points())
}

// thinner makes points of what is asked for, by the states that the property has now.
func (r *Recorder) thinner(a *asked, points int) *thinner {
	t := newThinner(a.from, a.to, points)
	if r.watched != nil {
		watched, known := r.watched(a.key)
		t.States, t.numbers = watched.States, known && watched.States == nil
	}
	return t
}

// Seen says when a property was last where a reading is, before a time.
type Seen struct {
	At   *time.Time `json:"at,omitempty"`   // left out where it never was, as far as is recorded
	From *time.Time `json:"from,omitempty"` // when what is recorded begins; left out where nothing is
}

// seen answers GET /v1/seen: when the property was last as high as value, or with side=down as low, before to.
func (r *Recorder) seen(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	a, err := parseAsked(q, time.Now())
	value, valueErr := strconv.ParseFloat(q.Get("value"), 64)
	side := q.Get("side")
	switch {
	case err != nil:
	case valueErr != nil || math.IsNaN(value):
		err = fmt.Errorf("value: got %q, want a number", q.Get("value"))
	case side != "up" && side != "down" && side != "":
		err = fmt.Errorf("side: got %q, want up or down", side)
	}
	if !a.may(w, req, err) {
		return
	}
	var answer Seen
	told := r.look(w, req, &a, func(e *store.Entry) error {
		at := e.At.UTC()
		if answer.From == nil || at.Before(*answer.From) {
			answer.From = &at
		}
		if (e.Value >= value && side != "down" || e.Value <= value && side == "down") && (answer.At == nil || at.After(*answer.At)) {
			answer.At = &at
		}
		return nil
	})
	if told {
		httpapi.WriteJSON(w, http.StatusOK, &answer)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package recorder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/httpapi"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/labels"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/store"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	mostTried    = 200_000         // readings of a trial, the latest; some 10 MB
	tryChunk     = 2000            // readings that are judged before the processor is left to others for as long
	mostListed   = 100             // incidents of an answer
	tryLimit     = 5 * time.Minute // of a trial
	busyRetry    = "5"             // seconds
	bandPoints   = 600             // of a chart
	shortestWeek = 24 * time.Hour  // of shorter spans no rate is told
	week         = 7 * 24 * time.Hour
)

// Trial is what other settings would have told of a span that is recorded, beside what those of now tell of it: both
// begin with nothing learned.
type Trial struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Readings  int       `json:"readings"`
	Shortened bool      `json:"shortened,omitempty"` // of more readings, the latest
	Faults    int       `json:"faults"`              // that people have confirmed in it
	Chart     *Points   `json:"chart"`
	Now       Tried     `json:"now"`
	Tried     Tried     `json:"tried"`
	YAML      string    `json:"yaml"` // what to write under pushMethod of the Device
	_         struct{}  // keyed literals only: fields may be added
}

// Tried is what one of the two told.
type Tried struct {
	Settings  map[string]any `json:"settings"`
	Alarms    int            `json:"alarms"`            // incidents
	PerWeek   *float64       `json:"perWeek,omitempty"` // left out where the span is shorter than a day
	Found     int            `json:"found"`             // of the faults that people have confirmed
	Incidents []Stretch      `json:"incidents"`         // the first 100
	At        []float64      `json:"at"`                // of what was expected, in seconds since 1970
	Lower     []*float64     `json:"lower"`
	Upper     []*float64     `json:"upper"`
}

// tryOut answers GET /v1/try: what a property's recorded span would have led to with other settings, given as
// set=key=value. One is tried at a time, with half of a processor, for as long as who asks stays.
func (r *Recorder) tryOut(w http.ResponseWriter, req *http.Request) {
	a, err := parseAsked(req.URL.Query(), time.Now())
	if !a.may(w, req, err) {
		return
	}
	p, err := r.settings(&a, req.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), p.code)
		return
	}
	select {
	case r.trying <- struct{}{}:
		defer func() { <-r.trying }()
	default:
		w.Header().Set("Retry-After", busyRetry)
		http.Error(w, "another one is being tried: try again in a moment", http.StatusTooManyRequests)
		return
	}
	ctx, cancel := context.WithTimeout(req.Context(), tryLimit)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(tryLimit + time.Minute)) // not every ResponseWriter has one
	a.begin(r.config.MaxAge)
	t, err := r.try(ctx, &a, p)
	switch {
	case req.Context().Err() != nil: // nobody waits for it
	case errors.Is(err, errNothing):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, errSettings):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		logs.Warningf("recorder: try %v: %v", a.key, err)
		http.Error(w, "it cannot be tried; the log says why", http.StatusServiceUnavailable)
	default:
		httpapi.WriteJSON(w, http.StatusOK, t)
	}
}

// Which keys are about how one property is judged: those of these sections, and those without one but for some.
var (
	triedSections = []string{"detector", "quality"}
	notTried      = []string{"adMethodName", "model", "group", "sinks", "config"}
)

var (
	errNothing  = errors.New("nothing is recorded of it in that span")
	errSettings = errors.New("settings")
)

// plan is what is to be tried, or why not.
type plan struct {
	code       int
	watched    admethod.Watched
	now, tried admethod.ADMethodConfig
}

// settings reads what is to be tried.
func (r *Recorder) settings(a *asked, q url.Values) (p plan, err error) {
	p.code = http.StatusConflict
	known := false
	if r.watched != nil {
		p.watched, known = r.watched(a.key)
	}
	switch c := &p.watched.Config; {
	case !known:
		p.code = http.StatusNotFound
		return p, fmt.Errorf("%v is not watched here", a.key)
	case len(p.watched.Members) > 1:
		return p, fmt.Errorf("%v is judged together with %d others: export them, and try with adctl detect --group", a.key, len(p.watched.Members)-1)
	case c.ADMethodName != "inprocess":
		return p, fmt.Errorf("%v is judged elsewhere, by adMethodName %q: try it there", a.key, c.ADMethodName)
	}
	p.code = http.StatusBadRequest
	now := p.watched.Config.Settings()
	tried := maps.Clone(now)
	if tried == nil {
		tried = make(map[string]any)
	}
	for _, pair := range q["set"] {
		key, value, ok := strings.Cut(pair, "=")
		prefix, _, dotted := strings.Cut(key, ".")
		switch {
		case !ok:
			return p, fmt.Errorf("set: got %q, want key=value", pair)
		case dotted && !slices.Contains(triedSections, prefix), slices.Contains(notTried, key):
			return p, fmt.Errorf("set: got %q, want a key that a Device may set of how one property is judged, such as threshold, sensitivity or detector", key)
		case value == "":
			delete(tried, key)
		default:
			tried[key] = value
		}
		if key == "detector" { // what the other one was told says nothing to this one
			maps.DeleteFunc(tried, func(k string, _ any) bool {
				return strings.HasPrefix(k, "detector.") && !slices.Contains(q["set"], k+"="+fmt.Sprint(tried[k]))
			})
		}
	}
	if p.now, err = admethod.ParseSettings(now); err != nil {
		return p, err
	}
	p.tried, err = admethod.ParseSettings(tried)
	return p, err
}

// try replays the span twice.
func (r *Recorder) try(ctx context.Context, a *asked, p plan) (*Trial, error) {
	var readings []dataset.Reading
	t := &Trial{}
	err := r.scan(ctx, a, func(e *store.Entry) error {
		if len(readings) == 2*mostTried {
			readings = append(readings[:0], readings[mostTried:]...)
			t.Shortened = true
		}
		if math.IsNaN(e.Value) && e.Text == "" {
			return nil
		}
		readings = append(readings, dataset.Reading{At: e.At, Value: e.Value, Text: e.Text})
		return nil
	})
	if n := len(readings) - mostTried; n > 0 {
		readings, t.Shortened = readings[n:], true
	}
	if len(readings) == 0 {
		return nil, errors.Join(errNothing, err)
	}
	slices.SortStableFunc(readings, func(x, y dataset.Reading) int { return x.At.Compare(y.At) })
	faults, err := r.faults(a)
	if err != nil {
		return nil, err
	}
	t.From, t.To, t.Readings = readings[0].At.UTC(), readings[len(readings)-1].At.UTC(), len(readings)
	thin := newThinner(t.From, t.To.Add(1), bandPoints)
	thin.States, thin.numbers = slices.Clone(p.watched.States), p.watched.States == nil
	for i := range readings {
		if e := &readings[i]; e.Text != "" && math.IsNaN(e.Value) {
			thin.text(e.At, e.Text)
		} else {
			thin.add(e.At, e.Value, store.Band{})
		}
	}
	t.Chart = thin.points()
	for to, c := range map[*Tried]*admethod.ADMethodConfig{&t.Now: &p.now, &t.Tried: &p.tried} {
		truth, err := r.replay(ctx, readings, faults, c, &p, to)
		if err != nil {
			return nil, err
		}
		t.Faults = len(truth.Faults)
	}
	t.YAML = written(p.tried.Settings())
	return t, nil
}

var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_./-]*$|^[0-9]+(\.[0-9]+)?$`)

// written is settings as they stand in a Device.
func written(settings map[string]any) string {
	var b strings.Builder
	b.WriteString("anomalyDetection:\n")
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		text := fmt.Sprint(settings[key])
		switch list := settings[key].(type) {
		case []string:
			text = strings.Join(list, ",")
		case []any:
			text = strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list...)), ","), "[]")
		}
		if !plainText.MatchString(text) {
			text = strconv.Quote(text)
		}
		fmt.Fprintf(&b, "  %s: %s\n", key, text)
	}
	return b.String()
}

// replay judges the readings by settings.
func (r *Recorder) replay(ctx context.Context, readings []dataset.Reading, faults []labels.Label, c *admethod.ADMethodConfig, p *plan, to *Tried) (truth replay.Truth, err error) {
	to.Settings = c.Settings()
	s, err := replay.Open(ctx, replay.Options{Config: *c, Meta: p.watched.Meta, Drivers: r.drivers, ModelDir: p.watched.ModelDir})
	if err != nil {
		return truth, errors.Join(errSettings, err)
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	var told replay.Incidents
	each := max(1, len(readings)/bandPoints)
	for done := 0; done < len(readings); {
		began := time.Now()
		chunk := readings[done:min(done+tryChunk, len(readings))]
		for i := range chunk {
			if v := &chunk[i]; math.IsNaN(v.Value) {
				s.ObserveAny(v.At, v.Text)
			} else {
				s.Observe(v.At, v.Value)
			}
		}
		outcomes, err := s.Drain(ctx)
		if err != nil {
			return truth, err
		}
		for i := range outcomes {
			at, o := chunk[i].At, &outcomes[i]
			told.Add(at, o.Incident)
			truth.Add(at, isFault(faults, at), o.Incident)
			if (done+i)%each == 0 {
				to.At, to.Lower, to.Upper = append(to.At, seconds(at)), append(to.Lower, verdict.Finite(o.Lower)), append(to.Upper, verdict.Finite(o.Upper))
			}
		}
		done += len(chunk)
		if err := wait.Sleep(ctx, time.Since(began)); err != nil { // detection goes before
			return truth, err
		}
	}
	to.Alarms, to.Found = truth.Alerts, truth.Found()
	for i := range told.Done[:min(len(told.Done), mostListed)] {
		d := &told.Done[i]
		to.Incidents = append(to.Incidents, Stretch{seconds(d.Start), seconds(d.End), d.Severity.String(), string(d.Kind)})
	}
	if span := readings[len(readings)-1].At.Sub(readings[0].At); span >= shortestWeek {
		rate := float64(to.Alarms) * float64(week) / float64(span)
		to.PerWeek = &rate
	}
	return truth, nil
}

// faults are what people said of the property, in the order in which they did: beside the readings, and where the API
// keeps it.
func (r *Recorder) faults(a *asked) ([]labels.Label, error) {
	var all []labels.Label
	dirs := []string{r.config.Dir}
	if r.stateDir != "" && r.stateDir != r.config.Dir {
		dirs = append(dirs, r.stateDir)
	}
	for _, dir := range dirs {
		said, err := labels.Read(dir)
		if err != nil {
			return nil, err
		}
		for _, l := range said {
			if l.Of(a.key.Namespace, a.key.Device, a.key.Property) {
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(x, y labels.Label) int { return x.Said.Compare(y.Said) })
	return all, nil
}

// isFault reports whether the last word on a reading is that it was one.
func isFault(said []labels.Label, at time.Time) bool {
	for _, l := range slices.Backward(said) {
		if !at.Before(l.From) && at.Before(l.To) {
			return dataset.Anomalous(l.Label)
		}
	}
	return false
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	alertBatch = 64
	// An alert that is not sent again for this many resends ends by itself, as with Prometheus: the mapper is gone.
	lapseAfter = 4
)

// alert is a postableAlert of Alertmanager's API v2.
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// active is an incident that the receiver was told of and that has not ended.
type active struct {
	incident driver.Incident // as its latest verdict told it
	latest   driver.Result   // that verdict
	reason   string          // the last that was given

	// since tells when the alert of each severity began; the zero time is none. The severity is a label, which routes are
	// chosen by, and labels make the identity of an alert: it keeps those that it began with. Where an incident gets
	// worse, an alert of that severity joins it, and both end with the incident.
	since [driver.Critical + 1]time.Time
}

// raise begins the alert of a severity, unless there is one of it or of a worse one.
func (a *active) raise(to driver.Severity, at time.Time) {
	to = min(to, driver.Critical)
	for _, since := range a.since[to:] {
		if !since.IsZero() {
			return
		}
	}
	a.since[to] = at
}

// poster posts a body, and returns an error as for [admethod.RetryAfter].
type poster func(ctx context.Context, contentType string, body []byte) error

// alertmanager speaks Alertmanager's API. It is used from one goroutine.
type alertmanager struct {
	labels   map[string]string
	language driver.Language
	resend   time.Duration
	post     poster
	failed   func(error) // an alert that was to be sent again is refused

	most   int // incidents remembered
	book   *incidents.Book
	told   map[driver.Key]*active
	resent time.Time
}

func newAlertmanager(post poster, labels map[string]string, resend time.Duration, most int) *alertmanager {
	return &alertmanager{
		labels: labels, resend: resend, post: post, failed: func(error) {},
		most: most, book: incidents.NewBook(most), told: make(map[driver.Key]*active),
	}
}

// deliver sends what begins, gets worse, and ends. What lasts is left to upkeep.
func (m *alertmanager) deliver(ctx context.Context, batch []latest.Item) error {
	now := time.Now()
	var alerts []alert
	next := make([]*active, len(batch)) // nil: nothing lasts
	for i := range batch {
		var news []alert
		news, next[i] = m.news(&batch[i], now)
		alerts = append(alerts, news...)
	}
	var err error
	if len(alerts) > 0 {
		err = m.send(ctx, alerts)
		if _, retry := admethod.RetryAfter(err); retry || err != nil && len(batch) > 1 {
			return err
		}
	}
	for i := range batch { // also what is refused for good: it may be taken when it is sent again
		m.take(&batch[i], next[i])
	}
	return err
}

// news is what an item has to tell, and the incident that lasts after it.
func (m *alertmanager) news(it *latest.Item, now time.Time) (alerts []alert, lasts *active) {
	var news incidents.News
	if it.Gone {
		news.Ended = m.book.Of(it.Key)
		news.Ended.Phase, news.Ended.End = driver.Abandoned, now
	} else {
		news = m.book.News(&it.Result)
	}
	was := m.told[it.Key]
	if news.Ended.ID != 0 {
		over := active{latest: it.Result}
		if was != nil {
			over = *was
		} else { // an earlier process may have told it
			over.raise(news.Ended.Severity, within(news.Ended.Start, now))
		}
		over.incident = news.Ended
		alerts = m.alerts(alerts, &over, now, within(news.Ended.End, now))
	}
	if news.Now.ID == 0 {
		return alerts, nil
	}
	lasts = new(active)
	if was != nil && was.incident.ID == news.Now.ID {
		*lasts = *was
	}
	lasts.incident = news.Now
	if it.Severity != driver.Unknown || lasts.latest.Key != it.Key {
		lasts.latest = it.Result
	}
	if it.Message != "" {
		lasts.reason = it.Message
	}
	before, since := lasts.since, it.At
	if before == ([driver.Critical + 1]time.Time{}) {
		since = news.Now.Start
	}
	if lasts.raise(news.Now.Severity, within(since, now)); lasts.since != before {
		alerts = m.alerts(alerts, lasts, now, m.lapse(now))
	}
	return alerts, lasts
}

// take remembers what was told. What finds no room fires again with the next heartbeat, and ends by itself.
func (m *alertmanager) take(it *latest.Item, lasts *active) {
	if it.Gone {
		m.book.Forget(it.Key, it.At)
	} else {
		m.book.Take(&it.Result)
	}
	if lasts == nil {
		delete(m.told, it.Key)
	} else if _, known := m.told[it.Key]; known || len(m.told) < m.most {
		m.told[it.Key] = lasts
	}
}

// upkeep sends alerts that last once more, well before they would end by themselves.
func (m *alertmanager) upkeep(ctx context.Context) error {
	now := time.Now()
	if m.resent.IsZero() {
		m.resent = now
	}
	if now.Sub(m.resent) < m.resend {
		return nil
	}
	alerts := make([]alert, 0, alertBatch)
	flush := func() error {
		err := m.send(ctx, alerts)
		alerts = alerts[:0]
		if _, retry := admethod.RetryAfter(err); retry {
			return err
		}
		if err != nil {
			m.failed(err)
		}
		return nil
	}
	for _, a := range m.told {
		if alerts = m.alerts(alerts, a, now, m.lapse(now)); len(alerts) >= alertBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(alerts) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	m.resent = now
	return nil
}

func (m *alertmanager) send(ctx context.Context, alerts []alert) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return admethod.Permanent(err)
	}
	return m.post(ctx, "application/json", body)
}

func (m *alertmanager) lapse(now time.Time) time.Time { return now.Add(lapseAfter * m.resend) }

// within brings a time of reading, which devices with a wrong clock make up, to between 1970 and now: Alertmanager
// refuses alerts that begin after their end.
func within(at, now time.Time) time.Time {
	switch epoch := time.Unix(0, 0); {
	case at.After(now):
		return now.UTC()
	case at.Before(epoch):
		return epoch.UTC()
	}
	return at.UTC()
}

// alerts adds those of an incident.
func (m *alertmanager) alerts(to []alert, a *active, now, end time.Time) []alert {
	for severity, since := range a.since {
		if !since.IsZero() {
			to = append(to, m.alert(a, driver.Severity(severity), now, end))
		}
	}
	return to
}

func (m *alertmanager) alert(a *active, severity driver.Severity, now, end time.Time) alert {
	r, since := &a.latest, a.since[severity]
	if since.After(now) { // the clock was set back
		since = now
	}
	if end.Before(since) { // it ended before it was told
		end = since
	}
	out := alert{Labels: maps.Clone(m.labels), Annotations: make(map[string]string, 12), StartsAt: since.UTC(), EndsAt: end.UTC()}
	label := func(name, value string) {
		if value = text(value); value != "" { // Alertmanager knows no empty labels
			out.Labels[name] = value
		}
	}
	label("namespace", r.Key.Namespace)
	label("device", r.Key.Device)
	label("property", r.Key.Property)
	label("severity", severity.String())
	note := func(name, value string) {
		if value != "" {
			out.Annotations[name] = text(value)
		}
	}
	number := func(name string, v float64) {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			note(name, strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	note("summary", incidents.Summary(r.Key, &a.incident, m.language))
	note("description", a.reason)
	note("incident", verdict.ID(a.incident.ID))
	note("kind", string(a.incident.Kind))
	number("score", r.Score)
	number("value", r.Value)
	number("expected", r.Expected)
	number("lower", r.Lower)
	number("upper", r.Upper)
	if a.incident.Cause != (driver.Key{}) {
		note("cause", a.incident.Cause.String())
	}
	note("detector", r.Detector)
	note("model", r.Model)
	return out
}

// text is what JSON and labels can hold.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

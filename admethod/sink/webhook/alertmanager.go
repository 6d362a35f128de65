// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
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

// active is an alert that the receiver was told and that has not ended. Key, detector and severity make its identity.
type active struct {
	latest   driver.Result
	severity driver.Severity
	since    time.Time
}

// alertmanager speaks Alertmanager's API. It is used from one goroutine.
type alertmanager struct {
	labels map[string]string
	resend time.Duration
	most   int // alerts remembered
	post   func(ctx context.Context, contentType string, body []byte) error
	failed func(error) // an alert that was to be sent again is refused

	told   map[driver.Key]active
	resent time.Time
}

// deliver sends what begins and what ends. An alert that lasts is left to upkeep.
func (m *alertmanager) deliver(ctx context.Context, batch []latest.Item) error {
	now := time.Now()
	var alerts []alert
	next := make(map[driver.Key]*active, len(batch)) // nil: it ended
	for i := range batch {
		it := &batch[i]
		was, firing := m.told[it.Key]
		fires := !it.Gone && it.Severity.Anomalous()
		if firing && (!fires || it.Severity != was.severity) {
			// The severity is a label, which routes are chosen by: another one makes another alert.
			alerts = append(alerts, m.alert(&was, now, now))
		}
		switch {
		case !fires:
			next[it.Key] = nil
			continue
		case !firing || it.Severity != was.severity:
			was = active{severity: it.Severity, since: within(it.At, now)}
			was.latest = it.Result
			alerts = append(alerts, m.alert(&was, now, m.lapse(now)))
		}
		was.latest = it.Result
		next[it.Key] = &was
	}
	if len(alerts) > 0 {
		err := m.send(ctx, alerts)
		if _, retry := admethod.RetryAfter(err); retry || err != nil && len(batch) > 1 {
			return err
		}
		m.take(next) // also what is refused for good: it may be taken when it is sent again
		return err
	}
	m.take(next)
	return nil
}

// take remembers what was told. What finds no room fires again with the next heartbeat, and ends by itself.
func (m *alertmanager) take(next map[driver.Key]*active) {
	for key, a := range next {
		if a == nil {
			delete(m.told, key)
		} else if _, known := m.told[key]; known || len(m.told) < m.most {
			m.told[key] = *a
		}
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
		if alerts = append(alerts, m.alert(&a, now, m.lapse(now))); len(alerts) == alertBatch {
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

func (m *alertmanager) alert(a *active, now, end time.Time) alert {
	r := &a.latest
	out := alert{Labels: maps.Clone(m.labels), Annotations: make(map[string]string, 8), StartsAt: a.since, EndsAt: end.UTC()}
	if a.since.After(now) { // the clock was set back
		out.StartsAt = now.UTC()
	}
	label := func(name, value string) {
		if value = text(value); value != "" { // Alertmanager knows no empty labels
			out.Labels[name] = value
		}
	}
	label("namespace", r.Key.Namespace)
	label("device", r.Key.Device)
	label("property", r.Key.Property)
	label("severity", a.severity.String())
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
	note("summary", fmt.Sprintf("%v: %v %v", r.Key, a.severity, r.Kind))
	note("description", r.Message)
	note("kind", string(r.Kind))
	number("score", r.Score)
	number("value", r.Value)
	number("expected", r.Expected)
	number("lower", r.Lower)
	number("upper", r.Upper)
	if len(r.Causes) > 0 {
		note("cause", r.Causes[0].Key.String())
	}
	note("detector", r.Detector)
	note("model", r.Model)
	return out
}

// text is what JSON and labels can hold.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

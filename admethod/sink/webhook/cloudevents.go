// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/incidents"
	"github.com/kubeedge/edge-anomaly/admethod/sink/latest"
	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// EventType is the type of the CloudEvents that are posted.
const EventType = "io.kubeedge.anomaly.verdict.v1"

// state is what makes two verdicts say the same.
type state struct {
	severity driver.Severity
	kind     driver.Kind
}

// cloudEvents posts an event for the first verdict on a property and for each that says something new: that an incident
// begins, changes or ends, or that nothing judges the property. It is used from one goroutine.
type cloudEvents struct {
	language driver.Language
	post     poster

	most int // properties remembered
	book *incidents.Book
	told map[driver.Key]state
}

func newCloudEvents(post poster, most int) *cloudEvents {
	return &cloudEvents{post: post, most: most, book: incidents.NewBook(most), told: make(map[driver.Key]state)}
}

func (c *cloudEvents) deliver(ctx context.Context, batch []latest.Item) error {
	for i := range batch { // one: see New
		if err := c.tell(ctx, &batch[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *cloudEvents) tell(ctx context.Context, it *latest.Item) error {
	events, is := c.news(it)
	var refused error
	for i := range events {
		body, err := Event(&events[i])
		if err == nil {
			err = c.post(ctx, event.ApplicationCloudEventsJSON, body)
		} else {
			err = admethod.Permanent(err)
		}
		if _, retry := admethod.RetryAfter(err); retry {
			return err
		}
		refused = errors.Join(refused, err)
	}
	if it.Gone {
		c.book.Forget(it.Key, it.At)
		delete(c.told, it.Key)
		return refused
	}
	c.book.Take(&it.Result)
	if _, known := c.told[it.Key]; known || len(c.told) < c.most { // what finds no room is told anew with each heartbeat
		c.told[it.Key] = is
	}
	return refused
}

// news are the verdicts that an item has to tell, and what is told with them.
func (c *cloudEvents) news(it *latest.Item) (events []driver.Result, is state) {
	if it.Gone {
		if i := c.book.Of(it.Key); i.ID != 0 {
			i.Phase, i.End = driver.Abandoned, it.At
			events = append(events, unjudged(it.Key, i, incidents.NotWatched(c.language)))
		}
		return events, is
	}
	r, news := it.Result, c.book.News(&it.Result)
	is = state{r.Severity, r.Kind}
	switch {
	case news.Ended.ID != 0 && news.Now.ID != 0: // another one has begun
		events = append(events, unjudged(it.Key, news.Ended, ""))
	case news.Ended.ID != 0:
		r.Incident = news.Ended
	}
	if news.Now.ID != 0 {
		if r.Incident = news.Now; r.Severity != driver.Unknown {
			is = state{news.Now.Severity, news.Now.Kind}
		}
	}
	was, known := c.told[it.Key] // not known is as unknown: a detector that warms up has nothing to say
	if news.Began || news.Changed || news.Ended.ID != 0 || is != was || !known && is != (state{}) {
		events = append(events, r)
	}
	return events, is
}

// unjudged is a verdict that says nothing but that an incident has ended.
func unjudged(key driver.Key, i driver.Incident, message string) driver.Result {
	nan := math.NaN()
	return driver.Result{
		Key: key, At: i.End, Score: nan, Onset: nan, Threshold: nan, Confidence: nan, Value: nan, Expected: nan, Lower: nan, Upper: nan,
		Incident: i, Message: message,
	}
}

// Event is a verdict as a CloudEvent 1.0 in its JSON format. Events that are equal in source and id say the same: one
// that is sent again after a failure keeps its id. Source is /namespaces/…/devices/…, subject the property, and data what
// [verdict.FromResult] makes of the verdict. The extension severity is the verdict's; incident and phase are those of its
// incident, if it is part of one.
func Event(r *driver.Result) ([]byte, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetType(EventType)
	e.SetSource("/namespaces/" + url.PathEscape(r.Key.Namespace) + "/devices/" + url.PathEscape(r.Key.Device))
	if r.Key.Property != "" {
		e.SetSubject(url.PathEscape(r.Key.Property))
	}
	v := verdict.FromResult(r)
	id := fmt.Sprintf("%s/%d/%s/%s", url.PathEscape(r.Key.Property), v.At.UnixNano(), r.Severity, url.PathEscape(string(r.Kind)))
	if v.Incident != nil {
		id += "/" + v.Incident.ID + "/" + r.Incident.Phase.String()
		e.SetExtension("incident", v.Incident.ID)
		e.SetExtension("phase", r.Incident.Phase.String())
	}
	e.SetID(id)
	e.SetTime(v.At)
	e.SetExtension("severity", r.Severity.String())
	if err := e.SetData(event.ApplicationJSON, v); err != nil {
		return nil, fmt.Errorf("%v: event: %w", r.Key, err)
	}
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("%v: event: %w", r.Key, err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%v: event: %w", r.Key, err)
	}
	return body, nil
}

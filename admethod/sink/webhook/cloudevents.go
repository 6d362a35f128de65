// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/url"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/kubeedge/edge-anomaly/admethod"
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

// cloudEvents posts an event for the first verdict on a property and for each that says something new. It is used from
// one goroutine.
type cloudEvents struct {
	most int // properties remembered
	post func(ctx context.Context, contentType string, body []byte) error
	told map[driver.Key]state
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
	was, known := c.told[it.Key]
	r := &it.Result
	if it.Gone {
		if !known || !was.severity.Anomalous() {
			delete(c.told, it.Key)
			return nil
		}
		nan := math.NaN()
		r = &driver.Result{
			Key: it.Key, At: it.At, Score: nan, Threshold: nan, Confidence: nan, Value: nan, Expected: nan, Lower: nan, Upper: nan,
			Message: "no longer watched",
		}
	}
	is := state{r.Severity, r.Kind}
	if known && is == was || !known && is == (state{}) { // a detector that warms up has nothing to say
		return nil
	}
	body, err := Event(r)
	if err == nil {
		err = c.post(ctx, event.ApplicationCloudEventsJSON, body)
	} else {
		err = admethod.Permanent(err)
	}
	if _, retry := admethod.RetryAfter(err); retry {
		return err
	}
	switch {
	case it.Gone:
		delete(c.told, it.Key)
	case known || len(c.told) < c.most: // what finds no room is told anew with each heartbeat
		c.told[it.Key] = is
	}
	return err
}

// Event is a verdict as a CloudEvent 1.0 in its JSON format. Events that are equal in source and id say the same: one
// that is sent again after a failure keeps its id. Source is /namespaces/…/devices/…, subject the property, the extension
// severity the verdict's, and data what [verdict.FromResult] makes of it.
func Event(r *driver.Result) ([]byte, error) {
	e := event.New(event.CloudEventsVersionV1)
	e.SetType(EventType)
	e.SetSource("/namespaces/" + url.PathEscape(r.Key.Namespace) + "/devices/" + url.PathEscape(r.Key.Device))
	if r.Key.Property != "" {
		e.SetSubject(url.PathEscape(r.Key.Property))
	}
	v := verdict.FromResult(r)
	e.SetID(fmt.Sprintf("%s/%d/%s/%s", url.PathEscape(r.Key.Property), v.At.UnixNano(), r.Severity, url.PathEscape(string(r.Kind))))
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

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package prometheus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
)

// mostPoints is how many steps of an expression are asked for at once; Prometheus answers with 11,000 at most.
const mostPoints = 10000

var errLate = errors.New("no answer")

// asker answers the part of a query that is in (from, to].
type asker interface {
	ask(ctx context.Context, form url.Values) (*promapi.Answer, error)
}

// server asks one endpoint. Forms are posted, as queries may be longer than an address may be.
type server struct {
	client  *httppost.Client
	timeout time.Duration
}

func (s *server) ask(ctx context.Context, form url.Values) (*promapi.Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("%w within %v", errLate, s.timeout))
	defer cancel()
	reply, err := s.client.Post(ctx, "application/x-www-form-urlencoded", []byte(form.Encode()))
	var refused *httppost.StatusError
	if errors.As(err, &refused) {
		// In place of the JSON, what it says. It may be cut off.
		var failed *promapi.Error
		if _, said := promapi.Decode(bytes.NewReader(refused.Body)); errors.As(said, &failed) && failed.Type != "" {
			return nil, &refusal{refused, failed}
		}
	}
	if err != nil {
		return nil, err
	}
	return promapi.Decode(bytes.NewReader(reply.Body))
}

// refusal is an answer that says why there is no other.
type refusal struct {
	status *httppost.StatusError
	failed *promapi.Error
}

func (r *refusal) Error() string   { return fmt.Sprintf("HTTP %d: %v", r.status.Code, r.failed) }
func (r *refusal) Unwrap() []error { return []error{r.status, r.failed} }

// tooMuch reports whether an error says that too much was asked for, or perhaps, as the server is busy.
func tooMuch(err error) (much, busy bool) {
	var refused *httppost.StatusError
	if errors.As(err, &refused) {
		switch refused.Code {
		case http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
			return true, false
		case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return false, true
		}
		return false, false
	}
	return errors.Is(err, httppost.ErrTooLong), errors.Is(err, errLate)
}

func (q *Query) path() string {
	if q.plain {
		return "/api/v1/query"
	}
	return "/api/v1/query_range"
}

// form asks for what is in (from, to]. Servers before Prometheus 3 answer with a sample at from as well.
func (q *query) form(selector string, from, to time.Time) url.Values {
	form := url.Values{"timeout": {seconds(q.config.Timeout)}}
	if q.plain {
		form.Set("query", fmt.Sprintf("%s[%dms]", selector, to.Sub(from).Milliseconds()))
		form.Set("time", unix(to))
		form.Set("max_source_resolution", "0s") // Thanos: samples, not what it made of those of some minutes
	} else {
		form.Set("query", selector)
		form.Set("start", unix(from.Add(q.Step)))
		form.Set("end", unix(to))
		form.Set("step", seconds(q.Step))
		if d := q.config.Lookback; d > 0 {
			form.Set("lookback_delta", seconds(d))                                 // Prometheus, Thanos
			form.Set("max_lookback", strconv.FormatInt(d.Milliseconds(), 10)+"ms") // VictoriaMetrics
		}
		form.Set("nocache", "1") // VictoriaMetrics: what it keeps would lack what came late
	}
	if !q.config.Partial {
		form.Set("partial_response", "false")  // Thanos
		form.Set("deny_partial_response", "1") // VictoriaMetrics
	}
	return form
}

func unix(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

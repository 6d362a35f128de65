// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package prometheus is the source that asks a server with the HTTP API of Prometheus, such as Prometheus itself, Thanos,
// Mimir and VictoriaMetrics, for readings. Import it for its side effect: it registers itself under the name
// "prometheus".
//
//	type: prometheus
//	url: https://prometheus:9090
//	queries:
//	  - query: room_temperature_celsius{building="7"}
//	    property: temperature
//	  - query: rate(conveyor_turns_total[1m])
//	    metric: speed
//	    device: "{line}-{conveyor}"
//
// At its first start it asks for what the server has of the past, so that detectors are warm at once. From then on it asks,
// every step, for what came since: what a server that was away, or this program, has missed is in the next answer.
//
// A plain selector gives each sample once, at the time of its scrape; where a scrape is missing there is no reading. Any
// other expression is evaluated at whole steps. There it is PromQL that decides what a missing scrape means: the last
// sample counts for up to five minutes, see the key lookback, unless the server was told that the series ended.
//
// Counters start again from zero when their process does: rate and increase see to that. NaN and infinities are handed
// over as they are; native histograms are left out, as are answers that are no series.
package prometheus

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/kubeedge/edge-anomaly/admethod/internal/httppost"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
)

// Name of the source.
const Name = "prometheus"

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "asks Prometheus, Thanos, Mimir or VictoriaMetrics, with the past first",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params: func() []params.Param {
			all := params.Describe(DefaultConfig())
			for _, p := range params.Describe(Query{}) {
				p.Key, p.Default = "queries[]."+p.Key, ""
				all = append(all, p)
			}
			return all
		},
	}
}

// Source asks for readings.
type Source struct {
	config  Config
	queries []*query
}

// New makes a source. It reaches no server before Run.
func New(s source.Settings) (*Source, error) {
	c, queries, err := decode(s.Options)
	if err != nil {
		return nil, err
	}
	trouble := func(err error) {
		s.Report("source "+s.Name+": files", "the old content of the files stays in use", err)
	}
	o := httppost.Options{Insecure: c.Insecure, MaxReply: int64(c.MaxReply)}
	var errs []error
	o.TLS, err = tlsfiles.New(c.TLS, trouble)
	errs = append(errs, err)
	o.Token, err = tlsfiles.NewToken(c.TokenFile, trouble)
	if err != nil {
		errs = append(errs, fmt.Errorf("tokenFile: %w", err))
	}
	password, err := tlsfiles.NewToken(c.PasswordFile, trouble)
	if err != nil {
		err = fmt.Errorf("passwordFile: %w", err)
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	o.Header = func(h http.Header, _ []byte) {
		if password != nil {
			h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.User+":"+password.Get())))
		}
		if c.Tenant != "" {
			h.Set("X-Scope-OrgID", c.Tenant)
		}
	}
	out := &Source{config: c}
	for i := range queries {
		o.URL = strings.TrimSuffix(c.URL, "/") + queries[i].path()
		client, err := httppost.New(o)
		if err != nil {
			return nil, err
		}
		out.queries = append(out.queries, newQuery(&c, queries[i], s, &server{client: client, timeout: c.Timeout}))
	}
	return out, nil
}

// Run asks until ctx ends. Each query is asked by itself: one that the server is slow to answer keeps none of the others.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error)
	for _, q := range s.queries {
		go func() { ended <- q.run(ctx, in) }()
	}
	var first error
	for range s.queries {
		err := <-ended
		if first == nil {
			first = err
			cancel(err) // the intake has ended, or ctx
		}
	}
	return first
}

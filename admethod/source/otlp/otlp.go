// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package otlp is the source that OpenTelemetry's exporters push metrics to, and with them the mappers of KubeEdge whose
// Devices have otel as their push method. Import it for its side effect: it registers itself under the name "otlp".
//
//	type: otlp
//	listen: 0.0.0.0:4317
//	tls: {cert: server.pem, key: server.key}
//	tokenFile: token
//
// One port speaks OTLP/gRPC and OTLP/HTTP, the latter in protobuf and in JSON, on /v1/metrics. Points of gauges and sums are
// readings; those of histograms and summaries are skipped, and the sender is told so. A sender is answered once the
// intake has taken its points, so that it waits while detectors are behind; one for which there is no room is told to
// come again. What it sends again is passed over.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/receiver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the source.
const Name = "otlp"

// Config of the source.
type Config struct {
	receiver.Config
	Series int `param:"series" min:"1" max:"1000000" doc:"series that are read; others are refused"`
	Conns  int `param:"connections" min:"16" max:"1000000" doc:"connections that may wait for their next request, half of them from one address; the one that has waited longest makes room. A mapper of KubeEdge has one for each property"`

	Names
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: receiver.DefaultConfig(), Series: 10000, Conns: 8192, Names: DefaultNames()}
}

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "is sent metrics by OTLP, over gRPC or HTTP, as KubeEdge's mappers push them by otel",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Source is sent metrics.
type Source struct {
	config   Config
	receiver *receiver.Receiver
	report   admethod.Report
	part     string

	// Whose turn it is uses the rest.
	reader *Reader
	batch  []source.Reading
	kinds  []pmetric.MetricType // that were told to be skipped
}

// New makes a source. It listens to nothing before Run.
func New(s source.Settings) (*Source, error) {
	c := DefaultConfig()
	err := errors.Join(source.Decode(&c, s.Options), c.Validate())
	reader, wrong := NewReader(c.Names, c.Series)
	if err := errors.Join(err, wrong); err != nil {
		return nil, err
	}
	r, err := receiver.New(c.Config, c.Conns, s)
	if err != nil {
		return nil, err
	}
	return &Source{config: c, receiver: r, report: s.Report, part: "source " + s.Name, reader: reader}, nil
}

// Run listens until ctx ends. An address that is taken is tried again.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	return s.receiver.Run(ctx, "an OTLP request", func() (receiver.Handle, func()) {
		calls := s.newServer(in)
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
			if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
				return s.call(ctx, calls, w, r)
			}
			return s.post(ctx, in, w, r)
		}, calls.Stop // waits for those that go on behind their request
	})
}

// busy is how long a request waits for room before its sender is told to come again.
const busy = 3 * time.Second

// most readings whose memory is kept for the next request.
const mostKept = 1 << 16

// take gives what is new in a request to the intake. It does not end with the request, but with ctx: a sender that gave up
// sends the same again, and by then it is known what of it was taken.
func (s *Source) take(ctx context.Context, in source.Intake, m pmetric.Metrics) (*Skipped, error) {
	done, err := s.receiver.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	s.batch = s.batch[:0]
	skipped := s.reader.Read(m, time.Now(), func(r source.Reading, _ Origin) { s.batch = append(s.batch, r) })
	if len(s.batch) > 0 {
		refused, err := source.Refused(in.Take(ctx, s.batch))
		if err != nil {
			return nil, &source.EndedError{Err: err}
		}
		for i := range refused {
			skipped.Add(refused[i].Err)
		}
		s.report(s.receiver.Requests(), "", nil)
	}
	if len(s.batch) > 0 || skipped.Points > 0 {
		s.report(s.part+": points", receiver.RiskRefused, skipped.Err())
	}
	if clear(s.batch); cap(s.batch) > mostKept {
		s.batch = nil
	}
	s.tellKinds(&skipped)
	return &skipped, nil
}

// tellKinds tells of each kind of metric once that its points are skipped.
func (s *Source) tellKinds(skipped *Skipped) {
	known := len(s.kinds)
	for _, kind := range skipped.kinds() {
		if !slices.Contains(s.kinds, kind) {
			s.kinds = append(s.kinds, kind)
		}
	}
	if len(s.kinds) > known {
		s.report(s.part+": kinds", receiver.RiskRefused, fmt.Errorf("metrics of the kinds %v are skipped: want gauge or sum", s.kinds))
	}
}

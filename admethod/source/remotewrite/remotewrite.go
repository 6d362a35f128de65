// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remotewrite is the source that Prometheus, its agents, VictoriaMetrics' and Grafana's send samples to, by
// remote-write 1.0. Import it for its side effect: it registers itself under the name "remotewrite".
//
//	type: remotewrite
//	listen: 0.0.0.0:9201
//	tls: {cert: server.pem, key: server.key}
//	tokenFile: token
//
// The sender chooses what it sends, by write_relabel_configs. It is answered once the intake has taken the samples, so that
// it waits while detectors are behind, and sends again what was not answered; what comes again is passed over.
// Version 2.0 is refused with the status that has senders fall back to 1.0.
package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/receiver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	pb "github.com/kubeedge/edge-anomaly/proto/remotewrite"
)

// Name of the source.
const Name = "remotewrite"

// Path is where requests are posted.
const Path = "/api/v1/write"

const idle = time.Hour // series that were not sent as long make room for others

// staleBits is the NaN by which Prometheus says that a series has ended.
const staleBits = 0x7ff0000000000002

// Config of the source.
type Config struct {
	receiver.Config
	Series int `param:"series" min:"1" max:"1000000" doc:"series that are read; others are refused"`

	labelled.Names
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: receiver.DefaultConfig(), Series: 10000, Names: labelled.DefaultNames()}
}

func init() { source.Register(Factory()) }

// Factory describes the source.
func Factory() source.Factory {
	return source.Factory{
		Name:    Name,
		Summary: "is sent samples by Prometheus' remote-write 1.0",
		New:     func(s source.Settings) (source.Source, error) { return New(s) },
		Params:  func() []params.Param { return params.Describe(DefaultConfig()) },
	}
}

// Source is sent samples.
type Source struct {
	config   Config
	receiver *receiver.Receiver
	report   admethod.Report
	part     string

	// Whose turn it is uses the rest.
	table labelled.Table
	batch []source.Reading
}

// New makes a source. It listens to nothing before Run.
func New(s source.Settings) (*Source, error) {
	c := DefaultConfig()
	if err := errors.Join(source.Decode(&c, s.Options), c.Config.Validate(), c.Names.Validate()); err != nil {
		return nil, err
	}
	r, err := receiver.New(c.Config, s)
	if err != nil {
		return nil, err
	}
	return &Source{
		config: c, receiver: r, report: s.Report, part: "source " + s.Name,
		table: labelled.Table{Names: c.Names, Most: c.Series, Idle: idle},
	}, nil
}

// Run listens until ctx ends. An address that is taken is tried again.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	return s.receiver.Run(ctx, "a remote-write request", func() (receiver.Handle, func()) {
		return func(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
			err := s.write(ctx, in, r)
			answer(w, err)
			return err
		}, nil
	})
}

// answer tells a sender: 4xx has it drop the request, 5xx and 429 has it try again.
func answer(w http.ResponseWriter, err error) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var own *receiver.StatusError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.As(err, &own):
		http.Error(w, own.Error(), own.Code)
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// write takes a request.
func (s *Source) write(ctx context.Context, in source.Intake, r *http.Request) error {
	switch {
	case r.URL.Path != Path:
		return receiver.Refuse(http.StatusNotFound, errors.New("post to "+Path))
	case r.Method != http.MethodPost:
		return receiver.Refuse(http.StatusMethodNotAllowed, errors.New("want POST"))
	}
	if err := s.receiver.Authorize(r); err != nil {
		return err
	}
	kind, about, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-protobuf" || about["proto"] != "" && about["proto"] != "prometheus.WriteRequest" {
		return receiver.Refuse(http.StatusUnsupportedMediaType, fmt.Errorf("content type %.100q: want application/x-protobuf of remote-write 1.0", r.Header.Get("Content-Type")))
	}
	leave, err := s.receiver.Enter(ctx, r.Context(), 0)
	if err != nil {
		return err
	}
	defer leave()
	body, err := s.receiver.Read(r)
	if err != nil {
		return err
	}
	request, err := Decode(body, s.config.MaxBody)
	if err != nil {
		return err
	}
	done, err := s.receiver.Turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return s.handOver(ctx, in, request)
}

// Decode reads the body of a request that has at most so many bytes, decompressed.
func Decode(body []byte, most int) (*pb.WriteRequest, error) {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want snappy: %w", err))
	}
	if n > most {
		return nil, receiver.Refuse(http.StatusRequestEntityTooLarge, fmt.Errorf("%d bytes: want at most %d, as the key maxBody says", n, most))
	}
	text, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want snappy: %w", err))
	}
	var request pb.WriteRequest
	if err := proto.Unmarshal(text, &request); err != nil {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want a request of remote-write 1.0: %w", err))
	}
	return &request, nil
}

// handOver gives what is new in a request to the intake. It does not end with the request, but with ctx: a sender that
// gave up sends the same again, and by then it is known what of it was taken.
func (s *Source) handOver(ctx context.Context, in source.Intake, request *pb.WriteRequest) error {
	var told labelled.Complaint
	s.batch = s.batch[:0]
	now := time.Now()
	for _, series := range request.GetTimeseries() {
		s.collect(series, now, &told)
	}
	if len(s.batch) > 0 {
		refused, err := source.Refused(in.Take(ctx, s.batch))
		if err != nil {
			return &source.EndedError{Err: err}
		}
		for i := range refused {
			told.Add(refused[i].Err.Error())
		}
		s.report(s.receiver.Requests(), "", nil)
	}
	clear(s.batch)
	if len(request.GetTimeseries()) > 0 {
		s.report(s.part+": samples", receiver.RiskRefused, told.Err())
	}
	return nil
}

// collect notes the samples of a series that were not handed over yet.
func (s *Source) collect(series *pb.TimeSeries, now time.Time, told *labelled.Complaint) {
	labels := make(promapi.Labels, len(series.GetLabels()))
	for _, l := range series.GetLabels() {
		labels[l.GetName()] = l.GetValue()
	}
	if len(series.GetHistograms()) > 0 && len(series.GetSamples()) == 0 {
		told.Add(fmt.Sprintf("%.300s: native histograms: want numbers", labels))
		return
	}
	of, err := s.table.Find(labels, labels["__name__"], now)
	if err != nil {
		told.Add(err.Error())
		return
	}
	for _, sample := range series.GetSamples() {
		if math.Float64bits(sample.GetValue()) == staleBits {
			continue
		}
		at := time.UnixMilli(sample.GetTimestamp()).UTC()
		if at.Year() > 9999 || at.Year() < 1 {
			told.Add(fmt.Sprintf("%s: timestamp %d: want milliseconds since 1970", of.Labels, sample.GetTimestamp()))
			continue
		}
		if !at.After(of.Last) {
			continue // it was sent before
		}
		of.Last = at // whatever else becomes of it: the intake takes it, or the source ends
		s.batch = append(s.batch, source.Reading{Key: of.Key, At: at, Value: sample.GetValue(), Property: of.Property})
	}
}

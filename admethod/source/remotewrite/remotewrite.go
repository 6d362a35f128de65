// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remotewrite is the source that Prometheus, its agents, VictoriaMetrics' and Grafana's send samples to, by
// remote-write 1.0 and 2.0. Import it for its side effect: it registers itself under the name "remotewrite".
//
//	type: remotewrite
//	listen: 0.0.0.0:9201
//	tls: {cert: server.pem, key: server.key}
//	tokenFile: token
//
// The sender chooses what it sends, by write_relabel_configs. It is answered once the intake has taken the samples, so that
// it waits while detectors are behind, and sends again what was not answered; what comes again is passed over.
// Senders of 2.0 hear how many samples were taken, and why not the others.
package remotewrite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/receiver"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

// Name of the source.
const Name = "remotewrite"

// Path is where requests are posted.
const Path = "/api/v1/write"

const (
	idle  = time.Hour // series that were not sent as long make room for others
	conns = 256       // that wait for their next request: senders are few
)

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
		Summary: "is sent samples by Prometheus' remote-write 1.0 and 2.0",
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
	r, err := receiver.New(c.Config, conns, s)
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
			n, err := s.write(ctx, in, r)
			answer(w, n, err)
			return err
		}, nil
	})
}

// answer tells a sender: 4xx has it drop the request, 5xx and 429 has it try again.
func answer(w http.ResponseWriter, written *int, err error) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if written != nil {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(*written))
		w.Header().Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	}
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

// write takes a request. How many samples were taken of it, or known, is told to senders of 2.0; nil is nothing to tell.
func (s *Source) write(ctx context.Context, in source.Intake, r *http.Request) (written *int, err error) {
	switch {
	case r.URL.Path != Path:
		return nil, receiver.Refuse(http.StatusNotFound, errors.New("post to "+Path))
	case r.Method != http.MethodPost:
		return nil, receiver.Refuse(http.StatusMethodNotAllowed, errors.New("want POST"))
	}
	if err := s.receiver.Authorize(r); err != nil {
		return nil, err
	}
	version, err := versionOf(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	leave, err := s.receiver.Enter(ctx, r.Context(), 0)
	if err != nil {
		return nil, err
	}
	defer leave()
	body, err := s.receiver.Read(r)
	if err != nil {
		return nil, err
	}
	all, err := Decode(version, body, s.config.MaxBody)
	if err != nil {
		return nil, err
	}
	done, err := s.receiver.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	n, wrong, err := s.handOver(ctx, in, all)
	if version == Version1 || err != nil {
		return nil, err // who sends 1.0 is not told of parts
	}
	if wrong != nil {
		err = receiver.Refuse(http.StatusBadRequest, wrong)
	}
	return &n, err
}

// handOver gives what is new in a request to the intake. It does not end with the request, but with ctx: a sender that
// gave up sends the same again, and by then it is known what of it was taken. wrong is why some was not.
func (s *Source) handOver(ctx context.Context, in source.Intake, all []Series) (n int, wrong, err error) {
	var told labelled.Complaint
	s.batch = s.batch[:0]
	now := time.Now()
	for i := range all {
		n += s.collect(&all[i], now, &told)
	}
	if len(s.batch) > 0 {
		refused, err := source.Refused(in.Take(ctx, s.batch))
		if err != nil {
			return n, nil, &source.EndedError{Err: err}
		}
		for i := range refused {
			told.Add(refused[i].Err.Error())
		}
		n -= len(refused)
		s.report(s.receiver.Requests(), "", nil)
	}
	clear(s.batch)
	wrong = told.Err()
	if len(all) > 0 {
		s.report(s.part+": samples", receiver.RiskRefused, wrong)
	}
	return n, wrong, nil
}

// collect notes the samples of a series that were not handed over yet, and returns how many there are of it that make
// sense.
func (s *Source) collect(series *Series, now time.Time, told *labelled.Complaint) (n int) {
	if series.Err != nil {
		told.Add(series.Err.Error())
		return 0
	}
	if series.Histograms > 0 {
		told.Add(fmt.Sprintf("%.300s: native histograms: want numbers", series.Labels))
		if len(series.Samples) == 0 {
			return 0
		}
	}
	of, err := s.table.Find(series.Labels, series.Labels["__name__"], source.Property{Unit: series.Unit}, now)
	if err != nil {
		told.Add(err.Error())
		return 0
	}
	for _, sample := range series.Samples {
		if math.Float64bits(sample.GetValue()) == staleBits {
			n++
			continue
		}
		at := time.UnixMilli(sample.GetTimestamp()).UTC()
		if at.Year() > 9999 || at.Year() < 1 {
			told.Add(fmt.Sprintf("%s: timestamp %d: want milliseconds since 1970", of.Labels, sample.GetTimestamp()))
			continue
		}
		n++
		if !at.After(of.Last) {
			continue // it was sent before
		}
		of.Last = at // whatever else becomes of it: the intake takes it, or the source ends
		s.batch = append(s.batch, source.Reading{Key: of.Key, At: at, Value: sample.GetValue(), Property: of.Property})
	}
	return n
}

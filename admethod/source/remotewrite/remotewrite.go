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
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/promapi"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
	pb "github.com/kubeedge/edge-anomaly/proto/remotewrite"
)

// Name of the source.
const Name = "remotewrite"

// Path is where requests are posted.
const Path = "/api/v1/write"

const (
	idle      = time.Hour // series that were not sent as long make room for others
	atOnce    = 4         // requests in memory
	patience  = 25 * time.Second
	grace     = time.Second
	connsMost = 256

	firstPause, longestPause = time.Second, time.Minute
)

// staleBits is the NaN by which Prometheus says that a series has ended.
const staleBits = 0x7ff0000000000002

// Config of the source.
type Config struct {
	Listen    string         `param:"listen" doc:"host:port to listen on; senders post to /api/v1/write"`
	Insecure  bool           `param:"insecure" doc:"listens without TLS, and takes what anyone sends where there is no token: anyone on the way can read and change readings"`
	TLS       tlsfiles.Files `param:"tls"`
	TokenFile string         `param:"tokenFile" doc:"file with the bearer token of senders, read again when it changes"`
	MaxBody   int            `param:"maxBody" min:"1024" max:"268435456" doc:"bytes of a request, decompressed"`
	Series    int            `param:"series" min:"1" max:"1000000" doc:"series that are read; others are refused"`

	labelled.Names
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{MaxBody: 4 << 20, Series: 10000, Names: labelled.DefaultNames()}
}

func (c *Config) validate() error {
	var errs []error
	fail := func(key string, value any, want string) {
		errs = append(errs, &params.Error{Key: key, Value: value, Want: want})
	}
	if host, _, err := net.SplitHostPort(c.Listen); err != nil || host == "" {
		fail("listen", c.Listen, "host:port, such as 127.0.0.1:9201; 0.0.0.0 for every interface")
	}
	switch {
	case c.Insecure && c.TLS != (tlsfiles.Files{}):
		fail("insecure", true, "no tls.* keys beside it")
	case !c.Insecure && c.TLS.Cert == "":
		fail("tls.cert", nil, "must be set; insecure: true allows plaintext")
	case !c.Insecure && c.TokenFile == "" && c.TLS.CA == "":
		fail("tokenFile", nil, "must be set, or tls.ca for senders that show a certificate: else anyone could send")
	}
	return errors.Join(errs...)
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
	config Config
	files  *tlsfiles.Loader // nil in plaintext
	token  *tlsfiles.Token  // nil: none
	report admethod.Report
	part   string

	room chan struct{} // is full while as many requests are in memory as may be

	turn  chan struct{} // is full while a request is handed over, which uses the rest
	table labelled.Table
	batch []source.Reading
}

// gate counts who is inside. Nobody enters once it is closed.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Add(1)
	}
	return !g.closed
}

// close waits until all have left.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// New makes a source. It listens to nothing before Run.
func New(s source.Settings) (*Source, error) {
	c := DefaultConfig()
	if err := errors.Join(source.Decode(&c, s.Options), c.validate()); err != nil {
		return nil, err
	}
	out := &Source{
		config: c, report: s.Report, part: "source " + s.Name, room: make(chan struct{}, atOnce), turn: make(chan struct{}, 1),
		table: labelled.Table{Names: c.Names, Most: c.Series, Idle: idle},
	}
	trouble := func(err error) { s.Report(out.part+": files", "the old content of the files stays in use", err) }
	var err error
	if !c.Insecure {
		if out.files, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, err
		}
	}
	if out.token, err = tlsfiles.NewToken(c.TokenFile, trouble); err != nil {
		return nil, fmt.Errorf("tokenFile: %w", err)
	}
	return out, nil
}

// Risks, for reports.
const (
	riskAway    = "no readings come; senders keep what they have, as long as they can"
	riskRefused = "what is named is not watched"
)

// Run listens until ctx ends. An address that is taken is tried again.
func (s *Source) Run(ctx context.Context, in source.Intake) error {
	pause := wait.Backoff{First: firstPause, Longest: longestPause}
	for {
		err := s.serve(ctx, in, pause.Reset)
		var ended *source.EndedError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &ended):
			return ended.Err
		}
		s.report(s.part, riskAway, err)
		if err := wait.Sleep(ctx, pause.Next()); err != nil {
			return err
		}
	}
}

// serve answers requests until ctx ends or the intake does.
func (s *Source) serve(ctx context.Context, in source.Intake, works func()) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var handlers gate
	defer handlers.close()
	server := httpserver.New("a remote-write request", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !handlers.enter() {
			answer(w, context.Canceled)
			return
		}
		defer handlers.inside.Done()
		err := s.write(ctx, in, r)
		if ended := (*source.EndedError)(nil); errors.As(err, &ended) {
			end(ended)
		}
		if own := (*statusError)(nil); errors.As(err, &own) && own.code != http.StatusUnauthorized && own.code != http.StatusNotFound {
			s.report(s.part+": requests", riskRefused, fmt.Errorf("a request from %s was refused: %w", r.RemoteAddr, err))
		}
		answer(w, err)
	}), patience, 2*patience, connsMost)
	if s.files != nil {
		config, err := s.files.Server("h2", "http/1.1")
		if err != nil {
			return err
		}
		server.TLSConfig = config
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen)
	if err != nil {
		return err
	}
	s.report(s.part, "", nil)
	works()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		err = errors.Join(context.Cause(ctx), server.End(context.WithoutCancel(ctx), grace))
		<-served
	}
	end(err) // whoever is at work
	return err
}

// statusError is a refusal with a status of its own.
type statusError struct {
	code int
	err  error
}

func (e *statusError) Error() string { return e.err.Error() }

// answer tells a sender: 4xx has it drop the request, 5xx and 429 has it try again.
func answer(w http.ResponseWriter, err error) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	var own *statusError
	switch {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.As(err, &own):
		http.Error(w, own.Error(), own.code)
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// write takes a request.
func (s *Source) write(ctx context.Context, in source.Intake, r *http.Request) error {
	switch {
	case r.URL.Path != Path:
		return &statusError{http.StatusNotFound, errors.New("post to " + Path)}
	case r.Method != http.MethodPost:
		return &statusError{http.StatusMethodNotAllowed, errors.New("want POST")}
	case s.token != nil && !tlsfiles.Authorizes(r.Header.Get("Authorization"), s.token.Get()):
		return &statusError{http.StatusUnauthorized, errors.New("want the bearer token")}
	}
	kind, about, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-protobuf" || about["proto"] != "" && about["proto"] != "prometheus.WriteRequest" {
		return &statusError{http.StatusUnsupportedMediaType, fmt.Errorf("content type %.100q: want application/x-protobuf of remote-write 1.0", r.Header.Get("Content-Type"))}
	}
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	case <-r.Context().Done():
		return r.Context().Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	request, err := s.read(r)
	if err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return s.handOver(ctx, in, request)
}

// read decodes a request.
func (s *Source) read(r *http.Request) (*pb.WriteRequest, error) {
	most := int64(s.config.MaxBody)
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, &statusError{http.StatusRequestEntityTooLarge, fmt.Errorf("want at most %d bytes, as the key maxBody says", most)}
	}
	if err != nil {
		return nil, err
	}
	return Decode(body, s.config.MaxBody)
}

// Decode reads the body of a request that has at most so many bytes, decompressed.
func Decode(body []byte, most int) (*pb.WriteRequest, error) {
	n, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, &statusError{http.StatusBadRequest, fmt.Errorf("want snappy: %w", err)}
	}
	if n > most {
		return nil, &statusError{http.StatusRequestEntityTooLarge, fmt.Errorf("%d bytes: want at most %d, as the key maxBody says", n, most)}
	}
	text, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, &statusError{http.StatusBadRequest, fmt.Errorf("want snappy: %w", err)}
	}
	var request pb.WriteRequest
	if err := proto.Unmarshal(text, &request); err != nil {
		return nil, &statusError{http.StatusBadRequest, fmt.Errorf("want a request of remote-write 1.0: %w", err)}
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
		s.report(s.part+": requests", "", nil)
	}
	clear(s.batch)
	if len(request.GetTimeseries()) > 0 {
		s.report(s.part+": samples", riskRefused, told.Err())
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

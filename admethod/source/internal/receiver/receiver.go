// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package receiver listens for what senders push to a source, until the source ends: who may send, how much is in memory at
// a time, and what of it is handed over when.
package receiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/pkg/params"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

const (
	atOnce   = 2 // requests in memory, one of which is handed over: a hostile one takes 70 times its size once it is decoded
	patience = 25 * time.Second
	grace    = time.Second

	firstPause, longestPause = time.Second, time.Minute
)

// Config says where it listens, and for whom.
type Config struct {
	Listen    string         `param:"listen" doc:"host:port to listen on"`
	Insecure  bool           `param:"insecure" doc:"listens without TLS, and takes what anyone sends where there is no token: anyone on the way can read and change readings"`
	TLS       tlsfiles.Files `param:"tls"`
	TokenFile string         `param:"tokenFile" doc:"file with the bearer token of senders, read again when it changes"`
	MaxBody   int            `param:"maxBody" min:"1024" max:"268435456" doc:"bytes of a request, decompressed"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{MaxBody: 4 << 20} }

// Validate finds what bounds of single keys cannot express.
func (c *Config) Validate() error {
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

// Receiver listens. Its methods may be called by several requests at once.
type Receiver struct {
	config Config
	files  *tlsfiles.Loader // nil in plaintext
	token  *tlsfiles.Token  // nil: none
	report admethod.Report
	part   string
	conns  int

	room chan struct{} // is full while as many requests are in memory as may be
	turn chan struct{} // is full while a request is handed over
}

// New makes the receiver of a source, for which so many connections may wait for their next request. It listens to nothing
// before Run.
func New(c Config, conns int, s source.Settings) (*Receiver, error) {
	r := &Receiver{config: c, report: s.Report, part: "source " + s.Name, conns: conns, room: make(chan struct{}, atOnce), turn: make(chan struct{}, 1)}
	trouble := func(err error) { s.Report(r.part+": files", "the old content of the files stays in use", err) }
	var err error
	if !c.Insecure {
		if r.files, err = tlsfiles.New(c.TLS, trouble); err != nil {
			return nil, err
		}
	}
	if r.token, err = tlsfiles.NewToken(c.TokenFile, trouble); err != nil {
		return nil, fmt.Errorf("tokenFile: %w", err)
	}
	return r, nil
}

// StatusError is a refusal of a request, which is not to be sent again as it is.
type StatusError struct {
	Code int // of HTTP
	Err  error
}

func (e *StatusError) Error() string { return e.Err.Error() }

// Refuse is a [*StatusError].
func Refuse(code int, err error) error { return &StatusError{Code: code, Err: err} }

// Unwrap is why.
func (e *StatusError) Unwrap() error { return e.Err }

// ErrBusy is for a sender that is to come again later.
var ErrBusy = errors.New("the detector is behind, and has no room for another request now")

// Risks, for reports.
const (
	riskAway = "no readings come; senders keep what they have, as long as they can"
	// RiskRefused is of what was sent and not taken.
	RiskRefused = "what is named is not watched"
)

// Requests is the part of reports on requests that are refused.
func (r *Receiver) Requests() string { return r.part + ": requests" }

// Handle answers a request, and returns what is wrong with it. A [source.EndedError] ends the source. ctx is that of the
// source: a sender that gave up sends the same again, and by then it is to be known what of it was taken.
type Handle func(ctx context.Context, w http.ResponseWriter, request *http.Request) error

// Run listens until ctx ends, or the intake does. An address that is taken is tried again. what names the requests; begin is
// called whenever it begins to listen, and returns what answers, and what joins that, which may be nil.
func (r *Receiver) Run(ctx context.Context, what string, begin func() (Handle, func())) error {
	pause := wait.Backoff{First: firstPause, Longest: longestPause}
	for {
		err := r.serve(ctx, what, begin, pause.Reset)
		if over := source.Over(ctx, err); over != nil {
			return over
		}
		r.report(r.part, riskAway, err)
		if err := wait.Sleep(ctx, pause.Next()); err != nil {
			return err
		}
	}
}

// serve answers requests until ctx ends or the intake does.
func (r *Receiver) serve(ctx context.Context, what string, begin func() (Handle, func()), works func()) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	handle, join := begin()
	if join != nil {
		defer join()
	}
	var handlers gate
	defer handlers.close()
	server := httpserver.New(what, http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		if !handlers.enter() {
			http.Error(w, context.Canceled.Error(), http.StatusServiceUnavailable)
			return
		}
		defer handlers.inside.Done()
		err := handle(ctx, w, request)
		if ended := (*source.EndedError)(nil); errors.As(err, &ended) {
			end(ended)
		}
		if own := (*StatusError)(nil); errors.As(err, &own) && own.Code != http.StatusUnauthorized && own.Code != http.StatusNotFound {
			r.report(r.Requests(), RiskRefused, fmt.Errorf("a request from %s was refused: %w", request.RemoteAddr, err))
		}
	}), patience, 2*patience, r.conns)
	if r.files != nil {
		config, err := r.files.Server("h2", "http/1.1")
		if err != nil {
			return err
		}
		server.TLSConfig = config
	} else {
		server.Protocols = new(http.Protocols)
		server.Protocols.SetHTTP1(true)
		server.Protocols.SetUnencryptedHTTP2(true)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.config.Listen)
	if err != nil {
		return err
	}
	r.report(r.part, "", nil)
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

// Authorize says why the sender may not send: a [*StatusError].
func (r *Receiver) Authorize(request *http.Request) error {
	if r.token != nil && !tlsfiles.Authorizes(request.Header.Get("Authorization"), r.token.Get()) {
		return Refuse(http.StatusUnauthorized, errors.New("want the bearer token"))
	}
	return nil
}

// Enter waits until there is room for another request, for as long as its sender does, or for a while that is not 0 at most:
// [ErrBusy]. leave makes room for the next one.
func (r *Receiver) Enter(ctx, sender context.Context, most time.Duration) (leave func(), err error) {
	leave = func() { <-r.room }
	select {
	case r.room <- struct{}{}:
		return leave, nil
	default:
	}
	var late <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case r.room <- struct{}{}:
		return leave, nil
	case <-late:
		return nil, ErrBusy
	case <-sender.Done():
		return nil, sender.Err()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Turn waits until no other request is handed over.
func (r *Receiver) Turn(ctx context.Context) (leave func(), err error) {
	select {
	case r.turn <- struct{}{}:
		return func() { <-r.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Read reads the body of a request as it was sent.
func (r *Receiver) Read(request *http.Request) ([]byte, error) {
	return r.ReadAll(http.MaxBytesReader(nil, request.Body, int64(r.config.MaxBody)))
}

// ReadAll reads what is a body once it is decompressed.
func (r *Receiver) ReadAll(from io.Reader) ([]byte, error) {
	most := int64(r.config.MaxBody)
	body, err := io.ReadAll(io.LimitReader(from, most+1))
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) || int64(len(body)) > most {
		return nil, Refuse(http.StatusRequestEntityTooLarge, fmt.Errorf("want at most %d bytes, as the key maxBody says", most))
	}
	return body, err
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

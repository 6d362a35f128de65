// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/internal/connlimit"
	"github.com/kubeedge/edge-anomaly/admethod/internal/httpserver"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	maxBody     = 4 << 20 // bytes of a batch, as it comes and decompressed
	maxReadings = 4096    // of a batch
	bodyTime    = 20 * time.Second
	// What is left to a batch beyond the deadline of its readings is for pacing the client.
	pacing = 2 * time.Second
	// A batch that cannot be read counts as so many readings against the rate.
	wrongBatch = 1024
)

// ServeBoth answers gRPC on one listener and batches over HTTP, as openapi.yaml of admethod/wire/batch describes it, on the
// other. Either may be nil. All else is as for [Server.Serve]. Others feed the same intake beside the endpoints, as sources do,
// see [intake.Intake.Run].
func (s *Server) ServeBoth(ctx context.Context, grpc, http net.Listener, others ...func(context.Context) error) error {
	endpoints := others
	if grpc != nil {
		endpoints = append(endpoints, func(ctx context.Context) error { return s.serveGRPC(ctx, grpc) })
	}
	if http != nil {
		endpoints = append(endpoints, func(ctx context.Context) error { return s.serveHTTP(ctx, http) })
	}
	if len(endpoints) == 0 {
		return errors.New("detector server: want a listener")
	}
	return s.intake.Run(ctx, endpoints...)
}

// endpoint answers batches.
type endpoint struct {
	server  *Server
	posters *posters
	serving context.Context // ends when the server is to drain
	active  sync.WaitGroup  // batches
}

type connKey struct{}

// serveHTTP answers on the listener until ctx ends, and closes it.
func (s *Server) serveHTTP(ctx context.Context, l net.Listener) error {
	detached := context.WithoutCancel(ctx)
	posters, err := newPosters(ctx, s)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	e := &endpoint{server: s, posters: posters, serving: ctx}
	hs := &httpserver.Server{Server: http.Server{
		Handler: e.handler(), ErrorLog: log.New(errorLog{s}, "", 0),
		BaseContext: func(net.Listener) context.Context { return detached },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		// The first bounds the handshake too.
		ReadHeaderTimeout: s.config.Handshake, ReadTimeout: bodyTime, IdleTimeout: 2 * time.Minute,
		WriteTimeout: bodyTime + s.config.Deadline + pacing + 20*time.Second, MaxHeaderBytes: 16 << 10,
		// A connection that a balancer shares out may carry many clients' batches; each client is bounded by itself.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: min(s.config.MaxStreams, 250), SendPingTimeout: time.Minute},
	}}
	l = s.guard(l)
	if !s.config.Insecure {
		if hs.TLSConfig, err = s.httpTLS(); err != nil {
			posters.close()
			return errors.Join(err, l.Close())
		}
	}
	ended, end := context.WithCancel(ctx)
	var ending sync.WaitGroup
	ending.Go(func() {
		<-ended.Done()
		_ = hs.End(detached, shutdown) // without clients that do not read their answers
	})
	err = hs.Serve(l)
	end()
	ending.Wait()
	e.active.Wait() // those whose connection was closed end soon
	posters.close()
	return err
}

// httpTLS lets connections without a certificate in, unlike that of gRPC: probes have none, and who sends a batch
// without one is told so by a status.
func (s *Server) httpTLS() (*tls.Config, error) {
	config, err := s.tlsConfig("h2", "http/1.1")
	if err != nil {
		return nil, err
	}
	current := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := current(hello)
		if err == nil && c.ClientAuth == tls.RequireAndVerifyClientCert {
			c.ClientAuth = tls.VerifyClientCertIfGiven
		}
		return c, err
	}
	return config, nil
}

// errorLog takes the lines of net/http, which are about connections.
type errorLog struct{ server *Server }

func (l errorLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	cause := "http " + text[strings.LastIndex(text, ": ")+1:] // addresses are before it
	l.server.log.ErrorS(cause, errors.New(text), "Detector server refuses a connection")
	return len(line), nil
}

func (e *endpoint) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+batch.Path, e.detect)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if e.serving.Err() != nil {
			say(w, http.StatusServiceUnavailable, "shuts down")
			return
		}
		say(w, http.StatusOK, "ok")
	})
	mux.HandleFunc("GET /openapi.yaml", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(batch.OpenAPI) // the client may be gone
	})
	return guard.Handler("a request to the detector server", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		// Until a client is known, its connection is one of those that are bounded, and not kept.
		w.Header().Set("Connection", "close")
		mux.ServeHTTP(w, r)
	}))
}

func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // the client may be gone
}

// httpError is a refusal whose status code no gRPC status stands for.
type httpError struct {
	code int
	err  error
}

func (e *httpError) Error() string { return e.err.Error() }
func (e *httpError) Unwrap() error { return e.err }

// detect answers a batch.
func (e *endpoint) detect(w http.ResponseWriter, r *http.Request) {
	e.active.Add(1)
	defer e.active.Done()
	conn, _ := r.Context().Value(connKey{}).(net.Conn) // is always there
	c, err := e.server.identify(r.TLS, r.Header.Get("Authorization"))
	if err == nil {
		settle(conn)
		w.Header().Del("Connection")
		err = e.answer(w, r, c)
	}
	if err == nil {
		return
	}
	var own *httpError
	if errors.As(err, &own) {
		e.server.log.ErrorS(fmt.Sprint("http ", own.code, " ", c.Name), err, "Detector server refuses a batch",
			"client", c.Name, "from", connlimit.Host(conn.RemoteAddr()))
	} else {
		e.server.refuse(c, conn.RemoteAddr(), err)
	}
	refuse(w, err)
}

// answer answers a batch of the client, unless it fails.
func (e *endpoint) answer(w http.ResponseWriter, r *http.Request, c *client) error {
	format, err := batch.FormatOf(r.Header.Get("Content-Type"))
	if err != nil {
		return &httpError{http.StatusUnsupportedMediaType, err}
	}
	var later *poster
	if u := r.Header.Get(batch.CallbackHeader); u != "" {
		if later = e.posters.find(c, u); later == nil {
			return status.Errorf(codes.PermissionDenied, "client %q may not name %.300q as %s", c.Name, u, batch.CallbackHeader)
		}
	}
	// Before the body is read: what a client makes the server do is bounded by its rate, what it makes it hold by its
	// streams.
	if err := c.OverRate(time.Now()); err != nil {
		return err
	}
	session, err := e.server.intake.Open(c.Client, inFlight)
	if err != nil {
		return err
	}
	defer session.Close()
	m, err := e.read(w, r, format)
	if err != nil {
		c.Charge(time.Now(), wrongBatch)
		return err
	}
	if len(m.Readings) == 0 {
		later = nil
	}
	if later != nil {
		if err := later.reserve(m); err != nil {
			return err
		}
	}
	answers, err := e.judge(r.Context(), c, session, m)
	if err != nil {
		if later != nil {
			later.unreserve()
		}
		return err
	}
	out := &pb.DetectResponse{Answers: answers}
	if later != nil {
		out.StreamId = m.GetStream().GetStreamId()
		later.post(format, out)
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	body, err := format.EncodeResponse(out)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	w.Header().Set("Content-Type", format.ContentType())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the client may be gone
	return nil
}

func (e *endpoint) read(w http.ResponseWriter, r *http.Request, format batch.Format) (*pb.DetectRequest, error) {
	hurried := make(chan struct{})
	hurry := context.AfterFunc(e.serving, func() { // a body that trickles must not hold up the drain
		defer close(hurried)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Second))
	})
	defer func() {
		if !hurry() {
			<-hurried
		}
	}()
	body, err := batch.ReadBody(r.Body, r.Header.Get("Content-Encoding"), maxBody)
	switch {
	case errors.Is(err, batch.ErrTooLarge):
		// A client that is still sending would not see the refusal.
		_, _ = io.CopyN(io.Discard, r.Body, 4*maxBody)
		return nil, &httpError{http.StatusRequestEntityTooLarge, fmt.Errorf("%w, want at most %d bytes", err, maxBody)}
	case errors.Is(err, batch.ErrMediaType):
		return nil, &httpError{http.StatusUnsupportedMediaType, err}
	case err != nil:
		return nil, &httpError{http.StatusBadRequest, fmt.Errorf("body: %w", err)}
	}
	m, err := format.DecodeRequest(body)
	if errors.Is(err, batch.ErrTooLarge) {
		return nil, &httpError{http.StatusRequestEntityTooLarge, err}
	}
	if err != nil {
		return nil, &httpError{http.StatusBadRequest, err}
	}
	if n := len(m.Readings); n > maxReadings {
		return nil, &httpError{http.StatusRequestEntityTooLarge, fmt.Errorf("%d readings, want at most %d", n, maxReadings)}
	}
	if len(m.Readings) > 0 && m.Stream != nil {
		m.Readings[0].Stream = m.Stream
	}
	return m, nil
}

// judge returns one answer for each reading. Readings for which the client may not send get an answer that says so, and
// are an error only where there are no others: one device in the wrong namespace must not stop a mapper's other devices.
func (e *endpoint) judge(ctx context.Context, c *client, session *intake.Session, m *pb.DetectRequest) ([]*pb.AnomalyResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, e.server.config.Deadline+pacing)
	defer cancel()
	answers := make([]*pb.AnomalyResponse, len(m.Readings))
	asked := make([]*pb.DevicePropertyData, 0, len(m.Readings))
	var foreign error
	for i, reading := range m.Readings {
		if err := permitReading(c, reading); err != nil {
			foreign = err
			answers[i] = refusal(reading, status.Convert(err).Message())
			continue
		}
		asked = append(asked, reading)
	}
	if foreign != nil && len(asked) == 0 {
		return nil, foreign
	}
	if foreign != nil {
		e.server.refuse(c, nil, foreign)
	}
	next := 0
	for chunk := range slices.Chunk(asked, inFlight) {
		got, err := session.Exchange(ctx, chunk)
		if err != nil {
			if status.Code(err) == codes.DeadlineExceeded && session.Throttled() {
				err = intake.Exhausted(pacing, "client %q sends more than its %v readings a second", c.Name, c.Limits.Rate)
			}
			return nil, err
		}
		for _, a := range got {
			for answers[next] != nil {
				next++
			}
			answers[next] = a
		}
	}
	return answers, nil
}

func permitReading(c *client, m *pb.DevicePropertyData) error {
	if err := c.Permit(m.GetNamespace()); err != nil {
		return err
	}
	for _, member := range m.GetSeries().GetMembers() {
		if err := c.Permit(member.GetNamespace()); err != nil {
			return err
		}
	}
	return nil
}

// refusal is an answer without a verdict.
func refusal(m *pb.DevicePropertyData, why string) *pb.AnomalyResponse {
	r := driver.Result{
		Key:  driver.Key{Namespace: m.GetNamespace(), Device: m.GetDeviceName(), Property: m.GetPropertyName()},
		Kind: driver.KindFailed, Message: why, Score: math.NaN(),
		Value: math.NaN(), Expected: math.NaN(), Lower: math.NaN(), Upper: math.NaN(),
	}
	a := wire.Answer(&r)
	a.Sequence, a.Timestamp, a.TimeUnixNano = m.GetSequence(), m.GetTimestamp(), m.GetTimeUnixNano()
	return a
}

// refuse tells the client why its batch is refused, by RFC 9457.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	wait := intake.RetryAfter(err)
	var own *httpError
	if errors.As(err, &own) {
		code = own.code
	} else {
		switch status.Code(err) {
		case codes.Unauthenticated:
			code = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", "Bearer")
		case codes.PermissionDenied:
			code = http.StatusForbidden
		case codes.ResourceExhausted:
			code, wait = http.StatusTooManyRequests, max(wait, time.Second)
		case codes.InvalidArgument:
			code = http.StatusBadRequest
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
			code, wait = http.StatusServiceUnavailable, max(wait, time.Second)
		}
	}
	if wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	detail := err.Error()
	if st, ok := status.FromError(err); ok {
		detail = st.Message()
	}
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(code), code, detail})
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client may be gone
}

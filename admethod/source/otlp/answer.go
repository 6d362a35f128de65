// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // as exporters compress
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/receiver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
)

// Path is where requests over HTTP are posted.
const Path = "/v1/metrics"

// again is when a sender for which there is no room is to come again.
const again = 2 * time.Second

// call answers a request over gRPC. It is let in before its message is read.
func (s *Source) call(ctx context.Context, calls *grpc.Server, w http.ResponseWriter, r *http.Request) error {
	err := s.receiver.Authorize(r)
	if err != nil {
		refuseCall(w, err)
		return err
	}
	leave, err := s.receiver.Enter(ctx, r.Context(), busy)
	if err != nil {
		refuseCall(w, err)
		return err
	}
	c := &call{leave: leave, ctx: ctx}
	defer c.release()
	c.hold()
	calls.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callKey{}, c))) //nolint:contextcheck // the call has that of its request, as gRPC gives it one
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

type callKey struct{}

// call is a request over gRPC, whose handler may go on when its sender has given up. It makes room when both have ended.
type call struct {
	ctx   context.Context // of the source
	leave func()

	mu    sync.Mutex
	users int
	err   error
}

func (c *call) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
}

func (c *call) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users == 0 {
		c.leave()
	}
}

// newServer makes what speaks gRPC.
func (s *Source) newServer(in source.Intake) *grpc.Server {
	g := grpc.NewServer(grpc.MaxRecvMsgSize(s.config.MaxBody), grpc.WaitForHandlers(true), grpc.UnaryInterceptor(
		func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
			err = guard.Call("an OTLP call", func() (err error) {
				reply, err = handler(ctx, request)
				return err
			})
			if p := (*guard.Panic)(nil); errors.As(err, &p) {
				return nil, status.Error(codes.Internal, "the server has a defect here")
			}
			return reply, err
		}))
	pmetricotlp.RegisterGRPCServer(g, &server{source: s, in: in})
	return g
}

// server is the service of OTLP/gRPC.
type server struct {
	pmetricotlp.UnimplementedGRPCServer
	source *Source
	in     source.Intake
}

// Export takes a request.
func (v *server) Export(ctx context.Context, request pmetricotlp.ExportRequest) (pmetricotlp.ExportResponse, error) {
	c, ok := ctx.Value(callKey{}).(*call)
	if !ok {
		return pmetricotlp.NewExportResponse(), status.Error(codes.Internal, "a call that was not let in")
	}
	c.hold()
	defer c.release()
	response, err := v.source.export(c.ctx, v.in, request.Metrics()) //nolint:contextcheck // what was read is taken, whether or not its sender waits
	if err != nil {
		c.mu.Lock()
		c.err = err
		c.mu.Unlock()
		return response, statusOf(err).Err()
	}
	return response, nil
}

// export takes metrics, and makes the answer.
func (s *Source) export(ctx context.Context, in source.Intake, m pmetric.Metrics) (pmetricotlp.ExportResponse, error) {
	response := pmetricotlp.NewExportResponse()
	skipped, err := s.take(ctx, in, m)
	if err != nil {
		return response, err
	}
	if n := skipped.All(); n > 0 {
		response.PartialSuccess().SetRejectedDataPoints(int64(n))
		response.PartialSuccess().SetErrorMessage(skipped.String())
	}
	return response, nil
}

// statusOf is what a sender is told. All but refusals are to be tried again.
func statusOf(err error) *status.Status {
	text := strings.ToValidUTF8(err.Error(), "?") // it may quote what was sent
	var own *receiver.StatusError
	if errors.As(err, &own) {
		code := codes.InvalidArgument
		switch own.Code {
		case http.StatusUnauthorized:
			code = codes.Unauthenticated
		case http.StatusRequestEntityTooLarge:
			code = codes.ResourceExhausted // without a time to come again it is for good
		}
		return status.New(code, text)
	}
	st := status.New(codes.Unavailable, text)
	if detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(again)}); err == nil {
		st = detailed
	}
	return st
}

// refuseCall answers a call whose message was not read.
func refuseCall(w http.ResponseWriter, err error) {
	st := statusOf(err)
	h := w.Header()
	h.Set("Content-Type", "application/grpc")
	h.Set("Grpc-Status", strconv.Itoa(int(st.Code())))
	h.Set("Grpc-Message", st.Message()) // of this package's own, plain ASCII
	if details, err := proto.Marshal(st.Proto()); err == nil {
		h.Set("Grpc-Status-Details-Bin", base64.RawStdEncoding.EncodeToString(details))
	}
	w.WriteHeader(http.StatusOK)
}

// The formats of OTLP/HTTP.
const (
	formatProto = "application/x-protobuf"
	formatJSON  = "application/json"
)

// post answers a request over HTTP.
func (s *Source) post(ctx context.Context, in source.Intake, w http.ResponseWriter, r *http.Request) error {
	format, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || format != formatJSON {
		format = formatProto // which is also what others are refused in
	}
	response, err := s.read(ctx, in, r)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Type", format)
	if err != nil {
		return errors.Join(err, refusePost(w, format, err))
	}
	var text []byte
	if format == formatJSON {
		text, err = response.MarshalJSON()
	} else {
		text, err = response.MarshalProto()
	}
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// refusePost tells what is wrong: 4xx but 429 has the sender drop the request, 429 and 503 has it try again.
func refusePost(w http.ResponseWriter, format string, why error) error {
	st := statusOf(why)
	code := http.StatusServiceUnavailable
	var own *receiver.StatusError
	switch {
	case errors.As(why, &own):
		code = own.Code
	case errors.Is(why, receiver.ErrBusy):
		code = http.StatusTooManyRequests
	}
	if own == nil {
		w.Header().Set("Retry-After", strconv.Itoa(int(again/time.Second)))
	}
	text, err := proto.Marshal(st.Proto())
	if format == formatJSON {
		text, err = protojson.Marshal(st.Proto())
	}
	w.WriteHeader(code)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// read takes a request over HTTP.
func (s *Source) read(ctx context.Context, in source.Intake, r *http.Request) (none pmetricotlp.ExportResponse, err error) {
	if strings.TrimSuffix(r.URL.Path, "/") != Path {
		return none, receiver.Refuse(http.StatusNotFound, errors.New("post to "+Path))
	}
	if r.Method != http.MethodPost {
		return none, receiver.Refuse(http.StatusMethodNotAllowed, errors.New("want POST"))
	}
	if err := s.receiver.Authorize(r); err != nil {
		return none, err
	}
	format, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || format != formatProto && format != formatJSON {
		return none, receiver.Refuse(http.StatusUnsupportedMediaType, fmt.Errorf("content type %.100q: want %s or %s", r.Header.Get("Content-Type"), formatProto, formatJSON))
	}
	leave, err := s.receiver.Enter(ctx, r.Context(), busy)
	if err != nil {
		return none, err
	}
	defer leave()
	body, err := s.receiver.Read(r)
	if err != nil {
		return none, err
	}
	if body, err = s.unpack(body, r.Header.Get("Content-Encoding")); err != nil {
		return none, err
	}
	m, err := Decode(body, format == formatJSON)
	if err != nil {
		return none, err
	}
	return s.export(ctx, in, m)
}

// unpack is a body that was sent in an encoding.
func (s *Source) unpack(body []byte, encoding string) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip":
	default:
		return nil, receiver.Refuse(http.StatusUnsupportedMediaType, fmt.Errorf("content encoding %.100q: want gzip, or none", encoding))
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(body))
	if err == nil {
		body, err = s.receiver.ReadAll(unpacked)
	}
	var own *receiver.StatusError
	if err != nil && !errors.As(err, &own) {
		return nil, receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want gzip: %w", err))
	}
	return body, err
}

// Decode reads the body of a request over HTTP, in protobuf or in JSON.
func Decode(body []byte, inJSON bool) (pmetric.Metrics, error) {
	request := pmetricotlp.NewExportRequest()
	unmarshal := request.UnmarshalProto
	if inJSON {
		unmarshal = request.UnmarshalJSON
	}
	// A defect of the decoder is an error of what was sent.
	if err := guard.Call("the decoder of OTLP", func() error { return unmarshal(body) }); err != nil {
		return pmetric.NewMetrics(), receiver.Refuse(http.StatusBadRequest, fmt.Errorf("want a request of OTLP: %w", err))
	}
	return request.Metrics(), nil
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles/certtest"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// A token that is refused is not the end: it is read again when it has changed.
func TestTokenThatIsRenewed(t *testing.T) {
	t.Parallel()
	files := certtest.New().Issue(t, t.TempDir(), "detector", "127.0.0.1")
	cert, err := credentials.NewServerTLSFromFile(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := serve(t, "127.0.0.1:0", grpc.Creds(cert),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			md, _ := metadata.FromIncomingContext(stream.Context())
			if !slices.Equal(md.Get("authorization"), []string{"Bearer good"}) {
				return status.Error(codes.Unauthenticated, "the token is not known")
			}
			return next(srv, stream)
		}))
	token := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	p := newPlant(t, map[string]any{"grpc.address": address, "grpc.insecure": false, "grpc.tls.ca": files.CA, "grpc.token": token})
	p.observe(calm)
	p.until("an unknown verdict that speaks of the token", func() bool {
		return slices.ContainsFunc(p.unknown, func(s string) bool { return strings.Contains(s, "token") })
	})
	put("good\n")
	p.complete()
}

// A detector whose health service says that it does not serve is sent nothing until it does.
func TestHealth(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	h := health.NewServer()
	h.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	healthpb.RegisterHealthServer(g, h)
	s := &served{last: make(map[string]uint64)}
	pb.RegisterAnomalyDetectionServiceServer(g, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.Serve(listener) })
	t.Cleanup(func() {
		g.Stop()
		wg.Wait()
	})
	p := newPlant(t, map[string]any{"grpc.address": listener.Addr().String()})
	p.observe(calm)
	p.until("an unknown verdict that says so", func() bool {
		return slices.ContainsFunc(p.unknown, func(s string) bool { return strings.Contains(s, "NOT_SERVING") })
	})
	s.mu.Lock()
	if len(s.infos) > 0 {
		t.Error("it was sent readings all the same")
	}
	s.mu.Unlock()
	h.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	p.complete()
}

func TestThrottled(t *testing.T) {
	st, err := status.New(codes.ResourceExhausted, "too many").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(7 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	if wait, retry := admethod.RetryAfter(throttled(st.Err())); wait != 7*time.Second || !retry {
		t.Errorf("got %v, %v", wait, retry)
	}
	for _, err := range []error{status.Error(codes.Unavailable, "x"), errors.New("x")} {
		if wait, retry := admethod.RetryAfter(throttled(err)); wait != 0 || !retry {
			t.Errorf("%v: got %v, %v", err, wait, retry)
		}
	}
}

// compressed counts messages that came with fewer bytes than they have.
type compressed struct {
	stats.Handler
	mu       sync.Mutex
	n, other int
}

func (c *compressed) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *compressed) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *compressed) HandleConn(context.Context, stats.ConnStats)                       {}
func (c *compressed) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InHeader); ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		if in.Compression == "gzip" {
			c.n++
		} else {
			c.other++
		}
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	counts := new(compressed)
	_, address, _ := serve(t, "127.0.0.1:0", grpc.StatsHandler(counts))
	p := newPlant(t, map[string]any{"grpc.address": address, "grpc.gzip": true})
	p.observe(calm)
	p.complete()
	counts.mu.Lock()
	defer counts.mu.Unlock()
	if counts.n == 0 || counts.other > 0 {
		t.Errorf("%d calls are compressed, %d are not", counts.n, counts.other)
	}
}

// All properties share one connection and one call.
func TestOneConnection(t *testing.T) {
	t.Parallel()
	s, address, _ := serve(t, "127.0.0.1:0")
	p := newPlant(t, map[string]any{"grpc.address": address})
	settings := map[string]any{
		"adMethodName": Name, "grpc.address": address, "grpc.insecure": true, "grpc.delivery": "atLeastOnce",
		"grpc.staleAfter": "500ms", "grpc.timeout": "1s", "grpc.backoff": "200ms",
	}
	c, err := admethod.ParseSettings(settings)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		k := key
		k.Property = name
		b, err := p.handler.Bind(k, c, admethod.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		b.Observe(time.Now(), float64(1_000_000+len(name)))
	}
	p.observe(calm)
	p.until("answers", func() bool { return len(p.count) >= p.next })
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.infos) != 1 {
		t.Errorf("%d calls, want 1", len(s.infos))
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package grpcmethod is the adapter to a detector that speaks gRPC. Import it for its side effect: it registers itself
// under the name "grpc".
//
// All properties with the same settings share one connection and one bidirectional stream. TLS is the default; plain
// text needs grpc.insecure: true. A detector that knows only the fields of KubeEdge's proposal answers in order and is
// taken by its status and message. Delivery, the spool on disk and the fallback are those of package remote.
package grpcmethod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Name is the adMethodName of this adapter.
const Name = "grpc"

func init() { admethod.RegisterAdapter(Factory()) }

// Config is what the mapper's configuration sets for the adapter or for one of its targets; a Device names a target.
type Config struct {
	remote.Config `param:""`
	Gzip          bool          `param:"gzip" doc:"compress what is sent"`
	Health        bool          `param:"health" doc:"send only while the detector's health service, if it has one, says that it serves"`
	Keepalive     time.Duration `param:"keepalive" min:"10s" doc:"time without traffic after which the connection is probed; servers refuse less than 5m unless told otherwise"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: remote.DefaultConfig(), Health: true, Keepalive: 5 * time.Minute}
}

// Factory describes the adapter.
func Factory() admethod.AdapterFactory {
	return remote.Kind[Config]{
		Name: Name, Summary: "sends readings to a detector over gRPC",
		Defaults:  DefaultConfig,
		Shared:    func(c *Config) *remote.Config { return &c.Config },
		Transport: newTransports,
	}.Factory()
}

// fileCredentials does each handshake with the newest files.
type fileCredentials struct {
	loader *tlsfiles.Loader
}

func (c fileCredentials) current() credentials.TransportCredentials {
	return credentials.NewTLS(c.loader.Client())
}

func (c fileCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return c.current().ClientHandshake(ctx, authority, conn)
}

func (c fileCredentials) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are credentials of a client")
}

func (c fileCredentials) Info() credentials.ProtocolInfo          { return c.current().Info() }
func (c fileCredentials) Clone() credentials.TransportCredentials { return c }
func (c fileCredentials) OverrideServerName(string) error         { return nil }

// bearer sends the newest token with each call.
type bearer struct{ token *tlsfiles.Token }

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token.Get()}, nil
}

func (b bearer) RequireTransportSecurity() bool { return true }

// transport keeps one connection.
type transport struct {
	connect func() (*grpc.ClientConn, error)
	health  bool
	id      remote.Identity

	mu   sync.Mutex
	conn *grpc.ClientConn
}

// current is the connection to use. gRPC's backoff would come on top of that of the link.
func (t *transport) current() *grpc.ClientConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn.ResetConnectBackoff()
	return t.conn
}

// Reconnect implements [remote.Reconnecter]. Without it the kernel would try the old connection for a quarter of an hour.
func (t *transport) Reconnect() {
	next, err := t.connect()
	if err != nil {
		return // it worked before, and looks at nothing new
	}
	t.mu.Lock()
	old := t.conn
	t.conn = next
	t.mu.Unlock()
	_ = old.Close()
}

func newTransport(c Config, id remote.Identity) (remote.Transport, error) {
	trouble := func(err error) { logs.Warningf("grpc: %s: %v", c.Address, err) }
	options := []grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: c.Keepalive, Timeout: c.Timeout}),
	}
	if c.Insecure {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	} else {
		loader, err := tlsfiles.New(c.TLS, trouble)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(fileCredentials{loader}))
	}
	if c.Token != "" {
		token, err := tlsfiles.NewToken(c.Token, trouble)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer{token}))
	}
	if c.Gzip {
		options = append(options, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	}
	address := c.Address
	if !strings.Contains(address, "://") && !strings.HasPrefix(address, "unix:") {
		address = "dns:///" + address
	}
	connect := func() (*grpc.ClientConn, error) { return grpc.NewClient(address, options...) }
	conn, err := connect()
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return &transport{connect: connect, conn: conn, id: id, health: c.Health}, nil
}

// Probe asks the detector's health service. A detector without one is taken to work.
func (t *transport) Probe(ctx context.Context) error {
	reply, err := healthpb.NewHealthClient(t.current()).Check(ctx, new(healthpb.HealthCheckRequest))
	switch status.Code(err) {
	case codes.Unimplemented, codes.NotFound:
		return nil
	case codes.OK:
		if reply.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			return fmt.Errorf("the detector's health service says %v", reply.GetStatus())
		}
		return nil
	}
	return throttled(err)
}

// Open begins a call of StreamDetect.
func (t *transport) Open(ctx context.Context) (remote.Session, error) {
	if t.health {
		if err := t.Probe(ctx); err != nil {
			return nil, err
		}
	}
	stream, err := pb.NewAnomalyDetectionServiceClient(t.current()).StreamDetect(ctx)
	if err != nil {
		return nil, throttled(err)
	}
	return newSession(stream, &pb.StreamInfo{Mapper: t.id.Mapper, Node: t.id.Node, StreamId: t.id.StreamID}), nil
}

func (t *transport) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conn.Close()
}

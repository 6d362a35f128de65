// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package grpcmethod is the adapter to a detector that speaks gRPC. Import it for its side effect: it registers itself
// under the name "grpc".
//
// All properties with the same settings share one connection and one bidirectional stream. TLS is the default; plain
// text needs grpc.insecure: true. A detector that knows only the fields of KubeEdge's proposal answers in order and is
// taken by its status and message.
package grpcmethod

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	_ "google.golang.org/grpc/health" // client side of the health check
	"google.golang.org/grpc/keepalive"
	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// Name is the adMethodName of this adapter.
const Name = "grpc"

func init() { admethod.RegisterAdapter(Factory()) }

// Config is what a Device, or the mapper for all of its devices, sets under the prefix "grpc.".
type Config struct {
	remote.Config `param:""`
	Gzip          bool          `param:"gzip" doc:"compress what is sent"`
	Health        bool          `param:"health" doc:"send only while the detector's health service says that it serves"`
	Keepalive     time.Duration `param:"keepalive" min:"10s" doc:"time without traffic after which the connection is probed; servers refuse less than 5m unless told otherwise"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Config: remote.DefaultConfig(), Keepalive: 5 * time.Minute}
}

// Factory describes the adapter.
func Factory() admethod.AdapterFactory {
	return remote.Kind[Config]{
		Name: Name, Summary: "sends readings to a detector over gRPC",
		Defaults:  DefaultConfig,
		Shared:    func(c *Config) *remote.Config { return &c.Config },
		Transport: newTransport,
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
	conn     *grpc.ClientConn
	streamID string
}

func newTransport(c Config) (remote.Transport, error) {
	trouble := func(err error) { klog.Warningf("grpc: %s: %v", c.Address, err) }
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
	if c.Health {
		options = append(options, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}],"healthCheckConfig":{"serviceName":""}}`))
	}
	address := c.Address
	if !strings.Contains(address, "://") && !strings.HasPrefix(address, "unix:") {
		address = "dns:///" + address
	}
	conn, err := grpc.NewClient(address, options...)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	return &transport{conn: conn, streamID: rand.Text()}, nil
}

// Open begins a call of StreamDetect.
func (t *transport) Open(ctx context.Context) (remote.Session, error) {
	// The link has its own backoff; gRPC's would come on top of it.
	t.conn.ResetConnectBackoff()
	stream, err := pb.NewAnomalyDetectionServiceClient(t.conn).StreamDetect(ctx)
	if err != nil {
		return nil, err
	}
	return newSession(stream, t.streamID), nil
}

func (t *transport) Close() error { return t.conn.Close() }

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package detectserver serves detectors over gRPC: StreamDetect of proto/anomalydetector/v1 over any registry of
// drivers. Series outlive the connections of their clients; who may send for which namespace is told by the client's
// certificate.
package detectserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"k8s.io/klog/v2"

	"github.com/kubeedge/edge-anomaly/admethod"
	_ "github.com/kubeedge/edge-anomaly/admethod/inprocess" // judges
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/tlsfiles"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	inFlight   = 256     // requests of a stream that are read and not answered
	maxStreams = 64      // at one time; their requests all fit in one queue of the adapter
	maxMessage = 1 << 20 // bytes of a request
)

// Config of a [Server].
type Config struct {
	TLS      tlsfiles.Files      // the server's certificate, and the authority of its clients: both are required
	Insecure bool                // plaintext, and anybody may send for every namespace
	Clients  map[string][]string // namespaces by name of certificate (see tlsfiles.Names); "*" is every namespace

	Drivers  *driver.Registry // nil means driver.Default
	StateDir string           // keeps what detectors learned over a restart; "" keeps nothing
	ModelDir string           // where the models are that clients name
	Defaults map[string]any   // keys of anomalyDetection for what a client leaves open

	MaxSeries int           // 0 means 10,000
	Idle      time.Duration // a series without readings is closed after it; 0 means an hour

	_ struct{} // keyed literals only: fields may be added
}

// Server answers StreamDetect. It is made by [New].
type Server struct {
	pb.UnimplementedAnomalyDetectionServiceServer
	config  Config
	handler *admethod.Handler
	grpc    *grpc.Server
	health  *health.Server
	slots   chan struct{} // one for each stream
	drain   chan struct{}
	once    sync.Once

	mu     sync.Mutex
	series map[string]*series
	logged map[codes.Code]time.Time
}

// New checks the configuration.
func New(c Config) (*Server, error) {
	s := &Server{
		series: make(map[string]*series), logged: make(map[codes.Code]time.Time),
		slots: make(chan struct{}, maxStreams), drain: make(chan struct{}), health: health.NewServer(),
	}
	if c.MaxSeries == 0 {
		c.MaxSeries = 10_000
	}
	if c.Idle == 0 {
		c.Idle = time.Hour
	}
	s.config = c
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxConcurrentStreams(maxStreams), grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
	if !c.Insecure {
		if c.TLS.CA == "" || c.TLS.Cert == "" {
			return nil, errors.New("want tls.ca, tls.cert and tls.key, or insecure: true for plaintext")
		}
		loader, err := tlsfiles.New(c.TLS, func(err error) { klog.ErrorS(err, "Detector server keeps its certificates") })
		if err != nil {
			return nil, err
		}
		config, err := loader.Server("h2")
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	var err error
	s.handler, err = admethod.NewHandler(admethod.Options{
		Drivers: c.Drivers, StateDir: c.StateDir, ModelDir: c.ModelDir,
		AdapterOptions: map[string]map[string]any{"inprocess": {"queue": 2 * inFlight * maxStreams}},
	})
	if err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(options...)
	pb.RegisterAnomalyDetectionServiceServer(s.grpc, s)
	healthpb.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	return s, nil
}

// Serve answers on the listener until ctx ends; then it answers what was read, within ten seconds, and keeps what was
// learned.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	detached := context.WithoutCancel(ctx)
	if err := s.handler.Start(detached); err != nil {
		return errors.Join(err, l.Close())
	}
	var wg sync.WaitGroup
	served, end := context.WithCancel(ctx)
	wg.Go(func() {
		sweep := time.NewTicker(s.config.Idle / 4)
		defer sweep.Stop()
		for {
			select {
			case <-served.Done():
				s.stop()
				return
			case now := <-sweep.C:
				s.expire(now)
			}
		}
	})
	err := s.grpc.Serve(l)
	end()
	wg.Wait()
	last, cancel := context.WithTimeout(detached, 10*time.Second)
	defer cancel()
	return errors.Join(err, s.handler.Shutdown(last))
}

func (s *Server) stop() {
	s.once.Do(func() { close(s.drain) })
	s.health.Shutdown()
	late := time.AfterFunc(10*time.Second, s.grpc.Stop)
	defer late.Stop()
	s.grpc.GracefulStop()
}

// allowed returns the namespaces of a client.
func (s *Server) allowed(ctx context.Context) ([]string, error) {
	if s.config.Insecure {
		return []string{"*"}, nil
	}
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil, status.Error(codes.Unauthenticated, "want a client certificate")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return nil, status.Error(codes.Unauthenticated, "want a client certificate")
	}
	var namespaces []string
	names := tlsfiles.Names(info.State.PeerCertificates[0])
	for _, name := range names {
		namespaces = append(namespaces, s.config.Clients[name]...)
	}
	if len(namespaces) == 0 {
		return nil, status.Errorf(codes.PermissionDenied, "client %q may not send for any namespace", names)
	}
	return namespaces, nil
}

func permit(namespaces []string, namespace string) error {
	if slices.Contains(namespaces, namespace) || slices.Contains(namespaces, "*") {
		return nil
	}
	return status.Errorf(codes.PermissionDenied, "the client may not send for namespace %.253q", namespace)
}

// log tells a refusal, once a minute for each cause.
func (s *Server) log(err error) {
	code, now := status.Code(err), time.Now()
	s.mu.Lock()
	told := now.Sub(s.logged[code]) < time.Minute
	if !told {
		s.logged[code] = now
	}
	s.mu.Unlock()
	if !told {
		klog.ErrorS(err, "Detector server refuses a stream", "code", fmt.Sprint(code))
	}
}

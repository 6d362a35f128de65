// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // for clients that compress
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

func (s *Server) newGRPC() *grpc.Server {
	g := grpc.NewServer(
		grpc.StreamInterceptor(shieldStream), grpc.UnaryInterceptor(shieldCall),
		grpc.Creds(guardian{s}), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxHeaderListSize(16<<10),
		grpc.MaxConcurrentStreams(uint32(s.streamsOfOne())), grpc.InTapHandle(s.tap), grpc.ConnectionTimeout(s.config.Handshake),
		// What a client has sent and the server not read is bounded by this.
		grpc.StaticStreamWindowSize(256<<10), grpc.StaticConnWindowSize(1<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	)
	pb.RegisterAnomalyDetectionServiceServer(g, s)
	s.health.SetServingStatus(pb.AnomalyDetectionService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(g, s.health)
	reflection.Register(g)
	return g
}

// shieldStream and shieldCall end a call that panics, and nothing else.
func shieldStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return internal(guard.Call("a gRPC stream", func() error { return handler(srv, stream) }))
}

func shieldCall(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (reply any, err error) {
	err = guard.Call("a gRPC call", func() (err error) {
		reply, err = handler(ctx, req)
		return err
	})
	return reply, internal(err)
}

func internal(err error) error {
	if p := (*guard.Panic)(nil); errors.As(err, &p) {
		return status.Error(codes.Internal, "the server has a defect here")
	}
	return err
}

// streamsOfOne is how many calls a connection may have: as many as any client may have streams, and some health checks.
func (s *Server) streamsOfOne() int {
	most := 0
	for _, c := range s.clients {
		most = max(most, c.Limits.Streams)
	}
	if s.anybody != nil {
		most = max(most, s.anybody.Limits.Streams)
	}
	return min(most, s.config.MaxStreams) + 16
}

// linger is for what is on its way to clients when all streams have ended.
const linger = time.Second

// serveGRPC answers on the listener until ctx ends, and closes it.
func (s *Server) serveGRPC(ctx context.Context, l net.Listener) error {
	var ending sync.WaitGroup
	ended, end := context.WithCancel(ctx)
	ending.Go(func() {
		<-ended.Done()
		s.health.Shutdown()
		s.intake.Drain()
		graceful, answered := make(chan struct{}), make(chan struct{})
		ending.Go(func() {
			s.grpc.GracefulStop()
			close(graceful)
		})
		ending.Go(func() {
			s.intake.Wait()
			close(answered)
		})
		select {
		case <-graceful:
			return
		case <-answered: // watches of the health would go on
		case <-time.After(shutdown):
		}
		select {
		case <-graceful:
		case <-time.After(linger):
		}
		s.grpc.Stop()
	})
	err := s.grpc.Serve(s.guard(l))
	end()
	ending.Wait()
	return err
}

type detectStream = grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse]

// StreamDetect answers each reading with one verdict. Readings are read as fast as they are answered.
func (s *Server) StreamDetect(stream detectStream) error {
	ctx := stream.Context()
	var state *tls.ConnectionState
	var remote net.Addr
	if p, ok := peer.FromContext(ctx); ok {
		remote = p.Addr
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			state = &info.State
		}
	}
	authorization := ""
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		authorization = values[0]
	}
	c, err := s.identify(state, authorization)
	if err != nil {
		s.refuse(nil, remote, err)
		s.pause(ctx, nil)
		return err
	}
	session, err := s.intake.Open(c.Client, inFlight)
	if err != nil {
		s.refuse(c, remote, err)
		s.pause(ctx, c)
		return err
	}
	// Receiving ends with the call at the latest, as gRPC cancels its context when this function returns; run joins it.
	sent := make(chan struct{})
	defer close(sent)
	go func() {
		session.Finish(guard.Call("a stream of readings", func() error { return s.receive(stream, session, c, remote) }))
		<-sent
		session.Close()
	}()
	if err := guard.Call("a stream of verdicts", func() error { return send(stream, session) }); err != nil {
		session.Finish(err)
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.ResourceExhausted {
			s.pause(ctx, c)
		}
		return err
	}
	return nil
}

// receive asks what comes.
func (s *Server) receive(stream detectStream, session *intake.Session, c *client, remote net.Addr) error {
	ctx := stream.Context()
	var m pb.DevicePropertyData // used again: Ask keeps nothing of it
	for {
		if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return intake.ErrAllAsked
		} else if err != nil {
			s.refuseMessage(c, remote, err)
			return err
		}
		if err := session.Ask(ctx, &m); err != nil {
			s.refuse(c, remote, err)
			return err
		}
	}
}

// send sends the answers.
func send(stream detectStream, session *intake.Session) error {
	for {
		batch, err := session.Answers(stream.Context())
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, a := range batch {
			if err := stream.SendMsg(&a.Reply.Message); err != nil {
				return err
			}
		}
		session.Done(batch) // they are encoded
	}
}

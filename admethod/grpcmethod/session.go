// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// session is one call of StreamDetect. Messages are used again: gRPC has encoded them when SendMsg returns.
type session struct {
	stream grpc.BidiStreamingClient[pb.DevicePropertyData, pb.AnomalyResponse]
	info   *pb.StreamInfo // until it is sent
	out    pb.DevicePropertyData
	in     pb.AnomalyResponse
	fill   func(*remote.Stream, *driver.Result)
}

func newSession(stream grpc.BidiStreamingClient[pb.DevicePropertyData, pb.AnomalyResponse], info *pb.StreamInfo) *session {
	s := &session{stream: stream, info: info}
	s.fill = func(of *remote.Stream, r *driver.Result) { wire.Verdict(&s.in, &of.Settings, r) }
	return s
}

func (s *session) Send(batch []remote.Request) error {
	m := &s.out
	for i := range batch {
		r := &batch[i]
		for j := range r.Row {
			wire.Reading(m, &r.Stream.Settings, r.Row, r.Number, j)
			m.Sequence, m.Attempt = r.Sequence+uint64(j), r.Attempt
			m.Stream, s.info = s.info, nil
			m.Series = nil
			// A proposal-only detector ignores it; one that knows it needs it before the members of the series.
			if r.First && j == 0 {
				m.Series = wire.Series(&r.Stream.Settings)
			}
			if err := s.stream.SendMsg(m); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
	}
	return nil
}

func (s *session) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	if err := s.stream.RecvMsg(&s.in); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the detector ended the stream")
		}
		return 0, nil, throttled(err)
	}
	return s.in.Sequence, s.fill, nil
}

// throttled is err as one that says when to come again, where the detector says that.
func throttled(err error) error {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return &admethod.ThrottledError{Wait: info.GetRetryDelay().AsDuration(), Err: err}
		}
	}
	return err
}

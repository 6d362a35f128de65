// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const maxSeriesOfStream = 4096

// member is where the readings of one property go on a stream.
type member struct {
	series *series
	info   *pb.SeriesInfo
	group  *partial // nil for a property that is scored alone
}

// partial is the row of a group that is being put together.
type partial struct {
	number uint64
	have   int
	row    driver.Row
}

type call struct {
	server     *Server
	namespaces []string
	stream     string
	members    map[driver.Key]*member
}

// StreamDetect answers each reading with one verdict, in order. Readings are read as fast as they are answered.
func (s *Server) StreamDetect(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse]) (err error) {
	defer func() {
		if c := status.Code(err); c != codes.OK && c != codes.Canceled && c != codes.Unavailable {
			s.log(err)
		}
	}()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return status.Errorf(codes.ResourceExhausted, "the server has %d streams already", maxStreams)
	}
	namespaces, err := s.allowed(stream.Context())
	if err != nil {
		return err
	}
	c := &call{server: s, namespaces: namespaces, members: make(map[driver.Key]*member)}
	waiting, ended := make(chan *slot, inFlight), make(chan error, 1)
	// Recv ends with the call at the latest, as gRPC cancels its context when this function returns.
	go func() {
		ended <- c.receive(stream, waiting)
		close(waiting)
	}()
	for {
		select {
		case <-s.drain:
			return c.finish(stream, waiting)
		case w, ok := <-waiting:
			if !ok {
				return <-ended
			}
			if err := send(stream, w); err != nil {
				return err
			}
		}
	}
}

// finish answers what was read.
func (c *call) finish(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse], waiting chan *slot) error {
	for {
		select {
		case w, ok := <-waiting:
			if ok {
				if err := send(stream, w); err != nil {
					return err
				}
				continue
			}
		default:
		}
		return status.Error(codes.Unavailable, "the detector shuts down")
	}
}

func send(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse], w *slot) error {
	select {
	case m := <-w.done:
		return stream.Send(m)
	case <-stream.Context().Done():
		return status.FromContextError(stream.Context().Err()).Err()
	}
}

func (c *call) receive(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse], waiting chan<- *slot) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		w := &slot{sequence: m.GetSequence(), done: make(chan *pb.AnomalyResponse, 1)}
		select {
		case waiting <- w:
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		}
		if err := c.take(m, w); err != nil {
			w.answer(&pb.AnomalyResponse{Status: "ok", Severity: pb.Severity_SEVERITY_UNKNOWN, Kind: string(driver.KindFailed),
				Message: status.Convert(err).Message(), Timestamp: m.GetTimestamp()})
			return err
		}
	}
}

func (c *call) take(m *pb.DevicePropertyData, w *slot) error {
	if id := m.GetStream().GetStreamId(); id != "" {
		if len(id) > 128 {
			return status.Error(codes.InvalidArgument, "stream_id: want at most 128 bytes")
		}
		c.stream = id
	}
	// A stream_id is the client's own word: it is told apart by what the client may send for.
	w.stream = c.stream
	sample, err := wire.Sample(m)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if err := permit(c.namespaces, sample.Key.Namespace); err != nil {
		return err
	}
	if info := m.GetSeries(); info != nil {
		if err := c.declare(info); err != nil {
			return err
		}
	}
	of := c.members[sample.Key]
	if of == nil {
		info := &pb.SeriesInfo{Members: []*pb.Member{{
			Namespace: sample.Key.Namespace, DeviceName: sample.Key.Device, PropertyName: sample.Key.Property,
		}}}
		if err := c.declare(info); err != nil {
			return err
		}
		of = c.members[sample.Key]
	}
	row := driver.Row{sample}
	if g := of.group; g != nil {
		if i := int(m.GetMember()); m.GetRow() == 0 || i >= len(g.row) || of.series.members[i].Key != sample.Key {
			return status.Errorf(codes.InvalidArgument, "%s: want the row, and the index of the member", sample.Key)
		}
		if m.GetRow() != g.number {
			g.number, g.have = m.GetRow(), 0
		}
		g.row[m.GetMember()] = sample
		if g.have++; g.have < len(g.row) {
			w.answer(unjudged(row, ""))
			return nil
		}
		row = g.row
		g.number, g.have = 0, 0
	}
	for !of.series.submit(w, row) { // closed in between: idle, or configured anew
		if of.series, err = c.server.open(of.info); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) declare(info *pb.SeriesInfo) error {
	for _, m := range info.GetMembers() {
		if err := permit(c.namespaces, m.GetNamespace()); err != nil {
			return err
		}
	}
	if len(c.members) >= maxSeriesOfStream {
		return status.Errorf(codes.ResourceExhausted, "the stream carries %d properties already", len(c.members))
	}
	n, err := c.server.open(info)
	if err != nil {
		return err
	}
	of := &member{series: n, info: info}
	if info.GetGroup() != "" {
		of.group = &partial{row: make(driver.Row, len(n.members))}
	}
	for i := range n.members {
		c.members[n.members[i].Key] = of
	}
	return nil
}

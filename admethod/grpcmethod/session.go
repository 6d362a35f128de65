// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package grpcmethod

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	longestMessage = 1024 // bytes of an answer's message that are kept
	mostCauses     = 16
)

// session is one call of StreamDetect. Messages are used again: gRPC has encoded them when SendMsg returns.
type session struct {
	stream grpc.BidiStreamingClient[pb.DevicePropertyData, pb.AnomalyResponse]
	info   *pb.StreamInfo // until it is sent

	out   pb.DevicePropertyData
	value float64
	text  []byte

	in   pb.AnomalyResponse
	fill func(*remote.Stream, *driver.Result)
}

func newSession(stream grpc.BidiStreamingClient[pb.DevicePropertyData, pb.AnomalyResponse], streamID string) *session {
	s := &session{stream: stream, info: &pb.StreamInfo{StreamId: streamID}}
	s.fill = func(of *remote.Stream, r *driver.Result) { fill(&s.in, of, r) }
	return s
}

func (s *session) Send(batch []remote.Request) error {
	for i := range batch {
		r := &batch[i]
		for j := range r.Row {
			s.write(r, j)
			if err := s.stream.SendMsg(&s.out); err != nil {
				return fmt.Errorf("send: %w", err)
			}
		}
	}
	return nil
}

// write makes s.out the message for the j-th sample of a row.
func (s *session) write(r *remote.Request, j int) {
	sample, m := &r.Row[j], &s.out
	m.DeviceName, m.Namespace, m.PropertyName = sample.Key.Device, sample.Key.Namespace, sample.Key.Property
	m.PropertyValue = sample.Text
	if m.PropertyValue == "" {
		s.text = strconv.AppendFloat(s.text[:0], sample.Value, 'g', -1, 64)
		m.PropertyValue = string(s.text)
	}
	s.text = sample.At.UTC().AppendFormat(s.text[:0], time.RFC3339Nano)
	m.Timestamp = string(s.text)
	m.Sequence, m.TimeUnixNano = r.Sequence+uint64(j), sample.At.UnixNano()
	s.value = sample.Value
	m.Value, m.Flags = &s.value, uint32(sample.Flags)
	m.Row, m.Member = 0, 0
	if r.Stream.Settings.Group != "" {
		m.Row, m.Member = r.Number, uint32(j)
	}
	m.Stream, s.info = s.info, nil
	m.Series = nil
	// A proposal-only detector ignores it; one that knows it needs it before the members of the series.
	if r.First && j == 0 {
		m.Series = series(r.Stream)
	}
}

// series says how to score a stream.
func series(s *remote.Stream) *pb.SeriesInfo {
	c := &s.Settings.Config
	h := fnv.New64a()
	h.Write([]byte(s.Settings.ID()))
	info := &pb.SeriesInfo{
		Group: s.Settings.Group, Detector: c.Detector, Model: c.Model, Threshold: c.Threshold, Seed: h.Sum64(),
	}
	for key, value := range c.Options["detector"] {
		if info.Parameters == nil {
			info.Parameters = make(map[string]string)
		}
		info.Parameters[key] = fmt.Sprint(value)
	}
	for i := range s.Settings.Members {
		m := &s.Settings.Members[i]
		info.Members = append(info.Members, &pb.Member{
			Namespace: m.Key.Namespace, DeviceName: m.Key.Device, PropertyName: m.Key.Property,
			DataType: m.DataType, Minimum: optional(m.Minimum), Maximum: optional(m.Maximum),
			Unit: m.Unit, CycleMs: m.Cycle.Milliseconds(), Categories: m.Categories,
		})
	}
	return info
}

func optional(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

func (s *session) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	if err := s.stream.RecvMsg(&s.in); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("the detector ended the stream")
		}
		return 0, nil, err
	}
	return s.in.Sequence, s.fill, nil
}

// fill writes an answer over a result that was reset for its row. The peer is not trusted: what is out of bounds makes
// the verdict Unknown or is left out.
func fill(in *pb.AnomalyResponse, s *remote.Stream, r *driver.Result) {
	r.Message, r.Detector, r.Model = cut(in.Message), cut(in.Detector), cut(in.Model)
	if in.Severity == pb.Severity_SEVERITY_UNSPECIFIED { // status is all there is to go by
		if in.Status == "ok" {
			r.Severity, r.Score = driver.Normal, 0
		} else {
			r.Severity, r.Score = driver.Warning, r.Threshold
			if r.Message == "" {
				r.Message = cut(in.Status)
			}
		}
		return
	}
	if in.Threshold > 0 && in.Threshold <= 1 {
		r.Threshold = in.Threshold
	}
	r.Kind = driver.Kind(cut(in.Kind))
	switch in.Severity {
	case pb.Severity_SEVERITY_UNKNOWN:
		return
	case pb.Severity_SEVERITY_NORMAL:
		r.Severity, r.Kind = driver.Normal, driver.KindNone
	case pb.Severity_SEVERITY_WARNING:
		r.Severity = driver.Warning
	case pb.Severity_SEVERITY_CRITICAL:
		r.Severity = driver.Critical
	default:
		r.Kind, r.Message = driver.KindFailed, fmt.Sprintf("the detector answers with the unknown severity %d", in.Severity)
		return
	}
	if !(in.Score >= 0 && in.Score <= 1) {
		r.Severity, r.Kind = driver.Unknown, driver.KindFailed
		r.Message = fmt.Sprintf("the detector answers with the score %v, want 0 to 1", in.Score)
		return
	}
	r.Score = in.Score
	if in.Confidence >= 0 && in.Confidence <= 1 {
		r.Confidence = in.Confidence
	}
	for _, f := range []struct {
		to   *float64
		from *float64
	}{{&r.Value, in.Value}, {&r.Expected, in.Expected}, {&r.Lower, in.Lower}, {&r.Upper, in.Upper}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if s.Settings.Group != "" {
		r.Key = blamed(in, s)
	}
	for _, c := range in.Causes[:min(len(in.Causes), mostCauses)] {
		if c.Weight >= 0 && c.Weight <= 1 {
			r.Causes = append(r.Causes, driver.Cause{
				Key:    driver.Key{Namespace: c.Namespace, Device: c.DeviceName, Property: c.PropertyName},
				Weight: c.Weight,
			})
		}
	}
}

// blamed is the key of a group's verdict: of a member or of its device, nothing else.
func blamed(in *pb.AnomalyResponse, s *remote.Stream) driver.Key {
	key := driver.Key{Namespace: in.Namespace, Device: in.DeviceName, Property: in.PropertyName}
	for i := range s.Settings.Members {
		m := s.Settings.Members[i].Key
		if key == m || key == (driver.Key{Namespace: m.Namespace, Device: m.Device}) {
			return key
		}
	}
	return s.Settings.Members[0].Key
}

func cut(s string) string { return s[:min(len(s), longestMessage)] }

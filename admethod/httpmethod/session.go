// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package httpmethod

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/remote"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

const (
	// A chunk is what Send hands over at once: whole rows, until it has one of these.
	chunkReadings = 256
	chunkBytes    = 128 << 10
	// A batch is what chunks wait, until it has one of these. A server takes several times as much.
	batchReadings = 1024
	batchBytes    = 512 << 10
)

// reading is one on its way.
type reading struct {
	of *remote.Stream
	m  *pb.DevicePropertyData
}

// chunk is a part of a batch.
type chunk struct {
	readings []reading
	bytes    int
}

// answer is what is told about a reading: a verdict, or why there is none.
type answer struct {
	sequence uint64
	m        *pb.AnomalyResponse
	cause    string
}

// session posts batches one after the other. Send gathers; Receive posts what was gathered and returns what is answered:
// a goroutine of its own would add nothing.
type session struct {
	ctx    context.Context // a session is the life of its context
	t      *transport
	chunks chan chunk
	posted chan *pb.DetectResponse // by the detector, later

	// Of Receive.
	answers []answer
	next    int
	now     answer
	fill    func(*remote.Stream, *driver.Result)
	logged  logs.Limiter
}

func newSession(ctx context.Context, t *transport) *session {
	s := &session{ctx: ctx, t: t, chunks: make(chan chunk, batchReadings/chunkReadings), posted: make(chan *pb.DetectResponse)}
	s.fill = func(of *remote.Stream, r *driver.Result) {
		if s.now.m == nil {
			r.Severity, r.Kind, r.Message = driver.Unknown, driver.KindFailed, s.now.cause
			return
		}
		wire.Verdict(s.now.m, &of.Settings, r)
	}
	return s
}

// Send hands readings to Receive, in chunks of whole rows.
func (s *session) Send(requests []remote.Request) error {
	var c chunk
	for i := range requests {
		r := &requests[i]
		for j := range r.Row {
			m := new(pb.DevicePropertyData)
			wire.Reading(m, &r.Stream.Settings, r.Row, r.Number, j)
			m.Sequence, m.Attempt = r.Sequence+uint64(j), r.Attempt
			c.readings = append(c.readings, reading{r.Stream, m})
			c.bytes += proto.Size(m)
		}
		if i+1 < len(requests) && len(c.readings) < chunkReadings && c.bytes < chunkBytes {
			continue
		}
		select {
		case s.chunks <- c:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		c = chunk{}
	}
	return nil
}

// Receive returns the next answer, and posts the next batch where there is none.
func (s *session) Receive() (uint64, func(*remote.Stream, *driver.Result), error) {
	for {
		if s.next < len(s.answers) {
			s.now = s.answers[s.next]
			s.next++
			return s.now.sequence, s.fill, nil
		}
		s.answers, s.next = s.answers[:0], 0
		select {
		case <-s.ctx.Done():
			return 0, nil, context.Cause(s.ctx)
		case m := <-s.posted:
			for _, a := range m.GetAnswers() {
				if a.GetSequence() != 0 { // there is no order to go by
					s.answers = append(s.answers, answer{sequence: a.GetSequence(), m: a})
				}
			}
		case c := <-s.chunks:
			if err := s.exchange(s.gather(c)); err != nil {
				return 0, nil, err
			}
		}
	}
}

// gather adds chunks that wait, as long as the batch is small.
func (s *session) gather(c chunk) chunk {
	for len(c.readings) < batchReadings && c.bytes < batchBytes {
		select {
		case more := <-s.chunks:
			c.readings, c.bytes = append(c.readings, more.readings...), c.bytes+more.bytes
		default:
			return c
		}
	}
	return c
}

// exchange posts a batch and keeps what is answered. An error ends the session.
func (s *session) exchange(c chunk) error {
	described := make(map[*remote.Stream]struct{})
	for i := range c.readings {
		of := c.readings[i].of
		if _, ok := described[of]; !ok {
			described[of] = struct{}{}
			c.readings[i].m.Series = wire.Series(&of.Settings)
		}
	}
	got, err := s.t.post(s.ctx, c.readings)
	if err != nil {
		if _, retry := admethod.RetryAfter(err); retry {
			return err
		}
		s.refused(c, err)
		return nil
	}
	if got.Status == http.StatusAccepted {
		if s.t.receiver == nil {
			s.refused(c, errors.New("the detector answers 202: it wants to post its verdicts later, but callback is not set"))
		}
		return nil
	}
	m, err := decodeReply(got.ContentType, got.Body)
	if err != nil {
		return fmt.Errorf("the detector's answer: %w", err)
	}
	s.answers = match(s.answers, c.readings, m.GetAnswers())
	return nil
}

// refused answers a batch with the reason for which it cannot be judged.
func (s *session) refused(c chunk, err error) {
	s.logged.Warningf("", "http: %s: a batch of %d readings is refused: %v", s.t.config.Address, len(c.readings), err)
	for i := range c.readings {
		s.answers = append(s.answers, answer{sequence: c.readings[i].m.Sequence, cause: err.Error()})
	}
}

func decodeReply(contentType string, body []byte) (*pb.DetectResponse, error) {
	format, err := batch.FormatOf(contentType)
	if err != nil {
		return nil, err
	}
	return format.DecodeResponse(body)
}

// match finds the answer to each reading: that of its sequence or, where the detector knows none, that of its place.
// Answers to what was not asked are left out.
func match(to []answer, asked []reading, got []*pb.AnomalyResponse) []answer {
	bySequence := make(map[uint64]*pb.AnomalyResponse, len(got))
	for _, a := range got {
		if a.GetSequence() != 0 {
			bySequence[a.GetSequence()] = a
		}
	}
	for i := range asked {
		sequence := asked[i].m.Sequence
		a := answer{sequence: sequence}
		switch {
		case len(bySequence) > 0:
			a.m = bySequence[sequence]
		case len(got) == len(asked):
			a.m = got[i]
		}
		if a.m == nil {
			a.cause = fmt.Sprintf("the detector answers %d readings with %d verdicts, none of them on this one", len(asked), len(got))
		}
		to = append(to, a)
	}
	return to
}

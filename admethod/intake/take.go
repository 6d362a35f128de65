// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package intake

import (
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/wire"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// retryOpening is how long a series that could not be opened is left alone.
const retryOpening = 5 * time.Second

// member is where the readings of one property go on a session.
type member struct {
	key   driver.Key
	index int // in the series
	*declared
}

// declared is a series as a session knows it.
type declared struct {
	info    *pb.SeriesInfo // nil where the client did not describe it
	fed     bool           // a source brings it
	about   *source.Property
	series  *series  // nil where it could not be opened
	err     error    // why not
	retry   int64    // when to try again, by the coarse clock
	partial *partial // of a group
}

// partial is the row of a group that a client puts together.
type partial struct {
	number uint64
	have   []bool
	row    driver.Row
}

// take hands a message to its series. A status ends the session; any other error is the answer to the reading.
func (s *Session) take(m *pb.DevicePropertyData, a *Answer) error {
	if id := m.GetStream().GetStreamId(); id != "" {
		if len(id) > longestStream {
			return fmt.Errorf("stream_id of %d bytes: want at most %d", len(id), longestStream)
		}
		if s.memory == nil {
			s.memory = s.intake.remember(s.client, id)
		}
	}
	of, err := s.find(m, a)
	if err != nil {
		return err
	}
	memory := s.memory
	if m.GetSequence() == 0 {
		memory = nil
	}
	if memory != nil && s.repeat(m, a) {
		return nil
	}
	sample, err := wire.SampleOf(m, of.key)
	if err != nil {
		return err
	}
	sample.Text = brief(sample.Text, longestText)
	if nano := sample.At.UnixNano(); a.nano == 0 {
		a.nano = nano
	} else if at, err := time.Parse(time.RFC3339Nano, a.timestamp); err != nil || at.UnixNano() != nano {
		a.timestamp = ""
	}
	how := trusted
	if of.info == nil && m.GetSequence() == 0 && m.GetFlags() == 0 { // the client knows only the proposal's fields
		how = checked
	}
	return s.judge(of, a, memory, m, &sample, m.GetPropertyValue(), how)
}

// look is how far a reading has come on the way to its detector.
type look uint8

const (
	trusted  look = iota // its client has converted and checked it
	checked              // its text may be of an enumeration, and nobody has checked it
	observed             // as its origin has it
	past                 // likewise, and nothing of it is told
)

// judge hands a reading to its series, once it is found good where nobody has looked at it. m is nil for one that came in
// no message.
func (s *Session) judge(of *member, a *Answer, memory *memory, m *pb.DevicePropertyData, sample *driver.Sample, text string, how look) (err error) {
	for range 3 {
		if err := s.reach(of, a.asked); err != nil {
			return err
		}
		n := of.series
		if n.group != "" && n.over() { // its rows are not to be filled any more
			of.series = nil
			continue
		}
		s.row[0] = *sample
		row := driver.Row(s.row[:])
		if how != trusted {
			if verdict, pass := n.check(of.index, text, how, &s.row[0]); !pass {
				own := verdict // the usual case has none, and allocates none
				a.state.Store(waiting)
				a.judged(&own)
				return nil
			}
		}
		switch {
		case len(n.group) == 0:
		case m.GetRow() != 0:
			if row, err = of.fill(m, *sample); err != nil {
				return err
			}
		default:
			if row, err = n.rows.take(of.key, s.row[0], s.wide[:0]); err != nil && !s.tells {
				return err
			}
			if row != nil {
				s.wide = row
			}
		}
		if row == nil {
			a.fail("")
			return nil
		}
		if n.submit(a, memory, row, a.asked) {
			return nil
		}
		of.series = nil // closed in between: idle, or configured anew
	}
	return fmt.Errorf("%s: the series is configured anew all the time: want one configuration from all streams", of.key)
}

// find returns where the message goes.
func (s *Session) find(m *pb.DevicePropertyData, a *Answer) (*member, error) {
	info := m.GetSeries()
	if known := s.members[a.subject]; info != nil && known != nil && proto.Equal(info, known.info) {
		info = nil // said again; the row of a group goes on
	}
	if info == nil {
		if s.of != nil && s.key == a.subject {
			return s.of, nil
		}
		if of := s.members[a.subject]; of != nil {
			s.key, s.of = a.subject, of
			return of, nil
		}
	}
	key, err := wire.Key(m)
	if err != nil {
		return nil, err
	}
	if err := s.client.Permit(key.Namespace); err != nil {
		return nil, err
	}
	if err := s.declare(info, key); err != nil {
		return nil, err
	}
	s.of = nil
	return s.members[key], nil
}

// declare notes what a series is. Its members need not be valid, only the client's own.
func (s *Session) declare(info *pb.SeriesInfo, key driver.Key) error {
	keys := []driver.Key{key}
	for _, m := range info.GetMembers() {
		if err := s.client.Permit(m.GetNamespace()); err != nil {
			return err
		}
	}
	d := &declared{info: info}
	if info != nil {
		members, err := wire.Members(info)
		if most := 4096 + 1024*len(members); err == nil && proto.Size(info) > most {
			err = fmt.Errorf("series: a description of %d bytes: want at most %d", proto.Size(info), most)
		}
		if err == nil && !slices.ContainsFunc(members, func(m driver.Member) bool { return m.Key == key }) {
			err = fmt.Errorf("series: want %s among its members", key)
		}
		if d.err = err; err == nil {
			keys = keys[:0]
			for i := range members {
				keys = append(keys, members[i].Key)
			}
		} else {
			d.info, d.retry = nil, never
		}
	}
	return s.note(d, keys)
}

// note notes where the readings of properties go.
func (s *Session) note(d *declared, keys []driver.Key) error {
	most := 2 * s.client.Limits.Series
	if len(s.members)+len(keys) > most {
		for known, of := range s.members {
			if of.series == nil { // make room: of what could not be opened there may be any number
				delete(s.members, known)
			}
		}
		if len(s.members)+len(keys) > most {
			return fmt.Errorf("%s: the stream carries %d properties already", keys[0], len(s.members))
		}
	}
	for i, k := range keys {
		s.members[k] = &member{key: k, index: i, declared: d}
	}
	return nil
}

const never = 1<<63 - 1

// reach opens the series of a member where it is not open.
func (s *Session) reach(of *member, now int64) error {
	if of.series != nil {
		return nil
	}
	if of.err != nil && now < of.retry {
		return of.err
	}
	before := of.err
	of.series, of.err = s.intake.openSeries(s, of)
	if of.err != nil {
		if code := status.Code(of.err); code != codes.Unknown {
			return of.err
		}
		of.retry = now + int64(retryOpening)
		s.intake.log.ErrorS("series "+s.client.Name, of.err, "Detector server does not score a series", "client", s.client.Name)
		if of.fed && of.about != nil && len(of.about.Detection) > 0 && (before == nil || before.Error() != of.err.Error()) {
			s.intake.handler.Reject(of.key, of.err) // its author looks where verdicts are
		}
		return of.err
	}
	n := of.series
	of.index = slices.IndexFunc(n.members, func(m driver.Member) bool { return m.Key == of.key })
	of.partial = nil
	if n.group != "" {
		of.partial = &partial{have: make([]bool, len(n.members)), row: make(driver.Row, len(n.members))}
	}
	return nil
}

// fill takes a reading of a row that the client puts together. The row is nil until it is complete.
func (of *member) fill(m *pb.DevicePropertyData, sample driver.Sample) (driver.Row, error) {
	p, i := of.partial, int(min(m.GetMember(), math.MaxInt32)) // an int may have 32 bits
	if i >= len(p.row) || of.series.members[i].Key != of.key {
		return nil, fmt.Errorf("%s: member %d: want the index of the property in the series, %d", of.key, i, of.index)
	}
	if m.GetRow() != p.number {
		p.number = m.GetRow()
		clear(p.have)
	}
	p.row[i], p.have[i] = sample, true
	if slices.Contains(p.have, false) {
		return nil, nil //nolint:nilnil // the row is not complete
	}
	p.number = 0
	return p.row, nil
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package bus

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// Subject is where verdicts on a property go: verdicts.<namespace>.<device>.<property>. What a token of a subject cannot
// have is written as in URLs, with a %; the property of a verdict on a device as a whole is a % alone.
func Subject(key driver.Key) string {
	return verdictsSubject + token(key.Namespace) + "." + token(key.Device) + "." + token(key.Property)
}

func token(name string) string {
	if name == "" {
		return "%"
	}
	special := func(c byte) bool { return c <= ' ' || c == '.' || c == '*' || c == '>' || c == '%' || c == 0x7f }
	if !slices.ContainsFunc([]byte(name), special) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; special(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// toldOf is a verdict that is to be told.
type toldOf struct {
	key  driver.Key
	data []byte
	seq  uint64 // of the message of readings that it comes of
	n    int    // among those of that message
}

// sealed makes a verdict ready; it keeps nothing of r.
func sealed(r *driver.Result) (toldOf, error) {
	data, err := json.Marshal(verdict.FromResult(r))
	return toldOf{key: r.Key, data: data}, err
}

// mark says how far a partition is told. The last one of each partition counts; whoever writes the next one must know it,
// so that an owner that was replaced tells nothing more.
type mark struct {
	Seq    uint64 `json:"seq"`    // of the message of readings up to which all verdicts are told,
	Of     uint64 `json:"of"`     // and of another one of which
	Told   int    `json:"told"`   // so many are
	Owner  string `json:"owner"`  // who says so
	Commit string `json:"commit"` // tells the marks of an owner apart
}

// muted says that a verdict was told already.
func (m *mark) muted(v *toldOf) bool {
	return v.seq <= m.Seq || v.seq == m.Of && v.n < m.Told
}

const mostVerdicts = 900 // of an atomic batch, which JetStream bounds

// errFenced says that a partition has another owner.
var errFenced = errors.New("another worker owns the partition")

// teller tells the verdicts of one partition: each batch of them is written with its mark, all or nothing.
type teller struct {
	bus     *Bus
	owner   string
	subject string // of the marks
	slots   chan struct{}
	last    mark
	at      uint64 // of the last mark in the stream; 0 where there is none
}

// claim reads the last mark and writes it anew as the owner's.
func (t *teller) claim(ctx context.Context) error {
	return patiently(ctx, func(ctx context.Context) error {
		m, at, err := t.read(ctx)
		if err != nil {
			return err
		}
		t.last, t.at = m, at
		err = t.write(ctx, nil, t.last)
		if errors.Is(err, errFenced) {
			return err // somebody wrote in between: try once more
		}
		return err
	})
}

// read reads the last mark of the partition.
func (t *teller) read(ctx context.Context) (m mark, at uint64, err error) {
	raw, err := t.bus.verdicts.GetLastMsgForSubject(ctx, t.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return m, 0, nil
	}
	if err != nil {
		return m, 0, err
	}
	if err := json.Unmarshal(raw.Data, &m); err != nil {
		return m, 0, fmt.Errorf("%s: %w", t.subject, err)
	}
	return m, raw.Sequence, nil
}

// tell writes verdicts, which are in order, and returns when they are told. upTo is the message whose verdicts are all
// among them.
func (t *teller) tell(ctx context.Context, verdicts []toldOf, upTo uint64) error {
	for len(verdicts) > 0 {
		n := min(len(verdicts), mostVerdicts)
		m := mark{Seq: upTo}
		if n < len(verdicts) { // of the last message only a part may be told
			last := &verdicts[n-1]
			m = mark{Seq: verdicts[n].seq - 1}
			if last.seq == verdicts[n].seq {
				m.Of, m.Told = last.seq, last.n+1
			}
		}
		if err := t.commit(ctx, verdicts[:n], m); err != nil {
			return err
		}
		verdicts = verdicts[n:]
	}
	return nil
}

func (t *teller) commit(ctx context.Context, verdicts []toldOf, m mark) error {
	m.Owner, m.Commit = t.owner, nuid.Next()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return patiently(ctx, func(ctx context.Context) error {
		err := t.send(ctx, verdicts, &m)
		if err == nil {
			return nil
		}
		is, at, unknown := t.read(ctx) // it may be there all the same
		switch {
		case unknown != nil:
			return errors.Join(err, unknown)
		case is.Commit == m.Commit:
			t.last, t.at = m, at
			return nil
		case at != t.at:
			return stop{fmt.Errorf("%w: %q", errFenced, is.Owner)}
		}
		return err
	})
}

// write is commit that tries once.
func (t *teller) write(ctx context.Context, verdicts []toldOf, m mark) error {
	m.Owner, m.Commit = t.owner, nuid.Next()
	return t.send(ctx, verdicts, &m)
}

// send writes verdicts and a mark as one, if the last mark is the one that t knows.
func (t *teller) send(ctx context.Context, verdicts []toldOf, m *mark) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	id := nuid.Next()
	for i := range verdicts {
		v := &verdicts[i]
		one := &nats.Msg{Subject: Subject(v.key), Data: v.data, Header: nats.Header{}}
		one.Header.Set(nats.MsgIdHdr, strings.TrimPrefix(t.subject, marksSubject)+"-"+strconv.FormatUint(v.seq, 10)+"-"+strconv.Itoa(v.n))
		one.Header.Set("Nats-Batch-Id", id)
		one.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if err := t.bus.conn.PublishMsg(one); err != nil {
			return err
		}
	}
	last := &nats.Msg{Subject: t.subject, Data: data, Header: nats.Header{}}
	last.Header.Set(nats.ExpectedLastSubjSeqHdr, strconv.FormatUint(t.at, 10))
	if len(verdicts) > 0 {
		last.Header.Set("Nats-Batch-Id", id)
		last.Header.Set("Nats-Batch-Sequence", strconv.Itoa(len(verdicts)+1))
		last.Header.Set("Nats-Batch-Commit", "1")
	}
	limited, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := t.bus.conn.RequestMsgWithContext(limited, last)
	if err != nil {
		return err
	}
	var ack struct {
		Seq   uint64              `json:"seq"`
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(reply.Data, &ack); {
	case err != nil:
		return fmt.Errorf("%s: %w", t.subject, err)
	case ack.Error != nil:
		return ack.Error
	case ack.Seq == 0:
		return fmt.Errorf("%s: an answer without a sequence", t.subject)
	}
	t.last, t.at = *m, ack.Seq
	return nil
}

// arrange numbers the verdicts that came of one message, in an order that is the same each time.
func arrange(verdicts []toldOf, seq uint64) {
	slices.SortStableFunc(verdicts, func(x, y toldOf) int {
		return cmp.Or(cmp.Compare(x.key.Namespace, y.key.Namespace), cmp.Compare(x.key.Device, y.key.Device), cmp.Compare(x.key.Property, y.key.Property))
	})
	for i := range verdicts {
		verdicts[i].seq, verdicts[i].n = seq, i
	}
}

// Reading is which verdicts are read.
type Reading struct {
	Filter string    // a subject such as verdicts.default.>; "" is all
	Since  time.Time // told since then; zero is as many as are kept
	Follow bool      // those to come as well, until ctx ends
}

// Read reads verdicts from the bus, see [ReadVerdicts].
func (b *Bus) Read(ctx context.Context, r Reading, read func(told time.Time, data []byte) error) error {
	return readVerdicts(ctx, b.js, r, read)
}

// ReadVerdicts reads verdicts from a bus that is there, in the order in which they were told. read is given the time at
// which a verdict was told, and its JSON, which is a [verdict.Verdict].
func ReadVerdicts(ctx context.Context, conn *nats.Conn, r Reading, read func(told time.Time, data []byte) error) error {
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("bus: %w", err)
	}
	return readVerdicts(ctx, js, r, read)
}

func readVerdicts(ctx context.Context, js jetstream.JetStream, r Reading, read func(told time.Time, data []byte) error) error {
	c := jetstream.OrderedConsumerConfig{FilterSubjects: []string{cmp.Or(r.Filter, verdictsSubject+">")}}
	if !r.Since.IsZero() {
		c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.Since
	}
	consumer, err := js.OrderedConsumer(ctx, VerdictsStream, c)
	if err != nil {
		return fmt.Errorf("stream %s: %w", VerdictsStream, err)
	}
	follow := r.Follow
	left := uint64(1)
	if !follow {
		info, err := consumer.Info(ctx)
		if err != nil {
			return fmt.Errorf("stream %s: %w", VerdictsStream, err)
		}
		left = info.NumPending
	}
	messages, err := consumer.Messages()
	if err != nil {
		return fmt.Errorf("stream %s: %w", VerdictsStream, err)
	}
	defer messages.Stop()
	for follow || left > 0 {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("stream %s: %w", VerdictsStream, err)
		}
		info, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := read(info.Timestamp, m.Data()); err != nil {
			return err
		}
		left = info.NumPending
	}
	return nil
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// The types of the events, and what is in them.
const (
	ReadingType = "io.kubeedge.anomalydetector.v1.reading"
	VerdictType = "io.kubeedge.anomalydetector.v1.verdict"

	// VerdictSource is the source of verdicts' events: a verdict has the ID of the reading that it is on, where that has
	// a sequence.
	VerdictSource = "/anomalydetector"

	streamExtension = "streamid" // of a verdict: DetectResponse.stream_id
)

func encodeReadings(m *pb.DetectRequest) ([]byte, error) {
	var out writer
	for i, reading := range m.GetReadings() {
		if i == 0 && m.Stream != nil && reading.Stream == nil {
			reading = proto.CloneOf(reading)
			reading.Stream = m.Stream
		}
		source := url.URL{Path: "/namespaces/" + reading.GetNamespace() + "/devices/" + reading.GetDeviceName()}
		e, err := newEvent(ReadingType, source.String(), identify(m.GetStream().GetStreamId(), reading.GetSequence()), reading)
		if err != nil {
			return nil, fmt.Errorf("reading %d: %w", i, err)
		}
		e.SetSubject(reading.GetPropertyName())
		setTime(&e, reading.GetTimeUnixNano(), reading.GetTimestamp())
		if err := out.add(&e); err != nil {
			return nil, fmt.Errorf("reading %d: %w", i, err)
		}
	}
	return out.end(), nil
}

func encodeAnswers(m *pb.DetectResponse) ([]byte, error) {
	var out writer
	for i, answer := range m.GetAnswers() {
		e, err := newEvent(VerdictType, VerdictSource, identify(m.GetStreamId(), answer.GetSequence()), answer)
		if err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
		e.SetSubject(answer.GetPropertyName())
		setTime(&e, answer.GetTimeUnixNano(), answer.GetTimestamp())
		if m.GetStreamId() != "" {
			e.SetExtension(streamExtension, m.GetStreamId())
		}
		if err := out.add(&e); err != nil {
			return nil, fmt.Errorf("answer %d: %w", i, err)
		}
	}
	return out.end(), nil
}

// writer writes a JSON array of events.
type writer struct{ bytes.Buffer }

func (w *writer) add(e *event.Event) error {
	separator := byte(',')
	if w.Len() == 0 {
		separator = '['
	}
	w.WriteByte(separator)
	return event.WriteJson(e, w)
}

func (w *writer) end() []byte {
	if w.Len() == 0 {
		w.WriteByte('[')
	}
	w.WriteByte(']')
	return w.Bytes()
}

// identify names an event. One that is sent again keeps its name, where it can be told.
func identify(stream string, sequence uint64) string {
	if stream == "" || sequence == 0 {
		return rand.Text()
	}
	return stream + "-" + strconv.FormatUint(sequence, 10)
}

func newEvent(kind, source, id string, m proto.Message) (event.Event, error) {
	data, err := protojson.Marshal(m)
	if err != nil {
		return event.Event{}, err
	}
	e := event.New(event.CloudEventsVersionV1)
	e.SetID(id)
	e.SetSource(source)
	e.SetType(kind)
	e.SetDataContentType(event.ApplicationJSON)
	e.DataEncoded = data // SetData would have it in base64
	return e, nil
}

func setTime(e *event.Event, nano int64, text string) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if nano != 0 {
		at, err = time.Unix(0, nano).UTC(), nil
	}
	if err == nil {
		e.SetTime(at)
	}
}

func decodeReadings(body []byte) (*pb.DetectRequest, error) {
	m := new(pb.DetectRequest)
	err := eachEvent(body, ReadingType, func(e *event.Event) error {
		reading := new(pb.DevicePropertyData)
		if err := decode(e.DataEncoded, reading); err != nil {
			return err
		}
		if reading.Timestamp == "" && reading.TimeUnixNano == 0 && !e.Time().IsZero() {
			reading.Timestamp = e.Time().UTC().Format(time.RFC3339Nano)
		}
		if m.Stream == nil {
			m.Stream = reading.Stream
		}
		m.Readings = append(m.Readings, reading)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

func decodeAnswers(body []byte) (*pb.DetectResponse, error) {
	m := new(pb.DetectResponse)
	err := eachEvent(body, VerdictType, func(e *event.Event) error {
		answer := new(pb.AnomalyResponse)
		if err := decode(e.DataEncoded, answer); err != nil {
			return err
		}
		if id, ok := e.Extensions()[streamExtension].(string); ok && m.StreamId == "" {
			m.StreamId = id
		}
		m.Answers = append(m.Answers, answer)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// eachEvent reads a batch of events of one type.
func eachEvent(body []byte, kind string, take func(*event.Event) error) error {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return fmt.Errorf("want a JSON array of CloudEvents: %w", err)
	}
	if raw == nil {
		return errors.New("want a JSON array of CloudEvents, got null")
	}
	for i := range raw {
		if err := one(raw[i], kind, take); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	return nil
}

func one(raw json.RawMessage, kind string, take func(*event.Event) error) error {
	var e event.Event
	if err := e.UnmarshalJSON(raw); err != nil {
		return err
	}
	if e.Context == nil {
		return errors.New("want a CloudEvent with a specversion")
	}
	if err := e.Validate(); err != nil {
		return err
	}
	switch {
	case e.SpecVersion() != event.CloudEventsVersionV1:
		return fmt.Errorf("specversion %.20q, want 1.0", e.SpecVersion())
	case e.Type() != kind:
		return fmt.Errorf("type %.100q, want %s", e.Type(), kind)
	case e.DataContentType() != "" && e.DataMediaType() != event.ApplicationJSON:
		return fmt.Errorf("datacontenttype %.100q, want %s", e.DataContentType(), event.ApplicationJSON)
	}
	return take(&e)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

var formats = []Format{JSON, CloudEvents}

// request has every field that there is, and values that JSON has no number for.
func request() *pb.DetectRequest {
	stream := &pb.StreamInfo{Mapper: "restful", Node: "edge-1", StreamId: "c0ffee"}
	return &pb.DetectRequest{Stream: stream, Readings: []*pb.DevicePropertyData{
		{
			DeviceName: "light 1", Namespace: "default", PropertyName: "power", PropertyValue: "ON",
			Timestamp: "2026-07-01T12:00:00.5Z", Sequence: math.MaxUint64, TimeUnixNano: 1782907200500000000,
			Value: proto.Float64(math.NaN()), Flags: 512, Attempt: 1, Row: 4, Member: 2, Stream: stream,
			Series: &pb.SeriesInfo{
				Group: "room", Detector: "pca", Parameters: map[string]string{"window": "60"}, Model: "room.model",
				Threshold: 0.95, Seed: math.MaxUint64,
				Members: []*pb.Member{{
					Namespace: "default", DeviceName: "light 1", PropertyName: "power", DataType: "string",
					Minimum: proto.Float64(math.Inf(-1)), Maximum: proto.Float64(1e300), Unit: "°", CycleMs: 1000,
					Categories: []string{"OFF", "ON"},
				}},
			},
		},
		{DeviceName: "d", Namespace: "n", PropertyName: "p", PropertyValue: "1", Timestamp: "2026-07-01T12:00:01Z"},
	}}
}

func response() *pb.DetectResponse {
	return &pb.DetectResponse{StreamId: "c0ffee", Answers: []*pb.AnomalyResponse{
		{
			Status: "critical", Message: "say \"why\"\n", Timestamp: "2026-07-01T12:00:00Z", Sequence: 7, TimeUnixNano: -1,
			Namespace: "default", DeviceName: "light 1", PropertyName: "power", Severity: pb.Severity_SEVERITY_CRITICAL,
			Score: 0.99, Threshold: 0.95, Confidence: 0.8, Kind: "jump", Value: proto.Float64(3),
			Expected: proto.Float64(math.NaN()), Lower: proto.Float64(math.Inf(-1)), Upper: proto.Float64(0),
			Causes:   []*pb.Cause{{Namespace: "default", DeviceName: "light 2", PropertyName: "power", Weight: 0.7}},
			Detector: "pca", Model: "room@3f2a",
		},
		{Status: "ok"},
	}}
}

func TestRoundTrip(t *testing.T) {
	for _, f := range formats {
		body, err := f.EncodeRequest(request())
		if err != nil {
			t.Fatal(f, err)
		}
		got, err := f.DecodeRequest(body)
		if diff := cmp.Diff(request(), got, protocmp.Transform(), cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", f, err, diff)
		}
		if body, err = f.EncodeResponse(response()); err != nil {
			t.Fatal(f, err)
		}
		back, err := f.DecodeResponse(body)
		if diff := cmp.Diff(response(), back, protocmp.Transform(), cmpopts.EquateNaNs()); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", f, err, diff)
		}
		for _, empty := range [][]byte{must(f.EncodeRequest(&pb.DetectRequest{})), must(f.EncodeResponse(&pb.DetectResponse{}))} {
			if m, err := f.DecodeRequest(empty); err != nil || len(m.Readings) != 0 {
				t.Errorf("%s: an empty batch is %s: %v, %v", f, empty, m, err)
			}
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// The attributes of an event say whose reading is in it, without a look at its data; what is sent again has the same id.
func TestEventAttributes(t *testing.T) {
	for range 2 {
		var events []map[string]any
		if err := json.Unmarshal(must(CloudEvents.EncodeRequest(request())), &events); err != nil {
			t.Fatal(err)
		}
		delete(events[0], "data")
		want := map[string]any{
			"specversion": "1.0", "type": ReadingType, "source": "/namespaces/default/devices/light%201", "subject": "power",
			"id": fmt.Sprint("c0ffee-", uint64(math.MaxUint64)), "time": "2026-07-01T12:00:00.5Z", "datacontenttype": "application/json",
		}
		if diff := cmp.Diff(want, events[0]); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if id, _ := events[1]["id"].(string); len(id) < 20 || strings.HasPrefix(id, "c0ffee") {
			t.Errorf("the event without a sequence has the id %q", id)
		}
	}
}

// The time of an event stands in for one that the data lacks.
func TestEventTime(t *testing.T) {
	m, err := CloudEvents.DecodeRequest([]byte(`[{"specversion":"1.0","id":"1","source":"/x","type":"` + ReadingType + `",
		"time":"2026-07-01T14:00:00.25+02:00","data":{"deviceName":"d","namespace":"n","propertyName":"p","propertyValue":"1"}}]`))
	if err != nil || m.Readings[0].Timestamp != "2026-07-01T12:00:00.25Z" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestRefusedBodies(t *testing.T) {
	event := func(set, value string) string {
		e := map[string]string{
			"specversion": `"1.0"`, "id": `"1"`, "source": `"/x"`, "type": `"` + ReadingType + `"`, "data": `{}`, set: value,
		}
		var b strings.Builder
		for k, v := range e {
			if v != "" {
				fmt.Fprintf(&b, ",%q:%s", k, v)
			}
		}
		return "[{" + b.String()[1:] + "}]"
	}
	if _, err := CloudEvents.DecodeRequest([]byte(event("subject", `"p"`))); err != nil {
		t.Fatalf("a good event: %v", err)
	}
	for body, format := range map[string]Format{
		``: JSON, `[]`: JSON, `{"readings":1}`: JSON, `{"readings":[null]}`: JSON, `{"readings":[{"sequence":-1}]}`: JSON,
		`{"readings":[{"deviceName":"a","deviceName":"b"}]}`: JSON, `{} {}`: JSON, `<html>`: JSON,
		`{}`: CloudEvents, `null`: CloudEvents, `[null]`: CloudEvents, `[{}]`: CloudEvents, `[1]`: CloudEvents, `[] []`: CloudEvents,
		event("specversion", `"0.3"`):           CloudEvents,
		event("specversion", `""`):              CloudEvents,
		event("id", ""):                         CloudEvents,
		event("source", ""):                     CloudEvents,
		event("type", `"other"`):                CloudEvents,
		event("data", ""):                       CloudEvents,
		event("data", `"text"`):                 CloudEvents,
		event("datacontenttype", `"text/xml"`):  CloudEvents,
		event("data", `{"attempt":4294967296}`): CloudEvents,
	} {
		if m, err := format.DecodeRequest([]byte(body)); err == nil {
			t.Errorf("%s: %s is read as %v", format, body, m)
		}
	}
}

// What a peer adds that this version does not know is skipped.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	if m, err := JSON.DecodeResponse([]byte(`{"later":{"x":[1]},"answers":[{"status":"ok","new":true}]}`)); err != nil || m.Answers[0].Status != "ok" {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := CloudEvents.DecodeResponse([]byte(`[{"specversion":"1.0","id":"1","source":"/x","type":"` + VerdictType +
		`","added":"1","data":{"status":"ok","new":true}}]`)); err != nil || m.Answers[0].Status != "ok" {
		t.Errorf("%v, %v", m, err)
	}
}

func TestFormatOf(t *testing.T) {
	for header, want := range map[string]Format{
		"": JSON, "application/json": JSON, "Application/JSON; charset=UTF-8": JSON,
		"application/cloudevents-batch+json": CloudEvents, CloudEvents.ContentType(): CloudEvents, JSON.ContentType(): JSON,
		"text/html": "", "application/json; charset=latin1": "", ";": "", "application/cloudevents+json": "",
	} {
		got, err := FormatOf(header)
		if got != want || errors.Is(err, ErrMediaType) != (want == "") {
			t.Errorf("%q: %q, %v", header, got, err)
		}
	}
}

func TestReadBody(t *testing.T) {
	const limit = 1000
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	for name, test := range map[string]struct {
		body     []byte
		encoding string
		want     int
		err      error
	}{
		"plain":           {text(limit), "", limit, nil},
		"too large":       {text(limit + 1), "identity", 0, ErrTooLarge},
		"gzip":            {must(Compress(text(limit))), "gzip", limit, nil},
		"bomb":            {must(Compress(text(100 * limit))), "GZIP", 0, ErrTooLarge},
		"large gzip":      {append(must(Compress(nil)), text(2*limit)...), "gzip", 0, nil},
		"no gzip":         {text(10), "gzip", 0, nil},
		"truncated":       {must(Compress(text(limit)))[:20], "gzip", 0, nil},
		"unknown":         {text(1), "br", 0, ErrMediaType},
		"empty, unlisted": {nil, "", 0, nil},
	} {
		got, err := ReadBody(bytes.NewReader(test.body), test.encoding, limit)
		if test.want == limit || len(test.body) == 0 {
			if err != nil || len(got) != test.want {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		} else if err == nil || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: %d bytes, %v, want %v", name, len(got), err, test.err)
		}
	}
}

// A small body must not take much memory; text may hold what it likes.
func TestManyValues(t *testing.T) {
	many := func(s string) string { return strings.Repeat(s+",", mostValues) + s }
	for name, body := range map[string]string{
		"readings":   `{"readings":[` + many(`{}`) + `]}`,
		"categories": `{"readings":[{"series":{"members":[{"categories":[` + many(`""`) + `]}]}}]}`,
		"nested":     strings.Repeat("[", mostValues+1),
		"unknown":    `{"x":[` + many("1") + `]}`,
	} {
		for _, f := range formats {
			if _, err := f.DecodeRequest([]byte(body)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", f, name, err)
			}
			if _, err := f.DecodeResponse([]byte(body)); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s, %s: %v", f, name, err)
			}
		}
	}
	text := `\"{[` + strings.Repeat(",", 2*mostValues)
	if m, err := JSON.DecodeRequest([]byte(`{"readings":[{"propertyValue":"` + text + `"}]}`)); err != nil || len(m.Readings[0].PropertyValue) < mostValues {
		t.Error(err)
	}
}

// Whatever is posted is a batch or an error, and a batch can be written again.
func FuzzDecodeRequest(f *testing.F) {
	for _, format := range formats {
		f.Add(format == JSON, must(format.EncodeRequest(request())))
	}
	f.Add(false, []byte(`[{"specversion":"1.0","id":"1","source":"/x","type":"t","data_base64":"e30="}]`))
	f.Fuzz(func(t *testing.T, json bool, body []byte) {
		format := CloudEvents
		if json {
			format = JSON
		}
		m, err := format.DecodeRequest(body)
		if err != nil {
			return
		}
		for _, r := range m.Readings {
			if r == nil {
				t.Fatal("a reading is nil")
			}
		}
		again, err := format.EncodeRequest(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := format.DecodeRequest(again); err != nil || len(back.Readings) != len(m.Readings) {
			t.Fatalf("%s becomes %s: %v", body, again, err)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	for _, format := range formats {
		f.Add(format == JSON, must(format.EncodeResponse(response())))
	}
	f.Fuzz(func(t *testing.T, json bool, body []byte) {
		format := CloudEvents
		if json {
			format = JSON
		}
		m, err := format.DecodeResponse(body)
		if err != nil {
			return
		}
		again, err := format.EncodeResponse(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := format.DecodeResponse(again); err != nil || len(back.Answers) != len(m.Answers) {
			t.Fatalf("%s becomes %s: %v", body, again, err)
		}
	})
}

func FuzzReadBody(f *testing.F) {
	f.Add(must(Compress([]byte("{}"))), "gzip")
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		const limit = 4096
		if got, err := ReadBody(bytes.NewReader(body), encoding, limit); err == nil && len(got) > limit {
			t.Errorf("%d bytes", len(got))
		}
		_, _ = FormatOf(encoding)
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package anomalydetectorv1_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"

	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// stringFields encodes its arguments as the string fields 1, 2, 3 … of a
// message, by hand and in order: what any implementation of the proposal sends.
func stringFields(values ...string) []byte {
	var b []byte
	for i, v := range values {
		b = protowire.AppendTag(b, protowire.Number(i+1), protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return b
}

var (
	originalRequest = &pb.DevicePropertyData{
		DeviceName:    "brightness-sensor-1",
		Namespace:     "default",
		PropertyName:  "brightness",
		PropertyValue: "3",
		Timestamp:     "2026-07-01T12:00:00Z",
	}
	originalRequestWire = stringFields("brightness-sensor-1", "default", "brightness", "3", "2026-07-01T12:00:00Z")

	originalResponse     = &pb.AnomalyResponse{Status: "ok", Message: "within limits", Timestamp: "2026-07-01T12:00:00Z"}
	originalResponseWire = stringFields("ok", "within limits", "2026-07-01T12:00:00Z")

	fullRequest = &pb.DevicePropertyData{
		DeviceName: "brightness-sensor-1", Namespace: "default", PropertyName: "brightness",
		PropertyValue: "3", Timestamp: "2026-07-01T12:00:00Z",
		Sequence: 7, TimeUnixNano: 1782907200000000000, Value: proto.Float64(3),
		Flags:   uint32(pb.SampleFlag_SAMPLE_FLAG_LATE | pb.SampleFlag_SAMPLE_FLAG_GAP),
		Attempt: 1, Row: 4, Member: 2,
		Stream: &pb.StreamInfo{Mapper: "restful", Node: "edge-1", StreamId: "c0ffee"},
		Series: &pb.SeriesInfo{
			Group: "room-1",
			Members: []*pb.Member{
				{Namespace: "default", DeviceName: "light-1", PropertyName: "powerstatus", DataType: "string", Categories: []string{"OFF", "ON"}},
				{Namespace: "default", DeviceName: "light-2", PropertyName: "powerstatus", DataType: "string", Categories: []string{"OFF", "ON"}},
				{
					Namespace: "default", DeviceName: "brightness-sensor-1", PropertyName: "brightness", DataType: "int",
					Minimum: proto.Float64(0), Maximum: proto.Float64(3), Unit: "level", CycleMs: 1000,
				},
			},
			Detector: "pca", Parameters: map[string]string{"window": "60"},
			Model: "room.model", Threshold: 0.95, Seed: 1,
		},
	}
	fullResponse = &pb.AnomalyResponse{
		Status: "critical", Message: "brightness 3, expected 1", Timestamp: "2026-07-01T12:00:00Z",
		Sequence: 7, TimeUnixNano: 1782907200000000000,
		Namespace: "default", DeviceName: "brightness-sensor-1", PropertyName: "brightness",
		Severity: pb.Severity_SEVERITY_CRITICAL, Score: 0.99, Threshold: 0.95, Confidence: 0.8,
		Kind: "correlation", Value: proto.Float64(3), Expected: proto.Float64(1),
		Lower: proto.Float64(0.5), Upper: proto.Float64(1.5),
		Causes:   []*pb.Cause{{Namespace: "default", DeviceName: "light-2", PropertyName: "powerstatus", Weight: 0.7}},
		Detector: "pca", Model: "room@3f2a", Onset: proto.Float64(0), Ongoing: true, Accepted: true,
		Incident: &pb.Incident{
			Id: "00000000c0ffee00", Phase: pb.IncidentPhase_INCIDENT_PHASE_LASTS, StartUnixNano: 1782907100000000000,
			Severity: pb.Severity_SEVERITY_CRITICAL, Score: 1, Kind: "correlation",
			Cause: &pb.Cause{Namespace: "default", DeviceName: "light-2", PropertyName: "powerstatus", Weight: 1},
		},
	}
)

// A message with the proposal's fields alone is, byte for byte, what a peer
// that knows no others writes.
func TestOriginalFieldsOnTheWire(t *testing.T) {
	for _, tt := range []struct {
		message proto.Message
		wire    []byte
	}{
		{originalRequest, originalRequestWire},
		{originalResponse, originalResponseWire},
		{&pb.DevicePropertyData{}, nil},
		{&pb.AnomalyResponse{}, nil},
	} {
		name := tt.message.ProtoReflect().Descriptor().Name()
		encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(tt.message)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.wire, encoded, cmp.Transformer("hex", func(b []byte) string { return fmt.Sprintf("%x", b) })); diff != "" {
			t.Errorf("%s: encoding (-by hand +ours):\n%s", name, diff)
		}
		decoded := tt.message.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(tt.wire, decoded); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.message, decoded, protocmp.Transform()); diff != "" {
			t.Errorf("%s: decoding of hand-made bytes (-want +got):\n%s", name, diff)
		}
	}
}

// A peer that knows only the proposal's fields finds them in a message that
// carries all of ours too, and can skip the rest.
func TestAddedFieldsAreSkipped(t *testing.T) {
	for _, tt := range []struct {
		message  proto.Message
		original map[protowire.Number]string
	}{
		{fullRequest, map[protowire.Number]string{1: "brightness-sensor-1", 2: "default", 3: "brightness", 4: "3", 5: "2026-07-01T12:00:00Z"}},
		{fullResponse, map[protowire.Number]string{1: "critical", 2: "brightness 3, expected 1", 3: "2026-07-01T12:00:00Z"}},
	} {
		name := tt.message.ProtoReflect().Descriptor().Name()
		b, err := proto.Marshal(tt.message)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[protowire.Number]string)
		for len(b) > 0 {
			number, kind, n := protowire.ConsumeTag(b)
			if n < 0 {
				t.Fatalf("%s: tag: %v", name, protowire.ParseError(n))
			}
			b = b[n:]
			if number < 10 {
				value, n := protowire.ConsumeString(b)
				if kind != protowire.BytesType || n < 0 {
					t.Fatalf("%s: field %d: wire type %d, want a string", name, number, kind)
				}
				got[number], b = value, b[n:]
				continue
			}
			n = protowire.ConsumeFieldValue(number, kind, b)
			if n < 0 {
				t.Fatalf("%s: field %d: %v", name, number, protowire.ParseError(n))
			}
			b = b[n:]
		}
		if diff := cmp.Diff(tt.original, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, message := range []proto.Message{fullRequest, fullResponse} {
		name := message.ProtoReflect().Descriptor().Name()
		// Guards the fixtures: what they leave out is not tested.
		fields := message.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if !message.ProtoReflect().Has(fields.Get(i)) {
				t.Errorf("%s.%s is not set in the test's message", name, fields.Get(i).Name())
			}
		}
		b, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		decoded := message.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(b, decoded); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(message, decoded, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// An absent value and a value of zero differ, and NaN survives.
func TestOptionalNumbers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value *float64
	}{
		{"absent", nil},
		{"zero", proto.Float64(0)},
		{"NaN", proto.Float64(math.NaN())},
	} {
		b, err := proto.Marshal(&pb.DevicePropertyData{Value: tt.value})
		if err != nil {
			t.Fatal(err)
		}
		var got pb.DevicePropertyData
		if err := proto.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if (got.Value == nil) != (tt.value == nil) || math.IsNaN(got.GetValue()) != (tt.name == "NaN") {
			t.Errorf("%s: got %v", tt.name, got.Value)
		}
	}
}

// TestDescriptor pins what other implementations rely on: names, numbers and
// types. A line may be added here, never changed.
func TestDescriptor(t *testing.T) {
	want := map[string][]string{
		"DevicePropertyData": {
			"1 string device_name", "2 string namespace", "3 string property_name", "4 string property_value", "5 string timestamp",
			"10 uint64 sequence", "11 sfixed64 time_unix_nano", "12 optional double value", "13 uint32 flags",
			"14 uint32 attempt", "15 uint64 row", "16 uint32 member", "20 StreamInfo stream", "21 SeriesInfo series",
		},
		"StreamInfo": {"1 string mapper", "2 string node", "3 string stream_id"},
		"SeriesInfo": {
			"1 string group", "2 repeated Member members", "3 string detector", "4 map<string,string> parameters",
			"5 string model", "6 double threshold", "7 uint64 seed", "8 string accept", "9 string language",
		},
		"Member": {
			"1 string namespace", "2 string device_name", "3 string property_name", "4 string data_type",
			"5 optional double minimum", "6 optional double maximum", "7 string unit", "8 int64 cycle_ms", "9 repeated string categories",
		},
		"AnomalyResponse": {
			"1 string status", "2 string message", "3 string timestamp",
			"10 uint64 sequence", "11 sfixed64 time_unix_nano", "12 string namespace", "13 string device_name", "14 string property_name",
			"15 Severity severity", "16 double score", "17 double threshold", "18 double confidence", "19 string kind",
			"20 optional double value", "21 optional double expected", "22 optional double lower", "23 optional double upper",
			"24 repeated Cause causes", "25 string detector", "26 string model",
			"27 optional double onset", "28 bool ongoing", "29 bool accepted", "30 Incident incident",
		},
		"Incident": {
			"1 string id", "2 IncidentPhase phase", "3 sfixed64 start_unix_nano", "4 sfixed64 end_unix_nano", "5 Severity severity",
			"6 double score", "7 string kind", "8 Cause cause",
		},
		"IncidentPhase": {
			"0 INCIDENT_PHASE_UNSPECIFIED", "1 INCIDENT_PHASE_BEGAN", "2 INCIDENT_PHASE_LASTS", "3 INCIDENT_PHASE_RETURNED",
			"4 INCIDENT_PHASE_NEW_NORMAL", "5 INCIDENT_PHASE_ABANDONED",
		},
		"DetectRequest":  {"1 StreamInfo stream", "2 repeated DevicePropertyData readings"},
		"DetectResponse": {"1 repeated AnomalyResponse answers", "2 string stream_id"},

		"Cause": {"1 string namespace", "2 string device_name", "3 string property_name", "4 double weight"},
		"Severity": {
			"0 SEVERITY_UNSPECIFIED", "1 SEVERITY_UNKNOWN", "2 SEVERITY_NORMAL", "3 SEVERITY_WARNING", "4 SEVERITY_CRITICAL",
		},
		"SampleFlag": {
			"0 SAMPLE_FLAG_NONE", "1 SAMPLE_FLAG_LATE", "2 SAMPLE_FLAG_DUPLICATE", "4 SAMPLE_FLAG_OUT_OF_ORDER",
			"8 SAMPLE_FLAG_GAP", "16 SAMPLE_FLAG_NOT_A_NUMBER", "32 SAMPLE_FLAG_UNPARSABLE", "64 SAMPLE_FLAG_STUCK_CLOCK",
			"128 SAMPLE_FLAG_HELD", "256 SAMPLE_FLAG_STALE", "512 SAMPLE_FLAG_UNSEEN",
		},
		"AnomalyDetectionService": {
			"/kubeedge.anomalydetector.v1.AnomalyDetectionService/StreamDetect (stream DevicePropertyData) returns (stream AnomalyResponse)",
		},
	}

	file := pb.File_anomalydetector_v1_anomalydetector_proto
	got := make(map[string][]string)
	for i := range file.Messages().Len() {
		message := file.Messages().Get(i)
		for j := range message.Fields().Len() {
			field := message.Fields().Get(j)
			got[string(message.Name())] = append(got[string(message.Name())], fmt.Sprintf("%d %s %s", field.Number(), fieldType(field), field.Name()))
		}
	}
	for i := range file.Enums().Len() {
		enum := file.Enums().Get(i)
		for j := range enum.Values().Len() {
			value := enum.Values().Get(j)
			got[string(enum.Name())] = append(got[string(enum.Name())], fmt.Sprintf("%d %s", value.Number(), value.Name()))
		}
	}
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		for j := range service.Methods().Len() {
			method := service.Methods().Get(j)
			if !method.IsStreamingClient() || !method.IsStreamingServer() {
				t.Errorf("%s is not bidirectional", method.Name())
			}
			got[string(service.Name())] = append(got[string(service.Name())],
				fmt.Sprintf("/%s/%s (stream %s) returns (stream %s)", service.FullName(), method.Name(), method.Input().Name(), method.Output().Name()))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("descriptor (-want +got):\n%s", diff)
	}
}

// fieldType renders a field's type as the .proto file does.
func fieldType(field protoreflect.FieldDescriptor) string {
	name := field.Kind().String()
	switch {
	case field.IsMap():
		return fmt.Sprintf("map<%s,%s>", field.MapKey().Kind(), field.MapValue().Kind())
	case field.Message() != nil:
		name = string(field.Message().Name())
	case field.Enum() != nil:
		name = string(field.Enum().Name())
	}
	switch {
	case field.IsList():
		return "repeated " + name
	case field.HasOptionalKeyword():
		return "optional " + name
	}
	return name
}

// echo is a detector that knows only the proposal's fields.
type echo struct {
	pb.UnimplementedAnomalyDetectionServiceServer
}

func (echo) StreamDetect(stream grpc.BidiStreamingServer[pb.DevicePropertyData, pb.AnomalyResponse]) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = stream.Send(&pb.AnomalyResponse{
			Status:    "ok",
			Message:   request.GetDeviceName() + "/" + request.GetPropertyName() + " = " + request.GetPropertyValue(),
			Timestamp: request.GetTimestamp(),
		})
		if err != nil {
			return err
		}
	}
}

func TestStreamDetect(t *testing.T) {
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	pb.RegisterAnomalyDetectionServiceServer(server, echo{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Errorf("server: %v", err)
		}
	})

	connection, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()

	stream, err := pb.NewAnomalyDetectionServiceClient(connection).StreamDetect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		at := start.Add(time.Duration(i) * time.Second)
		err := stream.Send(&pb.DevicePropertyData{
			DeviceName: "light-1", Namespace: "default", PropertyName: "powerstatus", PropertyValue: fmt.Sprint(i % 2),
			Timestamp: at.Format(time.RFC3339Nano), Sequence: uint64(i + 1), TimeUnixNano: at.UnixNano(),
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		want := &pb.AnomalyResponse{
			Status:    "ok",
			Message:   fmt.Sprintf("light-1/powerstatus = %d", i%2),
			Timestamp: at.Format(time.RFC3339Nano),
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("answer %d (-want +got):\n%s", i+1, diff)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after CloseSend: %v, want EOF", err)
	}
}

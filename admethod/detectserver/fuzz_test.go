// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package detectserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/intake"
	"github.com/kubeedge/edge-anomaly/admethod/wire/batch"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

// messages cuts data into messages, each behind its length.
func messages(data []byte) []*pb.DevicePropertyData {
	var out []*pb.DevicePropertyData
	for len(data) >= 2 && len(out) < 32 {
		n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
		m := new(pb.DevicePropertyData)
		if proto.Unmarshal(data[2:2+n], m) == nil { // gRPC refuses what does not parse
			out = append(out, m)
		}
		data = data[2+n:]
	}
	return out
}

// Whatever comes, each message gets exactly one answer that can be sent, or the session ends with a status.
func FuzzAsk(f *testing.F) {
	seed := func(of ...*pb.DevicePropertyData) {
		var data []byte
		for _, m := range of {
			encoded, err := proto.Marshal(m)
			if err != nil {
				f.Fatal(err)
			}
			data = binary.BigEndian.AppendUint16(data, uint16(len(encoded)))
			data = append(data, encoded...)
		}
		f.Add(data)
	}
	group := reading(0, "1")
	group.Series = &pb.SeriesInfo{Group: "g", Detector: "pca", Parameters: map[string]string{"window": "60"}, Members: []*pb.Member{
		{Namespace: "default", DeviceName: "lamp", PropertyName: "light", DataType: "double", Minimum: proto.Float64(0), CycleMs: 1000},
		{Namespace: "default", DeviceName: "lamp", PropertyName: "power", Categories: []string{"a", "b"}},
	}}
	numbered := proto.CloneOf(group)
	numbered.Row, numbered.Member, numbered.Sequence, numbered.Attempt = 1, 1, 7, 1
	numbered.Stream = &pb.StreamInfo{StreamId: "run"}
	foreign := reading(0, "1")
	foreign.Namespace = "rogue"
	bare := &pb.DevicePropertyData{}
	seed(reading(0, "20"), reading(1, "garbage"), reading(2, "NaN"), reading(3, "on"))
	seed(group, reading(1, "2"), numbered, numbered)
	seed(described(of("p", 0, 1), "ewma"), described(of("p", 1, 1), "auto"), of("p", 1, 1), bare)
	seed(foreign)
	f.Add([]byte{0, 200, 1})

	s := running(f, Config{
		Insecure: true, Anonymous: []string{"default", "n"}, Limits: Limits{Rate: -1}, Config: intake.Config{
			MaxSeries: 64, Idle: time.Second, Deadline: 20 * time.Second, Routes: []Route{{Property: "r*", Settings: map[string]any{"group": "room"}}},
		},
	})
	f.Fuzz(func(t *testing.T, data []byte) {
		session, err := s.intake.Open(s.anybody.Client, 64)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		asked, end := 0, intake.ErrAllAsked
		for _, m := range messages(data) {
			asked++
			if err := session.Ask(t.Context(), m); err != nil {
				if code := status.Code(err); code != codes.PermissionDenied {
					t.Errorf("the session ends with %v", err)
				}
				end = err
				break
			}
		}
		session.Finish(end)
		got := 0
		for {
			batch, err := session.Answers(t.Context())
			if errors.Is(err, io.EOF) || err != nil && errors.Is(err, end) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range batch {
				got++
				if _, err := proto.Marshal(&a.Reply.Message); err != nil {
					t.Error(err)
				}
			}
			session.Done(batch)
		}
		if got != asked {
			t.Errorf("%d answers to %d messages", got, asked)
		}
	})
}

// Whatever a client posts is answered with a status.
func FuzzBatch(f *testing.F) {
	address, _ := serveBatches(f, Config{Insecure: true, Limits: Limits{Rate: -1}, Config: intake.Config{Defaults: ewma, MaxSeries: 100}})
	c := httpClient(f, nil)
	for _, format := range []batch.Format{batch.JSON, batch.CloudEvents} {
		r := reading(0, "1")
		r.Sequence, r.Stream = 1, &pb.StreamInfo{StreamId: "a"}
		r.Series = &pb.SeriesInfo{Detector: "ewma", Threshold: 0.9, Members: []*pb.Member{
			{Namespace: "default", DeviceName: "lamp", PropertyName: "light", Minimum: proto.Float64(0)},
		}}
		f.Add(format.ContentType(), mustEncode(f, format, &pb.DetectRequest{Readings: []*pb.DevicePropertyData{r}}))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+batch.Path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := c.Do(req)
		if err != nil {
			t.Skip(err) // no header that can be sent
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("%s: %s, %v", resp.Status, got, err)
		}
	})
}

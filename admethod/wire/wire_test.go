// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

func TestSample(t *testing.T) {
	for text, want := range map[string]struct {
		value float64
		flags driver.Flags
	}{
		"21.5": {21.5, 0}, " ON ": {1, 0}, "false": {0, 0}, "warm": {math.NaN(), driver.Unparsable}, "NaN": {math.NaN(), driver.NotANumber},
	} {
		s, err := sample(&pb.DevicePropertyData{Namespace: "n", DeviceName: "d", PropertyName: "p", PropertyValue: text, Timestamp: "2024-05-01T10:00:00.5Z"})
		same := s.Value == want.value || math.IsNaN(s.Value) && math.IsNaN(want.value)
		if err != nil || !same || s.Flags != want.flags || s.At.Nanosecond() != 500_000_000 {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func TestAnswerSpeaksTheProposal(t *testing.T) {
	for severity, want := range map[driver.Severity]string{
		driver.Unknown: "ok", driver.Normal: "ok", driver.Warning: "warning", driver.Critical: "critical",
	} {
		r := driver.Result{At: time.Unix(1, 0), Severity: severity, Score: math.NaN(), Message: "why\xff"}
		m := Answer(&r)
		if _, err := proto.Marshal(m); err != nil || m.Status != want || m.Score != 0 || m.Timestamp != "1970-01-01T00:00:01Z" {
			t.Errorf("%v: %v, %v", severity, m, err)
		}
	}
}

// Whatever a client sends is a value or an error.
func FuzzRequest(f *testing.F) {
	lowest := -1.0
	seed, err := proto.Marshal(&pb.DevicePropertyData{
		Namespace: "n", DeviceName: "d", PropertyName: "p", PropertyValue: "1", Timestamp: "2024-05-01T10:00:00Z",
		Series: &pb.SeriesInfo{
			Detector: "ewma", Threshold: 0.9, Parameters: map[string]string{"window": "60"},
			Members: []*pb.Member{{Namespace: "n", DeviceName: "d", PropertyName: "p", Minimum: &lowest, CycleMs: math.MaxInt64}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m pb.DevicePropertyData
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		if s, err := sample(&m); err == nil && (s.Key.Namespace == "" || s.Key.Device == "" || s.Key.Property == "") {
			t.Errorf("key %q", s.Key)
		}
		members, err := Members(m.GetSeries())
		if err == nil && (len(members) == 0 || members[0].Cycle < 0) {
			t.Errorf("members %+v", members)
		}
		_, _ = Config(m.GetSeries(), nil)
	})
}

// sample reads a message as a server does.
func sample(m *pb.DevicePropertyData) (driver.Sample, error) {
	k, err := Key(m)
	if err != nil {
		return driver.Sample{Key: k}, err
	}
	return SampleOf(m, k)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	pb "github.com/kubeedge/edge-anomaly/proto/anomalydetector/v1"
)

func settings(group string) *admethod.StreamSettings {
	s := &admethod.StreamSettings{Group: group, Config: admethod.DefaultConfig()}
	for _, property := range []string{"light", "power"} {
		s.Members = append(s.Members, driver.Member{
			Key: driver.Key{Namespace: "default", Device: "lamp", Property: property}, Minimum: math.NaN(), Maximum: 3, Cycle: time.Second,
		})
	}
	return s
}

// A verdict survives the way from the detector's side to the mapper's.
func TestAnswerBecomesTheVerdict(t *testing.T) {
	s := settings("room")
	want := driver.Result{
		Key: s.Members[1].Key, At: time.Unix(1, 5), Severity: driver.Critical, Score: 0.99, Threshold: 0.9, Confidence: 0.5,
		Kind: driver.KindJump, Value: 1, Expected: 2, Lower: math.NaN(), Upper: 3, Detector: "d", Model: "m", Message: "why",
		Causes: []driver.Cause{{Key: s.Members[0].Key, Weight: 0.75}},
		Onset:  0, Ongoing: true, Accepted: true,
		Incident: driver.Incident{ID: 7, Phase: driver.Lasts, Start: time.Unix(0, 9), Severity: driver.Critical, Score: math.NaN(), Cause: s.Members[0].Key},
	}
	var got driver.Result
	got.Reset(driver.Row{{Key: s.Members[0].Key, At: want.At, Value: 7}, {Key: s.Members[1].Key, At: want.At}})
	answer := Answer(&want)
	Verdict(answer, s, &got)
	if i := answer.Incident; i.Id != "0000000000000007" || i.StartUnixNano != 9 || i.EndUnixNano != 0 || i.Cause.GetPropertyName() != "light" {
		t.Errorf("the incident is told as %v", i)
	}
	if got.Incident.ID != 0 || got.Onset != 0 || !got.Ongoing || !got.Accepted {
		t.Errorf("onset %v, ongoing %t, accepted %t, incident %+v, which is the mapper's to tell", got.Onset, got.Ongoing, got.Accepted, got.Incident)
	}
	if got.Key != want.Key || got.At != want.At || got.Severity != want.Severity || got.Score != want.Score || got.Threshold != want.Threshold ||
		got.Confidence != want.Confidence || got.Kind != want.Kind || got.Value != 1 || got.Expected != 2 || !math.IsNaN(got.Lower) ||
		got.Upper != 3 || got.Detector != "d" || got.Model != "m" || got.Message != "why" || len(got.Causes) != 1 || got.Causes[0] != want.Causes[0] {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A reading is said in the proposal's fields too, and text that no message can carry is mended.
func TestReading(t *testing.T) {
	s := settings("room")
	at := time.Date(2026, 7, 1, 14, 0, 0, 5, time.FixedZone("", 2*3600))
	m := &pb.DevicePropertyData{Row: 9, Member: 9}
	Reading(m, s, driver.Row{{}, {Key: s.Members[1].Key, At: at, Value: 21.5, Flags: driver.Late}}, 4, 1)
	want := &pb.DevicePropertyData{
		Namespace: "default", DeviceName: "lamp", PropertyName: "power", PropertyValue: "21.5", Timestamp: "2026-07-01T12:00:00.000000005Z",
		TimeUnixNano: at.UnixNano(), Value: proto.Float64(21.5), Flags: uint32(driver.Late), Row: 4, Member: 1,
	}
	if !proto.Equal(m, want) {
		t.Errorf("got %v, want %v", m, want)
	}
	Reading(m, settings(""), driver.Row{{Key: s.Members[0].Key, At: at, Value: math.NaN(), Text: "a\xffb"}}, 4, 0)
	if m.PropertyValue != "a\uFFFDb" || m.Row != 0 || m.Member != 0 {
		t.Errorf("got %v", m)
	}
	if _, err := proto.Marshal(m); err != nil {
		t.Error(err)
	}
}

// What a series says is understood by the other side.
func TestSeriesAndMembers(t *testing.T) {
	s := settings("default/room")
	s.Config.Detector, s.Config.Threshold = "pca", 0.9
	s.Config.Accept, s.Config.Language = admethod.Acceptance(driver.NeverAccept), driver.Chinese
	s.Config.Options = map[string]map[string]any{"detector": {"window": 60}}
	info := Series(s)
	members, err := Members(info)
	if err != nil || len(members) != 2 || members[1].Key != s.Members[1].Key || !math.IsNaN(members[0].Minimum) || members[0].Maximum != 3 || members[0].Cycle != time.Second {
		t.Errorf("%+v, %v", members, err)
	}
	c, err := Config(info, nil)
	if c.Accept != s.Config.Accept || c.Language != s.Config.Language {
		t.Errorf("accept %v, language %q", c.Accept, c.Language)
	}
	if err != nil || c.Detector != "pca" || c.Threshold != 0.9 || c.Options["detector"]["window"] != "60" {
		t.Errorf("%+v, %v", c, err)
	}
}

// Whatever a detector answers, the verdict is within its bounds and of the mapper's own property.
func FuzzVerdict(f *testing.F) {
	for _, m := range []*pb.AnomalyResponse{
		{Status: "ok"}, {Status: "bad", Message: strings.Repeat("ü", 2000)},
		{Severity: pb.Severity_SEVERITY_CRITICAL, Score: math.Inf(1), Value: proto.Float64(math.Inf(1))},
		{Severity: 77}, {Severity: pb.Severity_SEVERITY_NORMAL, Score: 0.1, Causes: []*pb.Cause{{Weight: math.NaN()}}, DeviceName: "lamp", Namespace: "default"},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	s := settings("room")
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m pb.AnomalyResponse
		if proto.Unmarshal(raw, &m) != nil {
			return
		}
		var r driver.Result
		r.Reset(driver.Row{{Key: s.Members[0].Key, At: time.Unix(1, 0), Value: 1}, {Key: s.Members[1].Key, At: time.Unix(1, 0)}})
		r.Threshold = 0.95
		Verdict(&m, s, &r)
		judged := r.Severity != driver.Unknown
		switch {
		case judged && !(r.Score >= 0 && r.Score <= 1), !(r.Threshold > 0 && r.Threshold <= 1), !(r.Confidence >= 0 && r.Confidence <= 1),
			r.Key.Device != "lamp", len(r.Message) > 4*longestMessage, !utf8.ValidString(r.Message), len(r.Causes) > mostCauses, r.Severity > driver.Critical:
			t.Errorf("%+v", r)
		}
		for _, c := range r.Causes {
			if !(c.Weight >= 0 && c.Weight <= 1) {
				t.Errorf("%+v", c)
			}
		}
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package mqtt_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/kubeedge/edge-anomaly/admethod/source/mqtt"
	"github.com/kubeedge/edge-anomaly/admethod/source/sourcetest"
	pb "github.com/kubeedge/edge-anomaly/proto/sparkplug"
)

// payload is a message of Sparkplug B with a sequence number, of a second before now.
func payload(seq uint64, metrics ...*pb.Metric) string {
	text, err := proto.Marshal(&pb.Payload{Timestamp: proto.Uint64(uint64(now.UnixMilli()) - 1000), Seq: &seq, Metrics: metrics})
	if err != nil {
		panic(err) // of the test
	}
	return string(text)
}

func double(name string, alias uint64, v float64) *pb.Metric {
	m := &pb.Metric{Datatype: proto.Uint32(10), Value: &pb.Metric_DoubleValue{DoubleValue: v}}
	if name != "" {
		m.Name = &name
	}
	if alias != 0 {
		m.Alias = &alias
	}
	return m
}

// bare is a metric as data has it: by its alias, without its type.
func bare(alias uint64, v float64) *pb.Metric {
	return &pb.Metric{Alias: &alias, Value: &pb.Metric_DoubleValue{DoubleValue: v}}
}

func bdSeq(n uint64) *pb.Metric {
	return &pb.Metric{Name: proto.String("bdSeq"), Datatype: proto.Uint32(4), Value: &pb.Metric_LongValue{LongValue: n}}
}

const stamp = " 2026-03-01T11:59:59Z"

// An edge node is born, reports, misses a number, dies and is born again.
func TestSparkplugSession(t *testing.T) {
	r := newReader(t, map[string]any{"payload": "sparkplug"})
	at := now
	for i, step := range []struct {
		topic, payload string
		want           string
		rebirth        bool
	}{
		// Nobody knows what it speaks of: it is asked, and not again at once.
		{"NDATA/n", payload(7, bare(1, 20)), "", true},
		{"NDATA/n", payload(8, bare(1, 20)), "", false},
		{"NBIRTH/n", payload(0, bdSeq(3), double("temp", 1, 20), double("Node Control/Rebirth", 2, 0)), "g/n/temp 20" + stamp + " double", false},
		{"DBIRTH/n/d", payload(1, double("Motor/Speed", 3, 5)), "g/n.d/Motor%2FSpeed 5" + stamp + " double", false},
		{"NDATA/n", payload(2, bare(1, 21)), "g/n/temp 21" + stamp + " double", false},
		{"DDATA/n/d", payload(3, bare(3, 6)), "g/n.d/Motor%2FSpeed 6" + stamp + " double", false},
		// The alias of another device.
		{"DDATA/n/e", payload(4, bare(3, 6)), "", true},
		{"NBIRTH/n", payload(0, bdSeq(3), double("temp", 1, 22)), "g/n/temp 22" + stamp + " double", false},
		// A message is missing; what is there is readable all the same.
		{"NDATA/n", payload(2, bare(1, 23)), "g/n/temp 23" + stamp + " double", true},
		// The death of a session before this one.
		{"NDEATH/n", payload(0, bdSeq(2)), "", false},
		{"NDATA/n", payload(3, bare(1, 24)), "g/n/temp 24" + stamp + " double", false},
		{"NDEATH/n", payload(0, bdSeq(3)), "", false},
		{"NDATA/n", payload(4, bare(1, 25)), "", false}, // it was asked just now
		{"NBIRTH/n", payload(255, bdSeq(4), double("temp", 9, 26)), "g/n/temp 26" + stamp + " double", false},
		{"NDATA/n", payload(0, bare(9, 27)), "g/n/temp 27" + stamp + " double", false}, // after 255
		{"DDEATH/n/d", payload(1), "", false},
		{"NDATA/n", payload(2, bare(9, 28)), "g/n/temp 28" + stamp + " double", false},
		{"NCMD/n", payload(3, bare(9, 29)), "", false}, // of a host
		{"STATE/host", `{"online":true}`, "", false},
	} {
		all, birth, err := r.Read("spBv1.0/g/"+step.topic, step.payload, false, at)
		if err != nil || show(all) != step.want || (birth == "g/n") != step.rebirth {
			t.Errorf("step %d, %s: %s, %q, %v; want %s, rebirth %v", i, step.topic, show(all), birth, err, step.want, step.rebirth)
		}
		at = at.Add(time.Second)
	}
	if _, birth, _ := r.Read("spBv1.0/g/NDATA/n", payload(9, bare(9, 1)), false, at.Add(2*time.Minute)); birth != "g/n" {
		t.Errorf("a gap minutes later: asks %q", birth)
	}
}

func TestSparkplugTypes(t *testing.T) {
	quality := func(q uint32) *pb.PropertySet {
		return &pb.PropertySet{Keys: []string{"Quality"}, Values: []*pb.PropertyValue{{Value: &pb.PropertyValue_IntValue{IntValue: q}}}}
	}
	for name, c := range map[string]struct {
		metric *pb.Metric
		want   string
	}{
		"int8":    {&pb.Metric{Datatype: proto.Uint32(1), Value: &pb.Metric_IntValue{IntValue: 0xFFFFFFFE}}, "-2 int"},
		"int16":   {&pb.Metric{Datatype: proto.Uint32(2), Value: &pb.Metric_IntValue{IntValue: 0xFFFE}}, "-2 int"},
		"int32":   {&pb.Metric{Datatype: proto.Uint32(3), Value: &pb.Metric_IntValue{IntValue: math.MaxUint32}}, "-1 int"},
		"uint32":  {&pb.Metric{Datatype: proto.Uint32(7), Value: &pb.Metric_IntValue{IntValue: math.MaxUint32}}, "4.294967295e+09 int"},
		"int64":   {&pb.Metric{Datatype: proto.Uint32(4), Value: &pb.Metric_LongValue{LongValue: math.MaxUint64}}, "-1 int"},
		"uint64":  {&pb.Metric{Datatype: proto.Uint32(8), Value: &pb.Metric_LongValue{LongValue: 7}}, "7 int"},
		"float":   {&pb.Metric{Datatype: proto.Uint32(9), Value: &pb.Metric_FloatValue{FloatValue: 20.1}}, "20.1 float"},
		"NaN":     {&pb.Metric{Datatype: proto.Uint32(9), Value: &pb.Metric_FloatValue{FloatValue: float32(math.NaN())}}, "NaN float"},
		"boolean": {&pb.Metric{Datatype: proto.Uint32(11), Value: &pb.Metric_BooleanValue{BooleanValue: true}}, "1 boolean"},
		"string":  {&pb.Metric{Datatype: proto.Uint32(12), Value: &pb.Metric_StringValue{StringValue: "open"}}, `0 "open" string`},
		"date":    {&pb.Metric{Datatype: proto.Uint32(13), Value: &pb.Metric_LongValue{LongValue: 7}}, ""},
		"uuid":    {&pb.Metric{Datatype: proto.Uint32(15), Value: &pb.Metric_StringValue{StringValue: "x"}}, ""},
		"null":    {&pb.Metric{Datatype: proto.Uint32(10), IsNull: proto.Bool(true)}, ""},
		"bad":     {&pb.Metric{Datatype: proto.Uint32(10), Properties: quality(0), Value: &pb.Metric_DoubleValue{DoubleValue: 7}}, "NaN"},
		"stale":   {&pb.Metric{Datatype: proto.Uint32(10), Properties: quality(500), Value: &pb.Metric_DoubleValue{DoubleValue: 7}}, ""},
		"good":    {&pb.Metric{Datatype: proto.Uint32(10), Properties: quality(192), Value: &pb.Metric_DoubleValue{DoubleValue: 7}}, "7 double"},
		"none":    {&pb.Metric{Datatype: proto.Uint32(16)}, `metric "m": no value`},
		"year":    {&pb.Metric{Datatype: proto.Uint32(10), Timestamp: proto.Uint64(math.MaxUint64), Value: &pb.Metric_DoubleValue{DoubleValue: 7}}, "want milliseconds since 1970"},
	} {
		c.metric.Name = proto.String("m")
		all, _, err := newReader(t, map[string]any{"payload": "sparkplug"}).Read("spBv1.0/g/NBIRTH/n", payload(0, c.metric), false, now.Add(-time.Second))
		got := strings.TrimPrefix(strings.Replace(show(all), stamp, "", 1), "g/n/m ")
		if err != nil {
			if len(all) > 0 || c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v; want %q", name, err, c.want)
			}
		} else if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSparkplugUnit(t *testing.T) {
	m := double("temp", 1, 20)
	m.Properties = &pb.PropertySet{Keys: []string{"engUnit"}, Values: []*pb.PropertyValue{{Value: &pb.PropertyValue_StringValue{StringValue: "°C"}}}}
	all, _, err := newReader(t, map[string]any{"payload": "sparkplug", "device": "{node}"}).Read("spBv1.0/g/DBIRTH/n/d", payload(0, m), false, now)
	if err != nil || len(all) != 1 || all[0].Property.Unit != "°C" || all[0].Property.Labels["id"] != "d" || all[0].Key.Device != "n" {
		t.Errorf("%+v, %v", all, err)
	}
}

// Whatever nodes send, decoding ends, and what is known stays within its bound.
func FuzzSparkplug(f *testing.F) {
	f.Add(byte(0), []byte(payload(0, bdSeq(1), double("temp", 1, 20))), []byte(payload(1, bare(1, 21))))
	f.Add(byte(3), []byte(payload(0, double("a", 0, 1))), []byte("\x12\x02\x10\x01"))
	f.Fuzz(func(t *testing.T, kind byte, first, second []byte) {
		options := topics(map[string]any{"payload": "sparkplug"})
		options["series"] = 10
		r := mqtt.NewReader(newSource(t, "127.0.0.1:1", "", new(sourcetest.Reports), options))
		kinds := []string{"NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d"}
		for i, text := range [][]byte{first, second, first} {
			all, _, err := r.Read("spBv1.0/g/"+kinds[(int(kind)+i)%len(kinds)], string(text), false, now)
			if err != nil && !strings.Contains(err.Error(), "spBv1.0/g/") {
				t.Errorf("%v: want the topic", err)
			}
			for _, reading := range all {
				if reading.At.IsZero() || reading.At.Year() > 9999 || len(reading.Text) > 256 {
					t.Errorf("%+v", reading)
				}
			}
			if series, metrics := r.Known(); series > 10 || metrics > 10 {
				t.Errorf("%d series and %d metrics known, want 10 at most", series, metrics)
			}
		}
	})
}

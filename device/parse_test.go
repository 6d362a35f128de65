// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/util/parse"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func anyOf(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sampleModel and sampleDevice are well-formed: upstream's parser understands all of them.
func sampleModel() *dmiapi.DeviceModel {
	return &dmiapi.DeviceModel{
		Name: "room-model", Namespace: "default",
		Spec: &dmiapi.DeviceModelSpec{Properties: []*dmiapi.ModelProperty{
			{Name: "temperature", Type: "FLOAT", AccessMode: "ReadOnly", Minimum: "-40", Maximum: "85", Unit: "C", Description: "air"},
			{Name: "power", Type: "string", AccessMode: "ReadWrite"},
		}},
	}
}

func sampleDevice(t testing.TB) *dmiapi.Device {
	t.Helper()
	return &dmiapi.Device{
		Name: "room-1", Namespace: "default",
		Status: &dmiapi.DeviceStatus{ReportToCloud: true, ReportCycle: 5000},
		Spec: &dmiapi.DeviceSpec{
			DeviceModelReference: "room-model",
			Protocol: &dmiapi.ProtocolConfig{ProtocolName: "room", ConfigData: &dmiapi.CustomizedValue{Data: map[string]*anypb.Any{
				"address": anyOf(t, wrapperspb.String("127.0.0.1")), "port": anyOf(t, wrapperspb.Float(8000)),
			}}},
			Properties: []*dmiapi.DeviceProperty{
				{
					Name: "temperature", CollectCycle: 1000, ReportCycle: 10000, ReportToCloud: true,
					Desired: &dmiapi.TwinProperty{Metadata: map[string]string{"type": "float", "timestamp": "1"}},
					Visitors: &dmiapi.VisitorConfig{ProtocolName: "room", ConfigData: &dmiapi.CustomizedValue{Data: map[string]*anypb.Any{
						"path": anyOf(t, wrapperspb.String("/temperature")), "scale": anyOf(t, wrapperspb.Float(0.1)),
						"signed": anyOf(t, wrapperspb.Bool(true)), "register": anyOf(t, wrapperspb.Int64(1<<40)),
					}}},
					PushMethod: &dmiapi.PushMethod{
						Mqtt:     &dmiapi.PushMethodMQTT{Address: "tcp://127.0.0.1:1883", Topic: "t", Qos: 1, Retained: true},
						DbMethod: &dmiapi.DBMethod{Redis: &dmiapi.DBMethodRedis{RedisClientConfig: &dmiapi.RedisClientConfig{Addr: "r:1"}}},
					},
				},
				{
					Name:     "power",
					Desired:  &dmiapi.TwinProperty{Value: "ON"},
					Visitors: &dmiapi.VisitorConfig{ProtocolName: "room", ConfigData: &dmiapi.CustomizedValue{}},
					PushMethod: &dmiapi.PushMethod{AnomalyDetection: &dmiapi.AnomalyDetection{Data: map[string]*anypb.Any{
						"detector": anyOf(t, wrapperspb.String("ewma")), "threshold": anyOf(t, wrapperspb.Float(0.9)),
						"window": anyOf(t, wrapperspb.Int64(60)), "enabled": anyOf(t, wrapperspb.Bool(true)),
					}}},
				},
			},
			Methods: []*dmiapi.DeviceMethod{{Name: "switch", Description: "d", PropertyNames: []string{"power"}}},
		},
	}
}

func TestParseAgreesWithUpstreamOnWellFormedDevices(t *testing.T) {
	wantModel := parse.GetDeviceModelFromGrpc(sampleModel())
	model, err := ParseModel(sampleModel())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantModel, model); diff != "" {
		t.Errorf("model (-upstream +ours):\n%s", diff)
	}
	want, err := parse.GetDeviceFromGrpc(sampleDevice(t), &wantModel)
	if err != nil {
		t.Fatal(err)
	}
	if want.PProtocol, err = parse.BuildProtocolFromGrpc(sampleDevice(t)); err != nil {
		t.Fatal(err)
	}
	got, err := ParseDevice(sampleDevice(t), &model)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("device (-upstream +ours):\n%s", diff)
	}
	for i := range got.Twins {
		if got.Twins[i].Property != &got.Properties[i] {
			t.Errorf("twin %d does not point to the property of the device", i)
		}
	}
}

// Upstream's parser panics on each of these, or gives up what could be used.
func TestParseDeviceWithPartsMissing(t *testing.T) {
	model, err := ParseModel(sampleModel())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		change    func(*dmiapi.Device)
		noModel   bool
		want      []string // properties that remain
		wantError string   // "" for none
	}{
		{name: "nil spec", change: func(d *dmiapi.Device) { d.Spec = nil }},
		{name: "nil status", change: func(d *dmiapi.Device) { d.Status = nil }, want: []string{"temperature", "power"}},
		{name: "nil protocol", change: func(d *dmiapi.Device) { d.Spec.Protocol = nil }, want: []string{"temperature", "power"}},
		{name: "nil model", noModel: true, wantError: `device default/room-1: device model "room-model" is not known`},
		{
			name:   "property that is not in the model",
			change: func(d *dmiapi.Device) { d.Spec.Properties[0].Name = "humidity" },
			want:   []string{"power"}, wantError: `device default/room-1: property "humidity": not in device model "room-model"`,
		},
		{
			name:   "no visitors, no configData, no desired, no push method",
			change: func(d *dmiapi.Device) { d.Spec.Properties[0].Visitors, d.Spec.Properties[0].Desired = nil, nil },
			want:   []string{"temperature", "power"},
		},
		{
			name:   "visitors without configData",
			change: func(d *dmiapi.Device) { d.Spec.Properties[0].Visitors.ConfigData = nil },
			want:   []string{"temperature", "power"},
		},
		{
			name:   "nil property",
			change: func(d *dmiapi.Device) { d.Spec.Properties[0] = nil },
			want:   []string{"power"}, wantError: "device default/room-1: property 1: no name",
		},
		{
			name:   "a name twice",
			change: func(d *dmiapi.Device) { d.Spec.Properties[1].Name = "temperature" },
			want:   []string{"temperature"}, wantError: `property "temperature": named twice`,
		},
		{
			name: "visitor value that is no scalar",
			change: func(d *dmiapi.Device) {
				d.Spec.Properties[1].Visitors.ConfigData.Data = map[string]*anypb.Any{"list": anyOf(t, &structpb.ListValue{})}
			},
			want: []string{"temperature"}, wantError: `property "power": visitors: configData.list: a google.protobuf.ListValue, want a scalar`,
		},
		{
			name: "visitor value that is infinite",
			change: func(d *dmiapi.Device) {
				d.Spec.Properties[1].Visitors.ConfigData.Data = map[string]*anypb.Any{"x": anyOf(t, wrapperspb.Float(float32(math.Inf(1))))}
			},
			want: []string{"temperature"}, wantError: `property "power": visitors: configData.x`,
		},
		{
			name: "nil visitor value",
			change: func(d *dmiapi.Device) {
				d.Spec.Properties[1].Visitors.ConfigData.Data = map[string]*anypb.Any{"x": nil}
			},
			want: []string{"temperature"}, wantError: `property "power": visitors: configData.x`,
		},
		{
			name: "database without a kind",
			change: func(d *dmiapi.Device) {
				d.Spec.Properties[0].PushMethod.DbMethod = &dmiapi.DBMethod{}
			},
			want: []string{"temperature", "power"}, wantError: `property "temperature": pushMethod: dbMethod: want one of`,
		},
		{
			name: "detection that cannot be decoded is off, the property stays",
			change: func(d *dmiapi.Device) {
				d.Spec.Properties[1].PushMethod.AnomalyDetection.Data["x"] = &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}
			},
			want: []string{"temperature", "power"}, wantError: `property "power": pushMethod: anomalyDetection: x`,
		},
		{
			name:   "method without name",
			change: func(d *dmiapi.Device) { d.Spec.Methods[0].Name = "" },
			want:   []string{"temperature", "power"}, wantError: "method 1: no name",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			msg := sampleDevice(t)
			if tt.change != nil {
				tt.change(msg)
			}
			m := &model
			if tt.noModel {
				m = nil
			}
			dev, err := ParseDevice(msg, m)
			if tt.wantError == "" && err != nil || tt.wantError != "" && (err == nil || !strings.Contains(err.Error(), tt.wantError)) {
				t.Errorf("error %v, want %q", err, tt.wantError)
			}
			var got []string
			for i, p := range dev.Properties {
				got = append(got, p.Name)
				if dev.Twins[i].Property != &dev.Properties[i] {
					t.Errorf("twin %q does not point to its property", dev.Twins[i].PropertyName)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
		})
	}
	for name, msg := range map[string]*dmiapi.Device{"nil device": nil, "device without name": {}} {
		if dev, err := ParseDevice(msg, &model); dev != nil || err == nil {
			t.Errorf("%s: got %v, %v", name, dev, err)
		}
	}
	if _, err := ParseModel(nil); err == nil {
		t.Error("nil model: no error")
	}
	if m, err := ParseModel(&dmiapi.DeviceModel{Name: "m", Spec: &dmiapi.DeviceModelSpec{Properties: []*dmiapi.ModelProperty{nil, {Name: "a"}, {Name: "a"}}}}); err == nil || len(m.Properties) != 1 {
		t.Errorf("model with bad properties: %v, %v", m, err)
	}
}

// Upstream's parser knows one of http, mqtt, otel and anomalyDetection at a time, and takes otel for a database.
func TestParseKeepsDetectionBesideEveryPushMethod(t *testing.T) {
	model, _ := ParseModel(sampleModel())
	detection := &dmiapi.AnomalyDetection{Data: map[string]*anypb.Any{
		"text": anyOf(t, wrapperspb.String(`{"nested":[1]}`)), "float": anyOf(t, wrapperspb.Float(0.9)),
		"double": anyOf(t, wrapperspb.Double(0.1)), "bool": anyOf(t, wrapperspb.Bool(true)),
		"int32": anyOf(t, wrapperspb.Int32(-3)), "int64": anyOf(t, wrapperspb.Int64(1<<60)),
		"uint32": anyOf(t, wrapperspb.UInt32(3)), "uint64": anyOf(t, wrapperspb.UInt64(4)),
		"inf": anyOf(t, wrapperspb.Float(float32(math.Inf(1)))),
	}}
	const flat = `{"bool":true,"double":0.1,"float":0.9,"inf":"Infinity","int32":-3,"int64":"1152921504606846976","text":"{\"nested\":[1]}","uint32":3,"uint64":"4"}`
	db := &dmiapi.DBMethod{Mysql: &dmiapi.DBMethodMySQL{MysqlClientConfig: &dmiapi.MySQLClientConfig{Addr: "m:1"}}}
	for name, tt := range map[string]struct {
		push             *dmiapi.PushMethod
		wantName, wantDB string
		wantConfig       string
	}{
		"alone": {push: &dmiapi.PushMethod{AnomalyDetection: detection}},
		"http": {push: &dmiapi.PushMethod{AnomalyDetection: detection, Http: &dmiapi.PushMethodHTTP{Hostname: "h", Port: 1}},
			wantName: "http", wantConfig: `{"hostname":"h","port":1}`},
		"mqtt": {push: &dmiapi.PushMethod{AnomalyDetection: detection, Mqtt: &dmiapi.PushMethodMQTT{Topic: "t"}},
			wantName: "mqtt", wantConfig: `{"topic":"t"}`},
		"otel": {push: &dmiapi.PushMethod{AnomalyDetection: detection, Otel: &dmiapi.PushMethodOTEL{EndpointURL: "u"}},
			wantName: "otel", wantConfig: `{"endpointURL":"u"}`},
		"database": {push: &dmiapi.PushMethod{AnomalyDetection: detection, DbMethod: db}, wantDB: "mysql"},
		"all at once": {push: &dmiapi.PushMethod{AnomalyDetection: detection, DbMethod: db, Otel: &dmiapi.PushMethodOTEL{EndpointURL: "u"}},
			wantName: "otel", wantConfig: `{"endpointURL":"u"}`, wantDB: "mysql"},
	} {
		t.Run(name, func(t *testing.T) {
			msg := sampleDevice(t)
			msg.Spec.Properties[0].PushMethod = tt.push
			dev, err := ParseDevice(msg, &model)
			if err != nil {
				t.Fatal(err)
			}
			got := dev.Properties[0].PushMethod
			if !got.AnomalyDetectionEnabled || string(got.AnomalyDetectionConfig) != flat {
				t.Errorf("detection %v %s\nwant %s", got.AnomalyDetectionEnabled, got.AnomalyDetectionConfig, flat)
			}
			if got.MethodName != tt.wantName || string(got.MethodConfig) != tt.wantConfig || got.DBMethod.DBMethodName != tt.wantDB {
				t.Errorf("push %q %s, database %q", got.MethodName, got.MethodConfig, got.DBMethod.DBMethodName)
			}
		})
	}
	// An empty map is lost on the wire; being there says that detection is wanted.
	msg := sampleDevice(t)
	msg.Spec.Properties[0].PushMethod = &dmiapi.PushMethod{AnomalyDetection: &dmiapi.AnomalyDetection{}}
	dev, err := ParseDevice(msg, &model)
	if got := dev.Properties[0].PushMethod; err != nil || !got.AnomalyDetectionEnabled || string(got.AnomalyDetectionConfig) != "{}" {
		t.Errorf("empty detection: %v %+v", err, got)
	}
}

func FuzzParseDevice(f *testing.F) {
	for _, msg := range []*dmiapi.Device{
		sampleDevice(f), {}, {Name: "d"},
		{Name: "d", Spec: &dmiapi.DeviceSpec{Properties: []*dmiapi.DeviceProperty{{}, {Name: "power", PushMethod: &dmiapi.PushMethod{}}}}},
	} {
		raw, err := proto.Marshal(msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	model, err := ParseModel(sampleModel())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg := new(dmiapi.Device)
		if proto.Unmarshal(raw, msg) != nil {
			return
		}
		for _, m := range []*common.DeviceModel{&model, nil} {
			dev, err := ParseDevice(msg, m)
			if dev == nil {
				if err == nil {
					t.Fatal("neither a device nor an error")
				}
				continue
			}
			if len(dev.Twins) != len(dev.Properties) {
				t.Fatalf("%d twins, %d properties", len(dev.Twins), len(dev.Properties))
			}
			for i := range dev.Twins {
				if dev.Twins[i].Property != &dev.Properties[i] {
					t.Fatal("a twin does not point to its property")
				}
			}
		}
	})
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/kubeedge/api/apis/devices/v1beta1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

// rendered shows Any values as a mapper's protojson does.
func rendered(t *testing.T, data map[string]*anypb.Any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for k, v := range data {
		msg, err := v.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		b, err := protojson.Marshal(msg)
		if err != nil {
			t.Fatal(err)
		}
		out[k] = string(b)
	}
	return out
}

// The figures are those observed on a running edgecore.
func TestConvertScalars(t *testing.T) {
	values := map[string]any{
		"string": `{"window": [1, 2]}`,
		"bool":   true,
		"int":    100,
		"big":    1234567890,
		"odd":    16777217,
		"float":  0.123456789,
		"tiny":   1e-50,
		"huge":   1e39,
	}
	want := map[string]string{
		"string": `"{\"window\": [1, 2]}"`,
		"bool":   "true",
		"int":    "100",
		"big":    "1234568000",
		"odd":    "16777216",
		"float":  "0.12345679",
		"tiny":   "0",
		"huge":   `"Infinity"`,
	}
	d := withAnomalyDetection(testDevice("d"), values)
	d.Spec.Properties[0].Visitors.ConfigData.Data = values
	d.Spec.Protocol.ConfigData.Data = values
	msg, err := ConvertDevice(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := msg.GetSpec().GetProperties()[0]
	for name, got := range map[string]map[string]*anypb.Any{
		"anomalyDetection":    p.GetPushMethod().GetAnomalyDetection().GetData(),
		"visitors":            p.GetVisitors().GetConfigData().GetData(),
		"protocol configData": msg.GetSpec().GetProtocol().GetConfigData().GetData(),
	} {
		if diff := cmp.Diff(want, rendered(t, got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestConvertDrops(t *testing.T) {
	for name, tc := range map[string]struct {
		data map[string]any
		want string
	}{
		"nested map":  {map[string]any{"a": map[string]any{"b": 1}}, "map[string]interface {} does not support converting to any"},
		"list":        {map[string]any{"a": []any{1}}, "[]interface {} does not support converting to any"},
		"key data":    {map[string]any{"data": "x"}, "cannot unmarshal string"},
		"key Data":    {map[string]any{"Data": "x"}, "cannot unmarshal string"},
		"key DATA":    {map[string]any{"DATA": "x"}, "cannot unmarshal string"},
		"null":        {map[string]any{"a": nil}, "<nil> does not support converting to any"},
		"data number": {map[string]any{"data": 1}, "cannot unmarshal number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ConvertDevice(withAnomalyDetection(testDevice("lamp"), tc.data), nil)
			if !errors.Is(err, ErrDropped) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "default/lamp") {
				t.Errorf("error %v, want ErrDropped naming the device and %q", err, tc.want)
			}
			d := testDevice("lamp")
			d.Spec.Properties[0].Visitors.ConfigData.Data = tc.data
			if _, err := ConvertDevice(d, nil); !errors.Is(err, ErrDropped) {
				t.Errorf("in visitors: error %v, want ErrDropped", err)
			}
			d = testDevice("lamp")
			d.Spec.Protocol.ConfigData.Data = tc.data
			if _, err := ConvertDevice(d, nil); !errors.Is(err, ErrDropped) {
				t.Errorf("in protocol configData: error %v, want ErrDropped", err)
			}
			model := testModel()
			model.Spec.Properties[0].Visitors = &v1beta1.VisitorConfig{ConfigData: &v1beta1.CustomizedValue{Data: tc.data}}
			if _, err := ConvertDevice(testDevice("lamp"), model); !errors.Is(err, ErrDropped) {
				t.Errorf("in visitors of the model: error %v, want ErrDropped", err)
			}
			model = testModel()
			model.Spec.ProtocolConfigData = &v1beta1.CustomizedValue{Data: tc.data}
			if _, err := ConvertDevice(testDevice("lamp"), model); !errors.Is(err, ErrDropped) {
				t.Errorf("in protocolConfigData of the model: error %v, want ErrDropped", err)
			}
		})
	}
	if _, err := ConvertDevice(nil, nil); !errors.Is(err, ErrDropped) {
		t.Errorf("nil device: error %v, want ErrDropped", err)
	}
	if _, err := ConvertModel(nil); err == nil {
		t.Error("nil model: no error")
	}
}

func TestConvertFields(t *testing.T) {
	d := testDevice("lamp")
	d.Spec.Methods = []v1beta1.DeviceMethod{{Name: "set", PropertyNames: []string{"temperature"}}}
	d.Spec.StateReport = &v1beta1.StateReportConfig{ReportToCloud: true, ReportCycle: 7}
	p := &d.Spec.Properties[0]
	p.Desired.Value, p.ReportCycle, p.CollectCycle, p.ReportToCloud = "21", 1000, 500, true
	p.PushMethod = &v1beta1.PushMethod{
		HTTP: &v1beta1.PushMethodHTTP{HostName: "http://h", Port: 80, RequestPath: "/p", Timeout: 3},
		MQTT: &v1beta1.PushMethodMQTT{Address: "tcp://b:1883", Topic: "x", QoS: 1, Retained: true},
		OTEL: &v1beta1.PushMethodOTEL{EndpointURL: "http://o"},
		DBMethod: &v1beta1.DBMethodConfig{TDEngine: &v1beta1.DBMethodTDEngine{
			TDEngineClientConfig: &v1beta1.TDEngineClientConfig{Addr: "a", DBName: "n"}}},
		AnomalyDetection: &v1beta1.AnomalyDetectionConfig{Data: map[string]any{"detector": "ewma"}},
	}
	msg, err := ConvertDevice(d, testModel())
	if err != nil {
		t.Fatal(err)
	}
	got := msg.GetSpec().GetProperties()[0]
	pm := got.GetPushMethod()
	for name, ok := range map[string]bool{
		"name":        msg.GetName() == "lamp" && msg.GetNamespace() == "default",
		"model":       msg.GetSpec().GetDeviceModelReference() == "thermometer",
		"method":      msg.GetSpec().GetMethods()[0].GetPropertyNames()[0] == "temperature",
		"stateReport": msg.GetStatus().GetReportToCloud() && msg.GetStatus().GetReportCycle() == 7,
		"desired":     got.GetDesired().GetValue() == "21",
		"cycles":      got.GetReportCycle() == 1000 && got.GetCollectCycle() == 500 && got.GetReportToCloud(),
		"http":        pm.GetHttp().GetHostname() == "http://h" && pm.GetHttp().GetPort() == 80 && pm.GetHttp().GetRequestpath() == "/p",
		"mqtt":        pm.GetMqtt().GetTopic() == "x" && pm.GetMqtt().GetQos() == 1 && pm.GetMqtt().GetRetained(),
		"otel":        pm.GetOtel().GetEndpointURL() == "http://o",
		"tdengine":    pm.GetDbMethod().GetTdengine().GetTdEngineClientConfig().GetAddr() == "a",
		"beside":      rendered(t, pm.GetAnomalyDetection().GetData())["detector"] == `"ewma"`,
	} {
		if !ok {
			t.Errorf("%s did not arrive: %v", name, msg)
		}
	}
	model, err := ConvertModel(testModel())
	if err != nil {
		t.Fatal(err)
	}
	if mp := model.GetSpec().GetProperties()[0]; mp.GetType() != "DOUBLE" || mp.GetMinimum() != "-40" || mp.GetAccessMode() != "ReadOnly" {
		t.Errorf("model property did not arrive: %v", mp)
	}
}

// A device's own values win over the defaults in its model, key by key; the model itself stays as it was.
func TestConvertModelDefaults(t *testing.T) {
	model := testModel()
	model.Spec.ProtocolConfigData = &v1beta1.CustomizedValue{Data: map[string]any{"url": "http://default", "retries": 3}}
	model.Spec.Properties[0].Visitors = &v1beta1.VisitorConfig{
		ProtocolName: "http", ConfigData: &v1beta1.CustomizedValue{Data: map[string]any{"path": "/default", "unit": "C"}}}
	msg, err := ConvertDevice(testDevice("d"), model)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"url": `"http://room"`, "retries": "3"},
		rendered(t, msg.GetSpec().GetProtocol().GetConfigData().GetData())); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"path": `"/t"`, "unit": `"C"`},
		rendered(t, msg.GetSpec().GetProperties()[0].GetVisitors().GetConfigData().GetData())); diff != "" {
		t.Error(diff)
	}
	if got := model.Spec.ProtocolConfigData.Data["url"]; got != "http://default" {
		t.Errorf("the model was changed: url %v", got)
	}
}

// A property without visitors travels without them, which is what mappers must survive.
func TestConvertKeepsHoles(t *testing.T) {
	d := testDevice("d")
	d.Spec.Properties[0].Visitors = v1beta1.VisitorConfig{}
	d.Spec.Protocol.ConfigData = nil
	d.Spec.DeviceModelRef = nil
	msg, err := ConvertDevice(d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if msg.GetSpec().GetProtocol().GetConfigData() != nil || msg.GetSpec().GetProperties()[0].GetVisitors().GetConfigData() != nil {
		t.Errorf("configData appeared from nothing: %v", msg)
	}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"encoding/json"
	"errors"
	"fmt"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ResourceID is the key of a device or a model: namespace/name.
func ResourceID(namespace, name string) string { return namespace + "/" + name }

// ParseModel turns a DeviceModel as DMI carries it into mapper-framework's. A property that cannot be used is left
// out; the error joins what was wrong and comes together with the usable rest. Only a message that is nil or has no
// name gives a zero model.
func ParseModel(msg *dmiapi.DeviceModel) (common.DeviceModel, error) {
	if msg.GetName() == "" {
		return common.DeviceModel{}, errors.New("device model: no name")
	}
	model := common.DeviceModel{
		ID:        ResourceID(msg.GetNamespace(), msg.GetName()),
		Name:      msg.GetName(),
		Namespace: msg.GetNamespace(),
	}
	var errs []error
	seen := make(map[string]bool)
	for i, p := range msg.GetSpec().GetProperties() {
		if err := checkName(p.GetName(), i, seen); err != nil {
			errs = append(errs, fmt.Errorf("device model %s: %w", model.ID, err))
			continue
		}
		model.Properties = append(model.Properties, common.ModelProperty{
			Name:        p.GetName(),
			DataType:    p.GetType(),
			Description: p.GetDescription(),
			AccessMode:  p.GetAccessMode(),
			Minimum:     p.GetMinimum(),
			Maximum:     p.GetMaximum(),
			Unit:        p.GetUnit(),
		})
	}
	return model, errors.Join(errs...)
}

// ParseDevice turns a Device as DMI carries it into mapper-framework's, nil-safe whatever is missing. A property that
// cannot be used (not in the model, a visitor value that cannot be decoded, no or a repeated name) is left out and
// never costs the device its other properties; a push method or detection that cannot be used is left out of its
// property. The error joins all of this, each part naming device and property, and comes together with the usable
// instance. Only a message that is nil or has no name gives a nil instance.
//
// The settings under pushMethod.anomalyDetection are kept whatever else pushMethod holds: AnomalyDetectionEnabled says
// that they are present, AnomalyDetectionConfig is the flat map as JSON, its values rendered as protojson does.
func ParseDevice(msg *dmiapi.Device, model *common.DeviceModel) (*common.DeviceInstance, error) {
	if msg.GetName() == "" {
		return nil, errors.New("device: no name")
	}
	spec := msg.GetSpec()
	protocol := spec.GetProtocol()
	device := &common.DeviceInstance{
		ID:           ResourceID(msg.GetNamespace(), msg.GetName()),
		Name:         msg.GetName(),
		Namespace:    msg.GetNamespace(),
		ProtocolName: protocol.GetProtocolName() + "-" + msg.GetName(),
		Model:        spec.GetDeviceModelReference(),
		Status: common.DeviceStatus{
			ReportToCloud: msg.GetStatus().GetReportToCloud(),
			ReportCycle:   msg.GetStatus().GetReportCycle(),
		},
	}
	var errs []error
	fail := func(err error) { errs = append(errs, fmt.Errorf("device %s: %w", device.ID, err)) }

	connection, err := visitorJSON(protocol.GetProtocolName(), protocol.GetConfigData(), protocol.GetConfigData() != nil)
	if err != nil {
		fail(fmt.Errorf("protocol: %w", err))
	}
	device.PProtocol = common.ProtocolConfig{ProtocolName: protocol.GetProtocolName(), ConfigData: connection}

	known := make(map[string]common.ModelProperty)
	if model == nil {
		fail(fmt.Errorf("device model %q is not known", spec.GetDeviceModelReference()))
	} else {
		for _, p := range model.Properties {
			known[p.Name] = p
		}
	}

	seen := make(map[string]bool)
	desired := make([]common.TwinProperty, 0, len(spec.GetProperties()))
	for i, p := range spec.GetProperties() {
		if err := checkName(p.GetName(), i, seen); err != nil {
			fail(err)
			continue
		}
		declared, ok := known[p.GetName()]
		if !ok {
			if model != nil {
				fail(fmt.Errorf("property %q: not in device model %q", p.GetName(), spec.GetDeviceModelReference()))
			}
			continue
		}
		visitors, err := visitorJSON(p.GetVisitors().GetProtocolName(), p.GetVisitors().GetConfigData(), true)
		if err != nil {
			fail(fmt.Errorf("property %q: visitors: %w", p.GetName(), err))
			continue
		}
		push, err := parsePushMethod(p.GetPushMethod())
		if err != nil {
			fail(fmt.Errorf("property %q: pushMethod: %w", p.GetName(), err))
		}
		device.Properties = append(device.Properties, common.DeviceProperty{
			Name:          p.GetName(),
			PropertyName:  p.GetName(),
			ModelName:     spec.GetDeviceModelReference(),
			Protocol:      protocol.GetProtocolName(),
			Visitors:      visitors,
			ReportToCloud: p.GetReportToCloud(),
			CollectCycle:  p.GetCollectCycle(),
			ReportCycle:   p.GetReportCycle(),
			PushMethod:    push,
			PProperty:     declared,
		})
		desired = append(desired, common.TwinProperty{
			Value: p.GetDesired().GetValue(),
			Metadata: common.Metadata{
				Timestamp: p.GetDesired().GetMetadata()["timestamp"],
				Type:      p.GetDesired().GetMetadata()["type"],
			},
		})
	}
	// The twins point into the slice, so it must have stopped growing.
	for i := range device.Properties {
		device.Twins = append(device.Twins, common.Twin{
			PropertyName:    device.Properties[i].PropertyName,
			Property:        &device.Properties[i],
			ObservedDesired: desired[i],
		})
	}
	for i, m := range spec.GetMethods() {
		if m.GetName() == "" {
			fail(fmt.Errorf("method %d: no name", i+1))
			continue
		}
		device.Methods = append(device.Methods, common.DeviceMethod{
			Name: m.GetName(), Description: m.GetDescription(), PropertyNames: m.GetPropertyNames(),
		})
	}
	return device, errors.Join(errs...)
}

func checkName(name string, index int, seen map[string]bool) error {
	switch {
	case name == "":
		return fmt.Errorf("property %d: no name", index+1)
	case seen[name]:
		return fmt.Errorf("property %q: named twice, the first one is used", name)
	}
	seen[name] = true
	return nil
}

// visitorJSON renders a protocol name with its free settings as upstream mappers read them. On an error it returns
// the settings that could be decoded.
func visitorJSON(protocol string, config *dmiapi.CustomizedValue, withData bool) (json.RawMessage, error) {
	var errs []error
	out := map[string]any{"protocolName": protocol}
	if withData {
		data := make(map[string]json.RawMessage)
		for key, value := range config.GetData() {
			v, err := decodeAny(value)
			if err == nil {
				data[key], err = json.Marshal(v)
			}
			if err != nil {
				delete(data, key)
				errs = append(errs, fmt.Errorf("configData.%s: %w", key, err))
			}
		}
		out["configData"] = data
	}
	raw, err := json.Marshal(out)
	return raw, errors.Join(append(errs, err)...)
}

// decodeAny unwraps a scalar. Numbers keep the width they have on the wire, so that a float32 is rendered with the
// digits that it had and not with those of its float64 neighbour.
func decodeAny(value *anypb.Any) (any, error) {
	msg, err := value.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	switch v := msg.(type) {
	case *wrapperspb.StringValue:
		return v.GetValue(), nil
	case *wrapperspb.BoolValue:
		return v.GetValue(), nil
	case *wrapperspb.FloatValue:
		return v.GetValue(), nil
	case *wrapperspb.DoubleValue:
		return v.GetValue(), nil
	case *wrapperspb.Int32Value:
		return v.GetValue(), nil
	case *wrapperspb.Int64Value:
		return v.GetValue(), nil
	case *wrapperspb.UInt32Value:
		return v.GetValue(), nil
	case *wrapperspb.UInt64Value:
		return v.GetValue(), nil
	case *wrapperspb.BytesValue:
		return v.GetValue(), nil
	}
	return nil, fmt.Errorf("a %s, want a scalar", msg.ProtoReflect().Descriptor().FullName())
}

// parsePushMethod keeps what can be used beside an error.
func parsePushMethod(m *dmiapi.PushMethod) (common.PushMethodConfig, error) {
	var cfg common.PushMethodConfig
	var errs []error
	method := func(name string, message any) {
		if cfg.MethodName != "" {
			errs = append(errs, fmt.Errorf("%s is ignored, %s is set as well", name, cfg.MethodName))
			return
		}
		raw, err := json.Marshal(message)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			return
		}
		cfg.MethodName, cfg.MethodConfig = name, raw
	}
	if m.GetHttp() != nil {
		method(common.PushMethodHTTP, m.GetHttp())
	}
	if m.GetMqtt() != nil {
		method(common.PushMethodMQTT, m.GetMqtt())
	}
	if m.GetOtel() != nil {
		method(common.PushMethodOTEL, m.GetOtel())
	}
	if m.GetDbMethod() != nil {
		db, err := parseDBMethod(m.GetDbMethod())
		if err != nil {
			errs = append(errs, fmt.Errorf("dbMethod: %w", err))
		} else {
			cfg.DBMethod = db
		}
	}
	if m.GetAnomalyDetection() != nil {
		flat, err := anyMapJSON(m.GetAnomalyDetection().GetData())
		if err != nil {
			errs = append(errs, fmt.Errorf("anomalyDetection: %w", err))
		} else {
			cfg.AnomalyDetectionEnabled, cfg.AnomalyDetectionConfig = true, flat
		}
	}
	return cfg, errors.Join(errs...)
}

func parseDBMethod(db *dmiapi.DBMethod) (common.DBMethodConfig, error) {
	var cfg common.DBMethodConfig
	var err error
	switch {
	case db.GetInfluxdb2() != nil:
		var clientErr, dataErr error
		cfg.DBMethodName = "influx"
		cfg.DBConfig.Influxdb2ClientConfig, clientErr = json.Marshal(db.GetInfluxdb2().GetInfluxdb2ClientConfig())
		cfg.DBConfig.Influxdb2DataConfig, dataErr = json.Marshal(db.GetInfluxdb2().GetInfluxdb2DataConfig())
		err = errors.Join(clientErr, dataErr)
	case db.GetRedis() != nil:
		cfg.DBMethodName = "redis"
		cfg.DBConfig.RedisClientConfig, err = json.Marshal(db.GetRedis().GetRedisClientConfig())
	case db.GetTdengine() != nil:
		cfg.DBMethodName = "tdengine"
		cfg.DBConfig.TDEngineClientConfig, err = json.Marshal(db.GetTdengine().GetTdEngineClientConfig())
	case db.GetMysql() != nil:
		cfg.DBMethodName = "mysql"
		cfg.DBConfig.MySQLClientConfig, err = json.Marshal(db.GetMysql().GetMysqlClientConfig())
	default:
		err = errors.New("want one of influxdb2, redis, tdengine, mysql")
	}
	return cfg, err
}

// anyMapJSON renders the values as protojson does: a 64-bit integer is quoted, NaN and infinities are text.
func anyMapJSON(m map[string]*anypb.Any) (json.RawMessage, error) {
	out := make(map[string]json.RawMessage, len(m))
	var errs []error
	for key, value := range m {
		msg, err := value.UnmarshalNew()
		if err == nil {
			out[key], err = protojson.Marshal(msg)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// ErrDropped is wrapped by the error that tells why edgecore drops a device. A mapper never hears of it.
var ErrDropped = errors.New("device dropped by edgecore")

// ConvertDevice makes of a device the message that a mapper receives, as edgecore does: the fields travel by their
// JSON names and free-form values as protobuf Any, every number a FloatValue. A map, a list, a null or the key "data", in
// whatever case, in any free-form map is an error. model supplies default visitors and
// protocol configData, over which the device's own win; nil is allowed. The error wraps ErrDropped.
func ConvertDevice(device *v1beta1.Device, model *v1beta1.DeviceModel) (*dmiapi.Device, error) {
	if device == nil {
		return nil, fmt.Errorf("%w: device is nil", ErrDropped)
	}
	msg, err := convertDevice(device, model)
	if err != nil {
		return nil, fmt.Errorf("%w: %s/%s: %w", ErrDropped, device.Namespace, device.Name, err)
	}
	return msg, nil
}

func convertDevice(device *v1beta1.Device, model *v1beta1.DeviceModel) (*dmiapi.Device, error) {
	device, err := normalize(device)
	if err != nil {
		return nil, err
	}
	if model != nil {
		if model, err = normalize(model); err != nil {
			return nil, err
		}
		applyModelDefaults(device, model)
	}

	// Going through JSON is what makes a key "data" fatal: it meets the field of that name in the message.
	msg := new(dmiapi.Device)
	if err := recode(device, msg); err != nil {
		return nil, err
	}
	msg.Name, msg.Namespace = device.Name, device.Namespace
	if ref := device.Spec.DeviceModelRef; ref != nil {
		msg.Spec.DeviceModelReference = ref.Name
	}
	if sr := device.Spec.StateReport; sr != nil {
		if msg.Status == nil {
			msg.Status = &dmiapi.DeviceStatus{}
		}
		msg.Status.ReportCycle, msg.Status.ReportToCloud = sr.ReportCycle, sr.ReportToCloud
	}
	if cd := device.Spec.Protocol.ConfigData; cd != nil && cd.Data != nil {
		if msg.Spec.Protocol.ConfigData.Data, err = toAnyMap(cd.Data); err != nil {
			return nil, fmt.Errorf("protocol configData: %w", err)
		}
	}
	for i, p := range device.Spec.Properties {
		out := msg.Spec.Properties[i]
		if cd := p.Visitors.ConfigData; cd != nil && cd.Data != nil {
			if out.Visitors.ConfigData.Data, err = toAnyMap(cd.Data); err != nil {
				return nil, fmt.Errorf("property %q: visitors: %w", p.Name, err)
			}
		}
		if p.PushMethod != nil && p.PushMethod.AnomalyDetection != nil && p.PushMethod.AnomalyDetection.Data != nil {
			if out.PushMethod.AnomalyDetection.Data, err = toAnyMap(p.PushMethod.AnomalyDetection.Data); err != nil {
				return nil, fmt.Errorf("property %q: anomalyDetection: %w", p.Name, err)
			}
		}
	}
	return msg, nil
}

// ConvertModel makes of a device model the message that a mapper receives.
func ConvertModel(model *v1beta1.DeviceModel) (*dmiapi.DeviceModel, error) {
	if model == nil {
		return nil, errors.New("device model is nil")
	}
	msg := new(dmiapi.DeviceModel)
	if err := recode(model, msg); err != nil {
		return nil, fmt.Errorf("device model %s/%s: %w", model.Namespace, model.Name, err)
	}
	msg.Name, msg.Namespace = model.Name, model.Namespace
	return msg, nil
}

// applyModelDefaults merges the model's visitors and protocol configData below those of the device.
func applyModelDefaults(device *v1beta1.Device, model *v1beta1.DeviceModel) {
	device.Spec.Protocol.ConfigData = merged(model.Spec.ProtocolConfigData, device.Spec.Protocol.ConfigData)
	for i := range device.Spec.Properties {
		p := &device.Spec.Properties[i]
		for _, mp := range model.Spec.Properties {
			if mp.Name != p.Name || mp.Visitors == nil {
				continue
			}
			// The name of the protocol is the model's, even where the device gave one.
			p.Visitors.ProtocolName = mp.Visitors.ProtocolName
			p.Visitors.ConfigData = merged(mp.Visitors.ConfigData, p.Visitors.ConfigData)
			break
		}
	}
}

func merged(base, over *v1beta1.CustomizedValue) *v1beta1.CustomizedValue {
	switch {
	case base == nil || base.Data == nil:
		return over
	case over == nil || over.Data == nil:
		return base
	}
	data := maps.Clone(base.Data)
	maps.Copy(data, over.Data)
	return &v1beta1.CustomizedValue{Data: data}
}

// toAnyMap converts free-form values. They come from JSON, so that each is one of its six kinds.
func toAnyMap(values map[string]any) (map[string]*anypb.Any, error) {
	out := make(map[string]*anypb.Any, len(values))
	for key, v := range values {
		var msg proto.Message
		switch v := v.(type) {
		case string:
			msg = wrapperspb.String(v)
		case bool:
			msg = wrapperspb.Bool(v)
		case float64:
			msg = wrapperspb.Float(float32(v))
		default:
			return nil, fmt.Errorf("key %q: %T does not support converting to any", key, v)
		}
		packed, err := anypb.New(msg)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", key, err)
		}
		out[key] = packed
	}
	return out, nil
}

// normalize returns a deep copy as the API server would store it: what cannot travel as JSON is refused, and every
// number of a free-form map is a float64. Some API servers prune nulls from free-form maps and others keep them: here
// they stay, and the device is lost.
func normalize[T v1beta1.Device | v1beta1.DeviceModel](obj *T) (*T, error) {
	out := new(T)
	if err := recode(obj, out); err != nil {
		return nil, err
	}
	return out, nil
}

// recode copies from into to by way of JSON.
func recode(from, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}

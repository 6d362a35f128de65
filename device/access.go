// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/util/parse"
)

var (
	errUnknown = errors.New("not known here")
	errRemoved = errors.New("removed")
)

// GetDevice returns a copy of a device as *[common.DeviceInstance]; the twins carry the values read last. It does not
// wait for the device.
func (p *Panel) GetDevice(deviceID string) (any, error) { return p.instance(deviceID) }

func (p *Panel) instance(deviceID string) (*common.DeviceInstance, error) {
	o, err := p.owner(deviceID)
	if err != nil {
		return nil, err
	}
	return o.snapshot(), nil
}

// DeviceTwins returns the twins of a device with the values read last.
func (p *Panel) DeviceTwins(deviceID string) ([]common.Twin, error) {
	dev, err := p.instance(deviceID)
	if err != nil {
		return nil, err
	}
	return dev.Twins, nil
}

// DeviceState returns the state that was reported last, "unknown" before the first one.
func (p *Panel) DeviceState(deviceID string) (string, error) {
	o, err := p.owner(deviceID)
	if err != nil {
		return "", err
	}
	return o.lastState(), nil
}

// DealDeviceTwinGet reads a twin from the device, or each where twinName is "". It returns the JSON ([]byte) of a list
// of parse.TwinResultResponse, whose payloads are twin updates.
func (p *Panel) DealDeviceTwinGet(deviceID, twinName string) (any, error) {
	o, err := p.owner(deviceID)
	if err != nil {
		return nil, err
	}
	results := []parse.TwinResultResponse{}
	for _, twin := range o.current().Twins {
		if twinName != "" && twin.PropertyName != twinName {
			continue
		}
		r, err := p.read(o, twin.PropertyName)
		if err != nil {
			return nil, err
		}
		payload, err := common.CreateMessageTwinUpdate(twin.PropertyName, r.Type, r.Text, twin.ObservedDesired.Value)
		if err != nil {
			return nil, fmt.Errorf("device %s: property %q: %w", deviceID, twin.PropertyName, err)
		}
		results = append(results, parse.TwinResultResponse{PropertyName: twin.PropertyName, Payload: payload})
	}
	if twinName != "" && len(results) == 0 {
		return nil, fmt.Errorf("device %s: property %q: %w", deviceID, twinName, errUnknown)
	}
	return json.Marshal(results)
}

// GetTwinResult reads a property from the device and returns its value in text and its data type.
func (p *Panel) GetTwinResult(deviceID, twinName string) (value, dataType string, err error) {
	o, err := p.owner(deviceID)
	if err != nil {
		return "", "", err
	}
	r, err := p.read(o, twinName)
	if err != nil {
		return "", "", err
	}
	return r.Text, r.Type, nil
}

// GetDeviceMethod returns the methods of a device with the properties that they write, and the data type of each
// property.
func (p *Panel) GetDeviceMethod(deviceID string) (map[string][]string, map[string]string, error) {
	o, err := p.owner(deviceID)
	if err != nil {
		return nil, nil, err
	}
	spec := o.current()
	methods := make(map[string][]string, len(spec.Methods))
	for _, m := range spec.Methods {
		methods[m.Name] = append(methods[m.Name], m.PropertyNames...)
	}
	types := make(map[string]string, len(spec.Properties))
	for i := range spec.Properties {
		types[spec.Properties[i].PropertyName] = strings.ToLower(spec.Properties[i].PProperty.DataType)
	}
	return methods, types, nil
}

// WriteDevice writes a property through a method of the device that names it. A property that the model declares
// read-only cannot be written.
func (p *Panel) WriteDevice(deviceMethodName, deviceID, propertyName, data string) error {
	o, err := p.owner(deviceID)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return fmt.Errorf("device %s: method %q: property %q: %w", deviceID, deviceMethodName, propertyName, err)
	}
	spec := o.current()
	declared, allowed := false, false
	for _, m := range spec.Methods {
		if m.Name == deviceMethodName {
			declared = true
			allowed = allowed || slices.Contains(m.PropertyNames, propertyName)
		}
	}
	if !declared {
		return fail(errors.New("the device has no such method"))
	}
	if !allowed {
		return fail(errors.New("the method does not write this property"))
	}
	i := slices.IndexFunc(spec.Properties, func(d common.DeviceProperty) bool { return d.PropertyName == propertyName })
	if i < 0 {
		return fail(errUnknown)
	}
	property := &spec.Properties[i]
	if strings.EqualFold(property.PProperty.AccessMode, "ReadOnly") {
		return fail(errors.New("the model declares it read-only"))
	}
	value, err := convertDesired(property.PProperty.DataType, data)
	if err != nil {
		return fail(err)
	}
	if _, err := p.ask(o, request{property: propertyName, write: true, value: value}); err != nil {
		return fail(err)
	}
	return nil
}

func (p *Panel) read(o *owner, property string) (Reading, error) {
	r, err := p.ask(o, request{property: property})
	if err != nil {
		return Reading{}, fmt.Errorf("device %s: property %q: %w", o.id, property, err)
	}
	return r, nil
}

// request is what a caller wants the owner of a device to do between two of its own calls.
type request struct {
	property string
	write    bool
	value    any
	reply    chan<- answer
}

type answer struct {
	reading Reading
	err     error
}

// ask hands a request to the owner and waits for the answer.
func (p *Panel) ask(o *owner, r request) (Reading, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.opts.RequestTimeout)
	defer cancel()
	reply := make(chan answer, 1) // the owner never waits for a caller that has gone
	r.reply = reply
	select {
	case o.requests <- r:
	case <-o.done:
		return Reading{}, errRemoved
	case <-ctx.Done():
		return Reading{}, fmt.Errorf("the device is busy: %w", ctx.Err())
	}
	select {
	case a := <-reply:
		return a.reading, a.err
	case <-o.done:
		return Reading{}, errRemoved
	case <-ctx.Done():
		return Reading{}, fmt.Errorf("the device does not answer: %w", ctx.Err())
	}
}

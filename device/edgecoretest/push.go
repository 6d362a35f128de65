// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/kubeedge/api/apis/devices/v1beta1"
	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// ErrNoMapper says that no mapper takes the pushes of a protocol, or that edgecore does not run.
var ErrNoMapper = errors.New("no mapper registered")

// deviceEntry is a device in edgecore's cache.
type deviceEntry struct {
	device *v1beta1.Device
	// ghost marks a device that was deleted in the cloud while its mapper could not be told: edgecore keeps it and
	// gives it to the next mapper that registers, until it is itself restarted.
	ghost bool
}

func (d *deviceEntry) property(name string) *v1beta1.DeviceProperty {
	i := slices.IndexFunc(d.device.Spec.Properties, func(p v1beta1.DeviceProperty) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &d.device.Spec.Properties[i]
}

func deviceEvent(kind EventKind, d *v1beta1.Device, detail string) Event {
	return Event{Kind: kind, Namespace: d.Namespace, Device: d.Name, Detail: detail}
}

func (e *EdgeCore) modelOfLocked(d *v1beta1.Device) *v1beta1.DeviceModel {
	if d.Spec.DeviceModelRef == nil {
		return nil
	}
	return e.models[resourceID(d.Namespace, d.Spec.DeviceModelRef.Name)]
}

// AddModel creates or replaces a device model and tells the mapper of its protocol, if there is one.
//
// The error of this and the other methods that push is what a real edgecore would merely have logged: the object is
// stored all the same, and a mapper that registers later receives it.
func (e *EdgeCore) AddModel(ctx context.Context, model *v1beta1.DeviceModel) error {
	m, err := normalize(model)
	if err != nil {
		return fmt.Errorf("add model: %w", err)
	}
	if m.Name == "" {
		return errors.New("add model: it has no name")
	}
	id := resourceID(m.Namespace, m.Name)
	e.mu.Lock()
	_, known := e.models[id]
	e.models[id] = m
	e.mu.Unlock()

	msg, err := ConvertModel(m)
	if err != nil {
		return fmt.Errorf("add model: %w", err)
	}
	ev := Event{Detail: "CreateDeviceModel"}
	call := func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) error {
		_, err := c.CreateDeviceModel(ctx, &dmiapi.CreateDeviceModelRequest{Model: msg})
		return err
	}
	if known {
		ev.Detail = "UpdateDeviceModel"
		call = func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) error {
			_, err := c.UpdateDeviceModel(ctx, &dmiapi.UpdateDeviceModelRequest{Model: msg})
			return err
		}
	}
	return ignoreNoMapper(e.push(ctx, m.Spec.Protocol, ev, call))
}

// RemoveModel deletes a device model and tells the mapper of its protocol, if there is one.
func (e *EdgeCore) RemoveModel(ctx context.Context, namespace, name string) error {
	id := resourceID(namespace, name)
	e.mu.Lock()
	m := e.models[id]
	delete(e.models, id)
	e.mu.Unlock()
	if m == nil {
		return fmt.Errorf("remove model %s: not found", id)
	}
	return ignoreNoMapper(e.push(ctx, m.Spec.Protocol, Event{Detail: "RemoveDeviceModel"},
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) error {
			_, err := c.RemoveDeviceModel(ctx, &dmiapi.RemoveDeviceModelRequest{ModelName: name, ModelNamespace: namespace})
			return err
		}))
}

// AddDevice creates a device and registers it with the mapper of its protocol, if there is one. Its twins are fresh.
// The error wraps ErrDropped when the device cannot travel.
func (e *EdgeCore) AddDevice(ctx context.Context, device *v1beta1.Device) error {
	d, err := normalize(device)
	if err != nil {
		return fmt.Errorf("add device: %w", err)
	}
	if d.Name == "" {
		return errors.New("add device: it has no name")
	}
	id := resourceID(d.Namespace, d.Name)
	e.mu.Lock()
	if old := e.devices[id]; old != nil && !old.ghost {
		e.mu.Unlock()
		return fmt.Errorf("add device %s: it exists", id)
	}
	e.devices[id] = &deviceEntry{device: d}
	e.forgetReportsLocked(id)
	model := e.modelOfLocked(d)
	e.notifyLocked()
	e.mu.Unlock()
	return e.pushDevice(ctx, d, model, "RegisterDevice",
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient, msg *dmiapi.Device) error {
			_, err := c.RegisterDevice(ctx, &dmiapi.RegisterDeviceRequest{Device: msg})
			return err
		})
}

// UpdateDevice replaces the spec of a device and pushes it, unless nothing changed. A device that cannot travel is
// stored and not pushed, so that the mapper keeps the old one.
func (e *EdgeCore) UpdateDevice(ctx context.Context, device *v1beta1.Device) error {
	d, err := normalize(device)
	if err != nil {
		return fmt.Errorf("update device: %w", err)
	}
	id := resourceID(d.Namespace, d.Name)
	e.mu.Lock()
	old := e.devices[id]
	if old == nil {
		e.mu.Unlock()
		return fmt.Errorf("update device %s: not found", id)
	}
	if reflect.DeepEqual(old.device.Spec, d.Spec) {
		old.device = d
		e.mu.Unlock()
		return nil
	}
	e.devices[id] = &deviceEntry{device: d}
	model := e.modelOfLocked(d)
	e.notifyLocked()
	e.mu.Unlock()
	return e.pushDevice(ctx, d, model, "UpdateDevice",
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient, msg *dmiapi.Device) error {
			_, err := c.UpdateDevice(ctx, &dmiapi.UpdateDeviceRequest{Device: msg})
			return err
		})
}

// SetDesired changes the desired value of one property, as an edit of the Device in the cloud does.
func (e *EdgeCore) SetDesired(ctx context.Context, namespace, device, property, value string) error {
	id := resourceID(namespace, device)
	e.mu.Lock()
	entry := e.devices[id]
	if entry == nil {
		e.mu.Unlock()
		return fmt.Errorf("set desired value: device %s not found", id)
	}
	d, err := normalize(entry.device)
	e.mu.Unlock()
	if err != nil {
		return fmt.Errorf("set desired value: %w", err)
	}
	p := (&deviceEntry{device: d}).property(property)
	if p == nil {
		return fmt.Errorf("set desired value: device %s has no property %q", id, property)
	}
	p.Desired.Value = value
	return e.UpdateDevice(ctx, d)
}

// RemoveDevice deletes a device. When its mapper cannot be told, the error says so and edgecore keeps the device as a
// ghost: the next mapper that registers receives it, although the cloud has it no more.
func (e *EdgeCore) RemoveDevice(ctx context.Context, namespace, name string) error {
	id := resourceID(namespace, name)
	e.mu.Lock()
	entry := e.devices[id]
	if entry == nil {
		e.mu.Unlock()
		return fmt.Errorf("remove device %s: not found", id)
	}
	entry.ghost = true
	e.forgetReportsLocked(id)
	d := entry.device
	e.mu.Unlock()
	err := e.push(ctx, d.Spec.Protocol.ProtocolName, deviceEvent("", d, "RemoveDevice"),
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) error {
			_, err := c.RemoveDevice(ctx, &dmiapi.RemoveDeviceRequest{DeviceName: name, DeviceNamespace: namespace})
			return err
		})
	if err != nil {
		return err
	}
	e.mu.Lock()
	if e.devices[id] == entry {
		delete(e.devices, id)
	}
	e.notifyLocked()
	e.mu.Unlock()
	return nil
}

func (e *EdgeCore) forgetReportsLocked(id string) {
	delete(e.states, id)
	maps.DeleteFunc(e.twins, func(t twinID, _ *twinEntry) bool { return t.device == id })
}

// GetDevice asks the mapper of a device for it, as an application on the edge can.
func (e *EdgeCore) GetDevice(ctx context.Context, namespace, name string) (*dmiapi.Device, error) {
	id := resourceID(namespace, name)
	e.mu.Lock()
	entry := e.devices[id]
	e.mu.Unlock()
	if entry == nil {
		return nil, fmt.Errorf("get device %s: not found", id)
	}
	var resp *dmiapi.GetDeviceResponse
	err := e.push(ctx, entry.device.Spec.Protocol.ProtocolName, deviceEvent("", entry.device, "GetDevice"),
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) (err error) {
			resp, err = c.GetDevice(ctx, &dmiapi.GetDeviceRequest{DeviceName: name, DeviceNamespace: namespace})
			return err
		})
	return resp.GetDevice(), err
}

func (e *EdgeCore) pushDevice(ctx context.Context, d *v1beta1.Device, model *v1beta1.DeviceModel, method string,
	call func(context.Context, dmiapi.DeviceMapperServiceClient, *dmiapi.Device) error) error {
	msg, err := ConvertDevice(d, model)
	if err != nil {
		e.emit(deviceEvent(EventDropped, d, err.Error()))
		return err
	}
	return ignoreNoMapper(e.push(ctx, d.Spec.Protocol.ProtocolName, deviceEvent("", d, method),
		func(ctx context.Context, c dmiapi.DeviceMapperServiceClient) error { return call(ctx, c, msg) }))
}

func ignoreNoMapper(err error) error {
	if errors.Is(err, ErrNoMapper) {
		return nil
	}
	return err
}

// push calls the mapper of a protocol, one call at a time for the whole node.
func (e *EdgeCore) push(ctx context.Context, protocol string, ev Event,
	call func(context.Context, dmiapi.DeviceMapperServiceClient) error) error {
	select {
	case e.pushing <- struct{}{}:
		defer func() { <-e.pushing }()
	case <-ctx.Done():
		return fmt.Errorf("push %s: %w", ev.Detail, ctx.Err())
	}
	method := ev.Detail
	e.mu.Lock()
	r, socket := e.run, e.sockets[protocol]
	if r == nil || socket == "" {
		e.mu.Unlock()
		return fmt.Errorf("push %s: protocol %q: %w", method, protocol, ErrNoMapper)
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		e.mu.Unlock()
		return fmt.Errorf("push %s: %w", method, err)
	}
	r.pushes = conn // so that the push ends with the process
	e.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, e.opts.PushTimeout)
	defer cancel()
	err = call(ctx, dmiapi.NewDeviceMapperServiceClient(conn))

	e.mu.Lock()
	e.cutPushLocked(r)
	e.counts.Pushes++
	if err != nil {
		e.counts.PushErrors++
	}
	e.notifyLocked()
	e.mu.Unlock()
	if err != nil {
		ev.Kind, ev.Detail = EventPushFailed, method+": "+err.Error()
		e.emit(ev)
		return fmt.Errorf("push %s: %w", method, err)
	}
	ev.Kind = EventPushed
	e.emit(ev)
	return nil
}

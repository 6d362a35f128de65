// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"github.com/kubeedge/mapper-framework/pkg/common"
	"github.com/kubeedge/mapper-framework/pkg/global"

	"github.com/kubeedge/edge-anomaly/device/push"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// TwinReporter carries twins and states to EdgeCore. Its methods return at once. [Reporter] is one.
type TwinReporter interface {
	Report(namespace, device string, twin common.Twin)
	ReportState(namespace, device, state string)
	// Forget drops what is kept of a device that was removed.
	Forget(namespace, device string)
}

// Consumer gets every reading of every property, failed ones included, from the goroutine that collects the device:
// Consume must return at once. It is called concurrently for different devices.
type Consumer interface{ Consume(Reading) }

// PanelOptions configure a [Panel]. Zero durations mean the default.
type PanelOptions struct {
	Driver    Driver       // required
	Reporter  TwinReporter // nil: nothing is reported
	Detection Detection    // nil: nothing is watched
	Push      *push.Pool   // nil: nothing is pushed
	Consumers []Consumer
	Verdicts  *Verdicts // nil: verdicts change nothing that is reported

	ConnectTimeout time.Duration // default 10 s
	ReadTimeout    time.Duration // of one read. Default 5 s
	WriteTimeout   time.Duration // of one write. Default 5 s
	CloseTimeout   time.Duration // default 2 s
	RequestTimeout time.Duration // of what a DMI or REST caller waits for. Default 8 s: EdgeCore gives up after 10 s
	RetryMin       time.Duration // first pause after a failed connect. Default 1 s
	RetryMax       time.Duration // longest pause, reached by doubling. Default 1 min
	StateCycle     time.Duration // of asking a device for its state, unless the Device says. Default 10 s
}

func (o *PanelOptions) setDefaults() {
	unlessPositive(&o.ConnectTimeout, 10*time.Second)
	unlessPositive(&o.ReadTimeout, 5*time.Second)
	unlessPositive(&o.WriteTimeout, 5*time.Second)
	unlessPositive(&o.CloseTimeout, 2*time.Second)
	unlessPositive(&o.RequestTimeout, 8*time.Second)
	unlessPositive(&o.RetryMin, time.Second)
	unlessPositive(&o.RetryMax, time.Minute)
	unlessPositive(&o.StateCycle, 10*time.Second)
}

// unlessPositive sets d to a default.
func unlessPositive(d *time.Duration, fallback time.Duration) {
	if *d <= 0 {
		*d = fallback
	}
}

// Panel runs the devices of a mapper: it connects them, reads each property once a cycle for all who want the value,
// writes desired values, and keeps going through every error of a device. It implements mapper-framework's DevPanel.
//
// Each device has one goroutine that owns its client. Nothing waits for a device while it holds a lock, so a device
// that hangs delays no other. All methods may be called concurrently.
type Panel struct {
	opts PanelOptions
	ctx  context.Context // ends the devices
	stop context.CancelFunc

	owners sync.WaitGroup // goroutines that own a device
	calls  sync.WaitGroup // calls into the driver that may outlive their owner's patience

	mu      sync.Mutex // guards the maps; held for no longer than a look
	started bool
	devices map[string]*owner
	models  map[string]common.DeviceModel
	leaving map[string]<-chan struct{} // removed devices whose client is not closed yet
}

var (
	_ global.DevPanel = (*Panel)(nil)
	_ TwinGetter      = (*Panel)(nil)
)

// NewPanel makes a panel without devices. Its devices run from [Panel.Start] until ctx ends or [Panel.Shutdown].
func NewPanel(ctx context.Context, opts PanelOptions) (*Panel, error) {
	if opts.Driver == nil {
		return nil, errors.New("panel: no driver")
	}
	opts.setDefaults()
	p := &Panel{
		opts:    opts,
		devices: make(map[string]*owner),
		models:  make(map[string]common.DeviceModel),
		leaving: make(map[string]<-chan struct{}),
	}
	p.ctx, p.stop = context.WithCancel(ctx)
	if v := opts.Verdicts; v != nil {
		v.mu.Lock()
		v.panel = p
		v.mu.Unlock()
	}
	return p, nil
}

// DevInit takes over the devices and models that EdgeCore answered a registration with. Devices and properties that
// cannot be used are left out; the error joins the reasons and stops nothing.
func (p *Panel) DevInit(deviceList []*dmiapi.Device, deviceModelList []*dmiapi.DeviceModel) error {
	var errs []error
	for _, msg := range deviceModelList {
		model, err := ParseModel(msg)
		errs = append(errs, err)
		if model.ID != "" {
			p.UpdateModel(&model)
		}
	}
	for _, msg := range deviceList {
		var model *common.DeviceModel
		if m, err := p.GetModel(ResourceID(msg.GetNamespace(), msg.GetSpec().GetDeviceModelReference())); err == nil {
			model = &m
		}
		dev, err := ParseDevice(msg, model)
		errs = append(errs, err)
		if dev != nil {
			p.UpdateDev(model, dev)
		}
	}
	return errors.Join(errs...)
}

// Start starts the devices known so far, and from now on each device as it comes.
func (p *Panel) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started || p.ctx.Err() != nil {
		return
	}
	p.started = true
	for _, o := range p.devices {
		p.launch(o)
	}
}

// DevStart is [Panel.Start], and returns when the panel has stopped.
func (p *Panel) DevStart() {
	p.Start()
	<-p.ctx.Done()
	p.end()
	p.owners.Wait()
}

// end stops the devices. It takes the lock so that no device is launched afterwards: the owners can be waited for.
func (p *Panel) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
}

// launch needs p.mu.
func (p *Panel) launch(o *owner) { p.owners.Go(o.run) }

// Shutdown stops all devices, closes their clients and joins every goroutine. It may be called twice. The error says
// that a driver had not returned when ctx ended.
func (p *Panel) Shutdown(ctx context.Context) error {
	p.end()
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		p.owners.Wait()
		p.calls.Wait()
	}()
	select {
	case <-joined:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("panel: devices are still closing: %w", context.Cause(ctx))
	}
}

// UpdateDev adds a device, or changes it to what dev says. What did not change keeps running: the client as long as the
// protocol settings are the same, and the detection of a property, with all that it learned, as long as its settings
// and its entry in the model are. UpdateDev does not wait for the device.
func (p *Panel) UpdateDev(model *common.DeviceModel, dev *common.DeviceInstance) {
	if model != nil {
		p.UpdateModel(model)
	}
	if dev == nil || dev.Name == "" {
		logs.ErrorS(nil, "Update of a device without name is ignored")
		return
	}
	spec := cloneInstance(dev)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return
	}
	if o, ok := p.devices[spec.ID]; ok {
		o.update(spec)
		return
	}
	o := newOwner(p, spec, p.leaving[spec.ID])
	p.devices[spec.ID] = o
	if p.started {
		p.launch(o)
	}
}

// UpdateDevTwins gives a device new twins: their desired values are written where they changed.
func (p *Panel) UpdateDevTwins(deviceID string, twins []common.Twin) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.devices[deviceID]
	if !ok {
		return fmt.Errorf("device %s: %w", deviceID, errUnknown)
	}
	spec := *o.current()
	spec.Twins = twins
	o.update(cloneInstance(&spec))
	return nil
}

// RemoveDevice stops a device and closes its client. Removing a device that is not there is no error.
func (p *Panel) RemoveDevice(deviceID string) error {
	p.mu.Lock()
	o, ok := p.devices[deviceID]
	if !ok {
		p.mu.Unlock()
		return nil
	}
	delete(p.devices, deviceID)
	o.cancel()
	if !p.started {
		p.mu.Unlock()
		return nil
	}
	p.leaving[deviceID] = o.done
	p.mu.Unlock()

	timer := time.NewTimer(p.opts.RequestTimeout)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-timer.C:
		return fmt.Errorf("device %s: is removed, but its client is still closing", deviceID)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaving[deviceID] == (<-chan struct{})(o.done) {
		delete(p.leaving, deviceID)
	}
	return nil
}

// GetModel returns the model with the given namespace/name.
func (p *Panel) GetModel(modelID string) (common.DeviceModel, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	model, ok := p.models[modelID]
	if !ok {
		return common.DeviceModel{}, fmt.Errorf("device model %s: %w", modelID, errUnknown)
	}
	return model, nil
}

// UpdateModel adds or changes a model. The devices made from it follow.
func (p *Panel) UpdateModel(model *common.DeviceModel) {
	if model == nil || model.Name == "" {
		logs.ErrorS(nil, "Update of a device model without name is ignored")
		return
	}
	id := ResourceID(model.Namespace, model.Name)
	declared := make(map[string]common.ModelProperty, len(model.Properties))
	for _, property := range model.Properties {
		declared[property.Name] = property
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.models[id] = *model
	for _, o := range p.devices {
		spec := o.current()
		if ResourceID(spec.Namespace, spec.Model) != id {
			continue
		}
		spec = cloneInstance(spec)
		for i := range spec.Properties {
			if property, ok := declared[spec.Properties[i].PropertyName]; ok {
				spec.Properties[i].PProperty = property
			}
		}
		o.update(spec)
	}
}

// RemoveModel forgets a model. Devices made from it go on with what they have.
func (p *Panel) RemoveModel(modelID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.models, modelID)
}

// Refresh makes every device ask [Detection.Settings] again, after the mapper's configuration has changed.
func (p *Panel) Refresh() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.devices {
		o.signal()
	}
}

func (p *Panel) owner(deviceID string) (*owner, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.devices[deviceID]
	if !ok {
		return nil, fmt.Errorf("device %s: %w", deviceID, errUnknown)
	}
	return o, nil
}

// cloneInstance copies all that a caller could write to later, but the bytes of raw settings, and makes the twins point
// to the copied properties. A twin without property is left out.
func cloneInstance(dev *common.DeviceInstance) *common.DeviceInstance {
	spec := *dev
	spec.ID = ResourceID(dev.Namespace, dev.Name)
	spec.Properties = append([]common.DeviceProperty(nil), dev.Properties...)
	spec.Methods = append([]common.DeviceMethod(nil), dev.Methods...)
	spec.Twins = nil
	byName := make(map[string]*common.DeviceProperty, len(spec.Properties))
	for i := range spec.Properties {
		byName[spec.Properties[i].PropertyName] = &spec.Properties[i]
	}
	for _, twin := range dev.Twins {
		if property, ok := byName[twin.PropertyName]; ok {
			twin.Property = property
			spec.Twins = append(spec.Twins, twin)
		}
	}
	return &spec
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"

	"github.com/kubeedge/edge-anomaly/device/push"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
)

// failuresToReconnect is how many reads of every property must fail in a row before the device is connected anew.
const failuresToReconnect = 3

// property collects one property of a device. It belongs to the goroutine of its owner.
type property struct {
	owner *owner
	spec  *common.DeviceProperty // the same pointer for as long as the settings are the same: drivers may cache by it

	next     time.Time // when to read
	reported time.Time // when a reading went into the twin and to push; zero: the next one goes
	failures int       // reads that failed in a row
	timeouts int       // reads in a row that ran into their deadline

	desired     string
	written     bool // desired has reached the device, or cannot
	nextWrite   time.Time
	writeFailed time.Duration // last pause after a failed write

	target   *push.Target
	watcher  Watcher
	refused  bool // by detection
	meta     PropertyMeta
	settings json.RawMessage

	generation uint64 // of detection, that it is bound by
}

// apply takes over settings, and touches only what depends on those that changed.
func (p *property) apply(spec *common.DeviceProperty, desired string, now time.Time) {
	before := p.spec
	if before == nil || !reflect.DeepEqual(before, spec) {
		p.spec = spec
	}
	if before != nil && readCycle(before) != readCycle(spec) {
		p.next = now
	}
	if before == nil || before.PushMethod.MethodName != spec.PushMethod.MethodName ||
		!bytes.Equal(before.PushMethod.MethodConfig, spec.PushMethod.MethodConfig) {
		p.openTarget()
	}
	if db := spec.PushMethod.DBMethod.DBMethodName; db != "" &&
		(before == nil || before.PushMethod.DBMethod.DBMethodName != db) {
		logs.InfoS("Writing to a database is not supported, dbMethod is ignored",
			"device", p.owner.id, "property", spec.PropertyName, "dbMethod", db)
	}
	if desired != p.desired {
		p.desired, p.written, p.nextWrite, p.writeFailed = desired, false, now, 0
		p.reported = time.Time{} // the cloud waits to see its value observed
	}
	p.bind()
}

func (p *property) openTarget() {
	if p.target != nil {
		p.target.Close()
		p.target = nil
	}
	pool, method := p.owner.panel.opts.Push, p.spec.PushMethod
	if pool == nil || method.MethodName == "" {
		return
	}
	target, err := pool.Open(method.MethodName, method.MethodConfig)
	if err != nil {
		logs.ErrorS(err, "Readings are not pushed", "device", p.owner.id, "property", p.spec.PropertyName)
		return
	}
	p.target = target
}

// bind starts, keeps or ends detection. What was learned survives while the settings and the model's entry are the same.
func (p *property) bind() {
	detection := p.owner.panel.opts.Detection
	if detection == nil {
		return
	}
	declared := p.spec.PProperty
	meta := PropertyMeta{
		Namespace: p.owner.namespace, Device: p.owner.name, Model: p.owner.applied.Model, Property: p.spec.PropertyName,
		DataType: declared.DataType, Minimum: declared.Minimum, Maximum: declared.Maximum,
		Unit: declared.Unit, AccessMode: declared.AccessMode, Cycle: readCycle(p.spec),
	}
	var own json.RawMessage
	if p.spec.PushMethod.AnomalyDetectionEnabled {
		own = p.spec.PushMethod.AnomalyDetectionConfig
		if own == nil {
			own = json.RawMessage("{}")
		}
	}
	off := func(err error) { // detection has said so itself
		logs.V(2).ErrorS(err, "Anomaly detection is off", "device", p.owner.id, "property", p.spec.PropertyName)
	}
	settings, err := detection.Settings(meta, own)
	if err != nil {
		p.refused = false // what detection has just said stands
		p.unbind()
		p.meta, p.settings, p.refused = meta, nil, true
		off(err)
		return
	}
	var generation uint64
	if g, ok := detection.(interface{ Generation() uint64 }); ok {
		generation = g.Generation()
	}
	if generation == p.generation && meta == p.meta && bytes.Equal(settings, p.settings) && (settings != nil || !p.refused) {
		return
	}
	p.unbind()
	p.meta, p.settings, p.generation = meta, settings, generation
	if settings == nil {
		return
	}
	if p.watcher, err = detection.Bind(meta, settings); err != nil {
		p.watcher, p.refused = nil, true
		off(err)
	}
}

func (p *property) unbind() {
	if p.watcher != nil {
		p.watcher.Close()
		p.watcher = nil
	}
	if p.refused && p.owner.panel.ctx.Err() == nil { // not all is ending
		if f, ok := p.owner.panel.opts.Detection.(interface{ Forget(PropertyMeta) }); ok {
			f.Forget(p.meta)
		}
	}
	p.refused = false
}

func (p *property) close() {
	p.unbind()
	if p.target != nil {
		p.target.Close()
		p.target = nil
	}
}

// restart prepares for a client that was just connected: the device may have forgotten what was written before.
func (p *property) restart(now time.Time) {
	p.next, p.failures, p.timeouts = now, 0, 0
	p.written, p.nextWrite, p.writeFailed = false, now, 0
}

// toWrite reports whether a desired value waits to be written.
func (p *property) toWrite() bool { return !p.written && p.desired != "" && writable(p.spec) }

func (p *property) due() time.Time {
	if p.toWrite() && p.nextWrite.Before(p.next) {
		return p.nextWrite
	}
	return p.next
}

// visit writes the desired value where one is due, else reads. The error says that the client is lost.
func (o *owner) visit(client Client, p *property) error {
	if p.toWrite() && !p.nextWrite.After(time.Now()) {
		return o.writeDesired(client, p)
	}
	reading := o.read(client, p)
	if o.ctx.Err() != nil {
		return errors.Join(o.ctx.Err(), lost(reading.Err)) // a read that was cut off says nothing about the device
	}
	p.scheduleNext(reading)
	o.deliver(p, reading)
	if reading.Err == nil {
		o.recovered(p)
		return nil
	}
	p.failures++
	if p.failures == 1 {
		logs.ErrorS(reading.Err, "Property cannot be read", "device", o.id, "property", p.spec.PropertyName)
	}
	if err := lost(reading.Err); err != nil {
		return fmt.Errorf("read %q: %w", p.spec.PropertyName, err)
	}
	for _, other := range o.props {
		if other.failures < failuresToReconnect {
			return nil
		}
	}
	o.failing = true
	return fmt.Errorf("no property can be read: %w", reading.Err)
}

func (o *owner) recovered(p *property) {
	if p.failures > 0 {
		logs.InfoS("Property can be read again", "device", o.id, "property", p.spec.PropertyName, "failed", p.failures)
		p.failures = 0
	}
	o.retry.Reset()
	if o.failing {
		o.failing, o.nextState = false, time.Now()
	}
}

// scheduleNext keeps the rhythm of the cycle, leaves out what was missed, and visits a property that runs into its
// deadline less and less often, so that it does not take the time of the others.
func (p *property) scheduleNext(r Reading) {
	const rarest = 4 // 16 cycles
	if errors.Is(r.Err, context.DeadlineExceeded) {
		p.timeouts = min(p.timeouts+1, rarest)
	} else {
		p.timeouts = 0
	}
	cycle := readCycle(p.spec) << p.timeouts
	now := time.Now()
	p.next = p.next.Add(cycle)
	if late := now.Sub(p.next); late >= 0 {
		p.next = p.next.Add(late - late%cycle + cycle)
	}
}

func (o *owner) read(client Client, p *property) Reading {
	reading := Reading{
		Namespace: o.namespace, Device: o.name, Property: p.spec.PropertyName,
		Type: strings.ToLower(p.spec.PProperty.DataType),
	}
	var (
		value      any
		text       string
		unreadable error
	)
	spec := p.spec
	err := o.call(o.ctx, o.panel.opts.ReadTimeout, func(ctx context.Context) error {
		read, err := client.Read(ctx, spec)
		if err != nil {
			return err
		}
		value = plainValue(read) // may run code of the driver's author as well
		text, unreadable = formatValue(value)
		return nil
	}, func() { o.closeNow(client) })
	reading.At = time.Now()
	if err != nil {
		reading.Err = err
		return reading
	}
	reading.Value, reading.Text, reading.Err = value, text, unreadable
	return reading
}

func (o *owner) write(client Client, p *property, value any) error {
	spec := p.spec
	return o.call(o.ctx, o.panel.opts.WriteTimeout, func(ctx context.Context) error {
		return client.Write(ctx, spec, value)
	}, func() { o.closeNow(client) })
}

func (o *owner) writeDesired(client Client, p *property) error {
	value, err := convertDesired(p.spec.PProperty.DataType, p.desired)
	if err != nil {
		p.written = true // nothing but another value can change that
		logs.ErrorS(err, "Desired value cannot be used", "device", o.id, "property", p.spec.PropertyName)
		return nil
	}
	if err := o.write(client, p, value); err != nil {
		const longest = time.Minute
		p.writeFailed = min(max(2*p.writeFailed, time.Second), longest)
		p.nextWrite = time.Now().Add(p.writeFailed)
		if o.ctx.Err() == nil {
			logs.ErrorS(err, "Desired value was not written, trying again", "device", o.id,
				"property", p.spec.PropertyName, "in", p.writeFailed)
		}
		return lost(err)
	}
	p.written, p.writeFailed = true, 0
	logs.V(1).InfoS("Desired value written", "device", o.id, "property", p.spec.PropertyName, "value", p.desired)
	return nil
}

// deliver hands one reading to all who want it: detection and consumers get each, twin and push one per reportCycle.
func (o *owner) deliver(p *property, r Reading) {
	if r.Err == nil {
		o.keep(r)
		if p.watcher != nil {
			p.watcher.ObserveAny(r.At, r.Value)
		}
		o.report(p, r)
	}
	for _, c := range o.panel.opts.Consumers {
		o.consume(c, r)
	}
}

func (o *owner) report(p *property, r Reading) {
	// Half a read cycle of tolerance: readings are never exactly on time, and must not slip into the next cycle.
	if cycle := admethod.Cycle(p.spec.ReportCycle, 0); !p.reported.IsZero() && r.At.Sub(p.reported) < cycle-readCycle(p.spec)/2 {
		return
	}
	p.reported = r.At
	if p.spec.ReportToCloud && o.panel.opts.Reporter != nil {
		twin := common.Twin{PropertyName: p.spec.PropertyName, Property: p.spec, Reported: reported(r)}
		twin.ObservedDesired = common.TwinProperty{Value: p.desired, Metadata: twin.Reported.Metadata}
		o.panel.opts.Reporter.Report(o.namespace, o.name, twin)
	}
	if p.target != nil {
		p.target.Push(common.DataModel{
			Namespace: o.namespace, DeviceName: o.name, PropertyName: p.spec.PropertyName,
			Value: r.Text, Type: r.Type, TimeStamp: r.At.UnixMilli(),
		})
	}
}

func (o *owner) consume(c Consumer, r Reading) {
	defer guard.Recover("a consumer of readings")
	c.Consume(r)
}

// reported is a reading as a twin carries it. Timestamps are milliseconds since 1970, as everywhere in KubeEdge.
func reported(r Reading) common.TwinProperty {
	return common.TwinProperty{Value: r.Text, Metadata: common.Metadata{
		Type: r.Type, Timestamp: strconv.FormatInt(r.At.UnixMilli(), 10),
	}}
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubeedge/mapper-framework/pkg/common"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/guard"
	"github.com/kubeedge/edge-anomaly/pkg/logs"
	"github.com/kubeedge/edge-anomaly/pkg/wait"
)

// owner runs one device. Its goroutine alone calls the client, so clients see one call after the other.
type owner struct {
	panel           *Panel
	id              string
	namespace, name string
	ctx             context.Context
	cancel          context.CancelFunc
	done            chan struct{}   // closed when the client is closed
	after           <-chan struct{} // a device of the same name that is still closing; nil if none
	wake            chan struct{}   // capacity 1: the specification or the configuration has changed
	requests        chan request
	stuck           atomic.Int32 // calls that the driver has not returned from

	mu    sync.Mutex
	spec  *common.DeviceInstance // what the device is to be; never written to once it is here
	last  map[string]Reading     // last good reading of each property
	state string                 // as the driver says; "" before it does
	told  string                 // reported last: that, and what verdicts make of it
	// watched are the properties that detection was asked to watch; nil as long as that is not known.
	watched map[string]bool

	// Only for the goroutine of the owner:
	applied *common.DeviceInstance
	props   []*property // in the order of the specification
	retry   wait.Backoff
	failing bool // connects, but no read succeeds

	nextState time.Time // when to ask for the state
}

// errReconfigured ends a connection whose settings are no longer those of the device.
var errReconfigured = errors.New("protocol settings have changed")

func newOwner(p *Panel, spec *common.DeviceInstance, after <-chan struct{}) *owner {
	o := &owner{
		panel: p, id: spec.ID, namespace: spec.Namespace, name: spec.Name,
		done: make(chan struct{}), after: after,
		wake: make(chan struct{}, 1), requests: make(chan request),
		spec: spec, last: make(map[string]Reading), told: common.DeviceStatusUnknown,
		retry: wait.Backoff{First: p.opts.RetryMin, Longest: p.opts.RetryMax},
	}
	o.ctx, o.cancel = context.WithCancel(p.ctx)
	return o
}

func (o *owner) signal() {
	wait.Wake(o.wake)
}

func (o *owner) update(spec *common.DeviceInstance) {
	o.mu.Lock()
	o.spec = spec
	o.mu.Unlock()
	o.signal()
}

func (o *owner) current() *common.DeviceInstance {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.spec
}

func (o *owner) lastState() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told
}

func (o *owner) snapshot() *common.DeviceInstance {
	o.mu.Lock()
	spec, last := o.spec, maps.Clone(o.last)
	o.mu.Unlock()
	spec = cloneInstance(spec)
	for i := range spec.Twins {
		if r, ok := last[spec.Twins[i].PropertyName]; ok {
			spec.Twins[i].Reported = reported(r)
		}
	}
	return spec
}

func (o *owner) run() {
	defer close(o.done)
	defer o.cancel()
	if o.after != nil {
		select {
		case <-o.after:
		case <-o.ctx.Done():
			return
		}
	}
	defer func() { _ = guard.Do("the owner of a device", o.release) }() // is logged
	_ = guard.Do("the owner of a device", func() { o.reconcile() })     // likewise: what it came to is served
	for o.ctx.Err() == nil {
		err := guard.Call("the owner of a device", o.hold)
		switch {
		case o.ctx.Err() != nil:
		case errors.Is(err, errReconfigured):
			o.retry.Reset()
		default:
			o.setState(common.DeviceStatusOffline)
			pause := o.retry.Next()
			logs.ErrorS(err, "Device is offline, connecting again", "device", o.id, "in", pause.Round(time.Millisecond))
			o.idle(pause, err)
		}
	}
}

// hold connects the device and serves it until that is over.
func (o *owner) hold() (err error) {
	client, err := o.connect()
	if err != nil {
		return err
	}
	logs.V(1).InfoS("Device connected", "device", o.id)
	defer func() {
		if !errors.Is(err, errStuck) {
			o.close(client)
		}
	}()
	return o.serve(client)
}

// release ends what belongs to the properties.
func (o *owner) release() {
	for _, p := range o.props {
		p.close()
	}
	if o.panel.ctx.Err() != nil { // stopped with all others, not removed
		return
	}
	if v := o.panel.opts.Verdicts; v != nil {
		v.carriers.set(o.id, nil)
	}
	if o.panel.opts.Reporter != nil {
		o.panel.opts.Reporter.Forget(o.namespace, o.name)
	}
}

func (o *owner) connect() (Client, error) {
	if o.stuck.Load() >= maxStuck {
		return nil, fmt.Errorf("%d calls hang: %w", maxStuck, errStuck)
	}
	var client Client
	dev := cloneInstance(o.applied) // the driver's to keep
	err := o.call(o.ctx, o.panel.opts.ConnectTimeout, func(ctx context.Context) (err error) {
		client, err = o.panel.opts.Driver.Connect(ctx, dev)
		if err == nil && client == nil {
			err = errors.New("the driver returned no client")
		}
		return err
	}, func() {
		if client != nil {
			o.closeNow(client)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if o.ctx.Err() != nil { // connected in the very moment of the end
		o.close(client)
		return nil, o.ctx.Err()
	}
	return client, nil
}

func (o *owner) close(client Client) {
	// The device may be ending: closing gets its own time.
	ctx := context.WithoutCancel(o.ctx)
	if err := o.call(ctx, o.panel.opts.CloseTimeout, client.Close, nil); err != nil {
		logs.ErrorS(err, "Device client did not close cleanly", "device", o.id)
	}
}

// closeNow closes a client whose owner has given it up.
func (o *owner) closeNow(client Client) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(o.ctx), o.panel.opts.CloseTimeout)
	defer cancel()
	if err := protect(ctx, client.Close); err != nil {
		logs.ErrorS(err, "Device client did not close cleanly", "device", o.id)
	}
}

// idle waits before the next connect. A change of the protocol settings ends it early.
func (o *owner) idle(pause time.Duration, reason error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-o.ctx.Done():
			return
		case <-timer.C:
			return
		case <-o.wake:
			if o.reconcile() {
				return
			}
		case r := <-o.requests:
			r.reply <- answer{err: fmt.Errorf("%w: %w", ErrNotConnected, reason)}
		}
	}
}

// serve uses a connected client until it is lost, or no longer wanted. It always returns an error.
func (o *owner) serve(client Client) error {
	o.nextState = time.Now()
	for _, p := range o.props {
		p.restart(o.nextState)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p, at := o.nextDue()
		timer.Reset(time.Until(at))
		var err error
		select {
		case <-o.ctx.Done():
			return o.ctx.Err()
		case <-o.wake:
			if o.reconcile() {
				return errReconfigured
			}
		case r := <-o.requests:
			err = o.answer(client, r)
		case <-timer.C:
			if p == nil {
				err = o.askState(client)
			} else {
				err = o.visit(client, p)
			}
		}
		if err != nil {
			return err
		}
	}
}

// answer does what a caller asked for. The error says that the client is lost.
func (o *owner) answer(client Client, r request) error {
	p := o.property(r.property)
	if p == nil {
		verdict, carries := o.verdict(o.applied, r.property)
		if r.write || carries == nil {
			r.reply <- answer{err: errUnknown}
		} else {
			r.reply <- answer{reading: verdict}
		}
		return nil
	}
	var reading Reading
	var err error
	if r.write {
		err = o.write(client, p, r.value)
	} else {
		reading = o.read(client, p)
		if err = reading.Err; err == nil {
			o.keep(reading)
		}
	}
	r.reply <- answer{reading: reading, err: err}
	return lost(err)
}

// lost passes on only those errors that end the use of a client.
func lost(err error) error {
	if errors.Is(err, ErrNotConnected) || errors.Is(err, errStuck) {
		return err
	}
	return nil
}

func (o *owner) stateCycle() time.Duration {
	return admethod.Cycle(o.applied.Status.ReportCycle, o.panel.opts.StateCycle)
}

// askState asks the device for its state and reports it. The error says that the client is lost.
func (o *owner) askState(client Client) error {
	o.nextState = time.Now().Add(o.stateCycle())
	var state string
	err := o.call(o.ctx, o.panel.opts.ReadTimeout, func(ctx context.Context) (err error) {
		state, err = client.State(ctx)
		return err
	}, func() { o.closeNow(client) })
	switch {
	case o.ctx.Err() != nil && !errors.Is(err, errStuck):
		return o.ctx.Err()
	case lost(err) != nil:
		return fmt.Errorf("state: %w", err)
	case o.failing:
		state = common.DeviceStatusOffline // whatever the driver believes, the device gives no readings
	case err != nil:
		logs.ErrorS(err, "Device does not tell its state", "device", o.id)
		state = common.DeviceStatusUnhealthy
	default:
		state = knownState(state)
		if len(o.props) == 0 {
			o.retry.Reset() // no read will ever do
		}
	}
	o.mu.Lock()
	o.state = state
	o.mu.Unlock()
	o.reportState(o.applied.Status.ReportToCloud)
	return nil
}

// setState takes over what the driver says.
func (o *owner) setState(state string) {
	o.mu.Lock()
	o.state = state
	o.mu.Unlock()
	o.reportState(false)
}

// reportState reports the state if it differs from the one before, or if it is to be said again. It keeps the lock:
// readings and verdicts change the state from goroutines of their own, and the last report must be the latest.
func (o *owner) reportState(again bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.panel.opts.Verdicts.state(o.key(), o.state)
	if state == "" {
		return
	}
	changed := state != o.told
	if o.told = state; changed {
		logs.V(1).InfoS("Device state", "device", o.id, "state", state)
	}
	if r := o.panel.opts.Reporter; r != nil && (changed || again) {
		r.ReportState(o.namespace, o.name, state)
	}
}

func (o *owner) key() driver.Key { return driver.Key{Namespace: o.namespace, Device: o.name} }

// reconcile makes the properties what the specification says, and reports whether the device must be connected anew.
func (o *owner) reconcile() (reconnect bool) {
	spec := o.current()
	if o.applied != nil {
		reconnect = o.applied.PProtocol.ProtocolName != spec.PProtocol.ProtocolName ||
			!bytes.Equal(o.applied.PProtocol.ConfigData, spec.PProtocol.ConfigData)
	}
	o.applied = spec
	now := time.Now()
	before := make(map[string]*property, len(o.props))
	for _, p := range o.props {
		before[p.spec.PropertyName] = p
	}
	desired := make(map[string]string, len(spec.Twins))
	for _, t := range spec.Twins {
		desired[t.PropertyName] = t.ObservedDesired.Value
	}
	o.props = make([]*property, 0, len(spec.Properties))
	var carriers []string // twins of verdicts
	var gone []int        // and those that were such twins, of properties that are no more
	for i := range spec.Properties {
		name := spec.Properties[i].PropertyName
		if _, verdicts := o.panel.opts.Verdicts.reports(name, spec.Properties); verdicts != nil {
			carriers = append(carriers, name)
			continue
		}
		if o.panel.opts.Verdicts.carries(o.id, &spec.Properties[i]) {
			gone = append(gone, i)
			continue
		}
		p, ok := before[name]
		if !ok {
			p = &property{owner: o, next: now}
		}
		delete(before, name)
		o.props = append(o.props, p)
		p.apply(&spec.Properties[i], desired[name], now)
	}
	for name, p := range before {
		p.close()
		o.mu.Lock()
		delete(o.last, name)
		o.mu.Unlock()
	}
	o.setWatched()
	o.reportVerdicts(spec, carriers, gone)
	return reconnect
}

func (o *owner) property(name string) *property {
	for _, p := range o.props {
		if p.spec.PropertyName == name {
			return p
		}
	}
	return nil
}

// nextDue is what comes next, and when: a property to visit, or nil for the state.
func (o *owner) nextDue() (first *property, at time.Time) {
	at = o.nextState
	for _, p := range o.props {
		if due := p.due(); due.Before(at) || first == nil && due.Equal(at) {
			first, at = p, due
		}
	}
	return first, at
}

func (o *owner) keep(r Reading) {
	o.mu.Lock()
	o.last[r.Property] = r
	o.mu.Unlock()
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"context"
	"fmt"
	"time"
)

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	EventRegistered   EventKind = "mapper registered"
	EventPushed       EventKind = "pushed"        // Detail names the DMI method
	EventPushFailed   EventKind = "push failed"   // Detail names the DMI method and the error
	EventTwin         EventKind = "twin reported" // Value is what the mapper sent
	EventTwinDropped  EventKind = "twin dropped"  // an illegal value or an unknown property; the call succeeded
	EventState        EventKind = "state reported"
	EventStateDropped EventKind = "state dropped" // an unknown state or device; the call succeeded
	EventThrottled    EventKind = "throttled"     // the limiter refused a call; Detail names the DMI method
	EventDropped      EventKind = "device dropped"
	EventCrashed      EventKind = "crashed"
	EventStopped      EventKind = "stopped"
)

// Event is one thing that happened. Fields that do not apply are empty.
type Event struct {
	At                          time.Time
	Kind                        EventKind
	Namespace, Device, Property string
	Value, Detail               string
}

// String is one line for a log.
func (ev Event) String() string {
	s := string(ev.Kind)
	if ev.Device != "" {
		s += " " + ev.Namespace + "/" + ev.Device
	}
	if ev.Property != "" {
		s += " " + ev.Property
	}
	if ev.Value != "" {
		s += fmt.Sprintf(" = %q", ev.Value)
	}
	if ev.Detail != "" {
		s += ": " + ev.Detail
	}
	return s
}

func (e *EdgeCore) emit(ev Event) {
	if e.opts.OnEvent == nil {
		return
	}
	ev.At = time.Now()
	e.opts.OnEvent(ev)
}

// Counts are totals since New.
type Counts struct {
	Starts, Crashes int
	// Calls that reached the service, by method, whether answered with an error or not, and how many of them the
	// limiter refused.
	MapperRegister, ReportDeviceStatus, ReportDeviceStates, Throttled int
	// Twins inside accepted ReportDeviceStatus calls: all, and those dropped for an illegal value or an unknown
	// property or device.
	Twins, TwinsDropped int
	// States dropped because they or their device are unknown.
	StatesDropped int
	// Twins and states that were accepted and lost because the cloud was away.
	Lost int
	// Calls to mappers, and those that failed.
	Pushes, PushErrors int
}

// Counts returns the totals so far.
func (e *EdgeCore) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts
}

// notifyLocked wakes those who wait for a condition. The caller holds mu.
func (e *EdgeCore) notifyLocked() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Wait blocks until cond is true. It asks again after each thing that happens here; cond may call any method of e.
// It returns an error that wraps ctx's when ctx ends first.
func (e *EdgeCore) Wait(ctx context.Context, cond func() bool) error {
	for {
		e.mu.Lock()
		changed := e.changed
		e.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("edgecore: condition not met: %w", ctx.Err())
		}
	}
}

// WaitTwin blocks until the cloud sees the value for a twin.
func (e *EdgeCore) WaitTwin(ctx context.Context, namespace, device, property, value string) error {
	err := e.Wait(ctx, func() bool {
		t, ok := e.Twin(namespace, device, property)
		return ok && t.Reported == value
	})
	if err != nil {
		cloud, _ := e.Twin(namespace, device, property)
		edge, _ := e.EdgeTwin(namespace, device, property)
		return fmt.Errorf("twin %s/%s %s: want %q, the cloud has %q after %d reports, the edge %q: %w",
			namespace, device, property, value, cloud.Reported, cloud.Reports, edge.Reported, err)
	}
	return nil
}

// WaitState blocks until a device has the state.
func (e *EdgeCore) WaitState(ctx context.Context, namespace, device, state string) error {
	if err := e.Wait(ctx, func() bool { return e.State(namespace, device) == state }); err != nil {
		return fmt.Errorf("state of %s/%s: want %q, have %q: %w", namespace, device, state, e.State(namespace, device), err)
	}
	return nil
}

// WaitMapper blocks until a mapper that takes pushes has registered for the protocol.
func (e *EdgeCore) WaitMapper(ctx context.Context, protocol string) error {
	err := e.Wait(ctx, func() bool { _, ok := e.MapperSocket(protocol); return ok })
	if err != nil {
		return fmt.Errorf("no mapper for protocol %q: %w", protocol, err)
	}
	return nil
}

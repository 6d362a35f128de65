// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package edgecoretest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	dmiapi "github.com/kubeedge/api/apis/dmi/v1beta1"
	"google.golang.org/protobuf/proto"
)

// Twin is one property of a device as reported.
type Twin struct {
	Reported        string
	ObservedDesired string
	Metadata        map[string]string // of Reported; never reaches the cloud
	Reports         int               // how many reports were accepted
}

type twinID struct{ device, property string }

type twinEntry struct{ edge, cloud Twin }

var (
	legalTwinKey   = regexp.MustCompile(`^[a-zA-Z0-9-_.,:/@#]{1,128}$`)
	legalTwinValue = regexp.MustCompile(`^[a-zA-Z0-9-_.,:/@#]{1,512}$`)
	legalStates    = []string{"online", "offline", "ok", "unhealthy", "unknown"}
)

// lostOnTheWay is what edgecore logs, and tells no mapper.
const lostOnTheWay = "failed to send message to cloud"

func resourceID(namespace, name string) string { return namespace + "/" + name }

// Twin returns a twin as the cloud sees it: Reported is empty after the first report, and Metadata is nil.
// ok is false before the first accepted report.
func (e *EdgeCore) Twin(namespace, device, property string) (t Twin, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if entry := e.twins[twinID{resourceID(namespace, device), property}]; entry != nil {
		return entry.cloud, true
	}
	return Twin{}, false
}

// EdgeTwin returns a twin as edgecore received it.
func (e *EdgeCore) EdgeTwin(namespace, device, property string) (t Twin, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if entry := e.twins[twinID{resourceID(namespace, device), property}]; entry != nil {
		t = entry.edge
		t.Metadata = maps.Clone(t.Metadata)
		return t, true
	}
	return Twin{}, false
}

// State returns the state of a device as the cloud sees it: the last legal one that reached it, or "".
func (e *EdgeCore) State(namespace, device string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.states[resourceID(namespace, device)]
}

// MapperSocket returns the socket of the mapper that takes the pushes of a protocol.
func (e *EdgeCore) MapperSocket(protocol string) (socket string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	socket, ok = e.sockets[protocol]
	return socket, ok
}

// service is DeviceManagerService for one life of the process.
type service struct {
	dmiapi.UnimplementedDeviceManagerServiceServer
	core *EdgeCore
	run  *run
}

// die never answers: the process is gone before it could.
func (s *service) die(ctx context.Context, why error) error {
	err := s.core.crash(s.run, why)
	<-ctx.Done()
	return err
}

// admit counts a call, hangs while paused, and asks the limiter.
func (s *service) admit(ctx context.Context, count func(*Counts) *int, refusal, method string) error {
	e := s.core
	e.mu.Lock()
	*count(&e.counts)++
	e.notifyLocked()
	resume := e.resume
	e.mu.Unlock()
	if resume != nil {
		select {
		case <-resume:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.mu.Lock()
	allowed := e.limiter.Allow()
	if !allowed {
		e.counts.Throttled++
		e.notifyLocked()
	}
	e.mu.Unlock()
	if !allowed {
		e.emit(Event{Kind: EventThrottled, Detail: method})
		// A plain error, so that it arrives with code Unknown: only its text tells what happened.
		return errors.New(refusal)
	}
	return nil
}

func (s *service) MapperRegister(ctx context.Context, in *dmiapi.MapperRegisterRequest) (*dmiapi.MapperRegisterResponse, error) {
	mapper := in.GetMapper()
	if mapper == nil {
		return nil, s.die(ctx, errors.New("MapperRegister without mapper: nil dereference"))
	}
	err := s.admit(ctx, func(c *Counts) *int { return &c.MapperRegister },
		"fail to register mapper because of too many request: "+mapper.GetName(), "MapperRegister")
	if err != nil {
		return nil, err
	}
	if mapper.GetProtocol() == "" {
		return nil, fmt.Errorf("fail to register mapper %s because the protocol is nil", mapper.GetName())
	}
	return s.core.register(mapper, in.GetWithData()), nil
}

// register saves a mapper. Only one that asks for data takes pushes at once; another one after the next restart,
// when edgecore reads its database.
func (e *EdgeCore) register(mapper *dmiapi.MapperInfo, withData bool) *dmiapi.MapperRegisterResponse {
	resp := &dmiapi.MapperRegisterResponse{}
	var dropped []Event
	e.mu.Lock()
	saved := proto.CloneOf(mapper)
	e.mappers = slices.DeleteFunc(e.mappers, func(m *dmiapi.MapperInfo) bool { return m.GetName() == mapper.GetName() })
	e.mappers = append(e.mappers, saved)
	if withData {
		for _, id := range slices.Sorted(maps.Keys(e.devices)) {
			d := e.devices[id].device
			if d.Spec.Protocol.ProtocolName != mapper.GetProtocol() {
				continue
			}
			model := e.modelOfLocked(d)
			if model == nil {
				dropped = append(dropped, deviceEvent(EventDropped, d, "its model is unknown"))
				continue
			}
			dev, err := ConvertDevice(d, model)
			if err != nil {
				dropped = append(dropped, deviceEvent(EventDropped, d, err.Error()))
				continue
			}
			mod, err := ConvertModel(model)
			if err != nil {
				dropped = append(dropped, deviceEvent(EventDropped, d, err.Error()))
				continue
			}
			// One model a device, repeated where devices share it.
			resp.DeviceList = append(resp.DeviceList, dev)
			resp.ModelList = append(resp.ModelList, mod)
		}
		e.sockets[mapper.GetProtocol()] = string(mapper.GetAddress())
	}
	e.notifyLocked()
	e.mu.Unlock()
	for _, ev := range dropped {
		e.emit(ev)
	}
	e.emit(Event{Kind: EventRegistered, Detail: fmt.Sprintf("%s for protocol %s with %d devices",
		mapper.GetName(), mapper.GetProtocol(), len(resp.DeviceList))})
	return resp
}

func (s *service) ReportDeviceStatus(ctx context.Context, in *dmiapi.ReportDeviceStatusRequest) (*dmiapi.ReportDeviceStatusResponse, error) {
	err := s.admit(ctx, func(c *Counts) *int { return &c.ReportDeviceStatus },
		"fail to report device status because of too many request: "+in.GetDeviceName(), "ReportDeviceStatus")
	if err != nil {
		return nil, err
	}
	twins := in.GetReportedDevice().GetTwins()
	if twins == nil {
		return nil, errors.New("ReportDeviceStatusRequest does not have twin data")
	}
	for _, t := range twins {
		if t == nil || t.GetObservedDesired() == nil || t.GetReported() == nil {
			return nil, s.die(ctx, fmt.Errorf("twin %q of device %s/%s without observedDesired or reported: nil dereference",
				t.GetPropertyName(), in.GetDeviceNamespace(), in.GetDeviceName()))
		}
		s.core.acceptTwin(in.GetDeviceNamespace(), in.GetDeviceName(), t)
	}
	return &dmiapi.ReportDeviceStatusResponse{}, nil
}

func (e *EdgeCore) acceptTwin(namespace, device string, t *dmiapi.Twin) {
	ev := Event{Kind: EventTwin, Namespace: namespace, Device: device, Property: t.GetPropertyName(), Value: t.GetReported().GetValue()}
	id := twinID{resourceID(namespace, device), t.GetPropertyName()}
	legal := func(v string) bool { return v == "" || legalTwinValue.MatchString(v) }

	e.mu.Lock()
	e.counts.Twins++
	switch {
	case !legalTwinKey.MatchString(id.property), !legal(t.GetReported().GetValue()), !legal(t.GetObservedDesired().GetValue()):
		ev.Kind, ev.Detail = EventTwinDropped, "illegal characters or too long"
	case e.devices[id.device] == nil:
		ev.Kind, ev.Detail = EventTwinDropped, "unknown device"
	case e.devices[id.device].property(id.property) == nil:
		ev.Kind, ev.Detail = EventTwinDropped, "unknown property"
	}
	if ev.Kind == EventTwinDropped {
		e.counts.TwinsDropped++
	} else {
		entry := e.twins[id]
		if entry == nil {
			entry = &twinEntry{}
			e.twins[id] = entry
		}
		n := entry.edge.Reports + 1
		entry.edge = Twin{
			Reported:        t.GetReported().GetValue(),
			ObservedDesired: t.GetObservedDesired().GetValue(),
			Metadata:        maps.Clone(t.GetReported().GetMetadata()),
			Reports:         n,
		}
		switch {
		case e.cut:
			e.counts.Lost++
			ev.Detail = lostOnTheWay
		case entry.cloud.Reports == 0: // the first one is lost on its way
			entry.cloud.Reports++
		default:
			entry.cloud.Reports++
			entry.cloud.Reported, entry.cloud.ObservedDesired = entry.edge.Reported, entry.edge.ObservedDesired
		}
	}
	e.notifyLocked()
	e.mu.Unlock()
	e.emit(ev)
}

func (s *service) ReportDeviceStates(ctx context.Context, in *dmiapi.ReportDeviceStatesRequest) (*dmiapi.ReportDeviceStatesResponse, error) {
	err := s.admit(ctx, func(c *Counts) *int { return &c.ReportDeviceStates },
		"fail to report device states because of too many request: "+in.GetDeviceName(), "ReportDeviceStates")
	if err != nil {
		return nil, err
	}
	if in.GetState() == "" || in.GetDeviceName() == "" {
		return nil, errors.New("ReportDeviceStatesRequest is invalid data")
	}
	s.core.acceptState(in.GetDeviceNamespace(), in.GetDeviceName(), in.GetState())
	return &dmiapi.ReportDeviceStatesResponse{}, nil
}

func (e *EdgeCore) acceptState(namespace, device, state string) {
	ev := Event{Kind: EventState, Namespace: namespace, Device: device, Value: state}
	id := resourceID(namespace, device)
	e.mu.Lock()
	switch {
	case e.devices[id] == nil || !slices.Contains(legalStates, state):
		ev.Kind = EventStateDropped
		e.counts.StatesDropped++
	case e.cut:
		e.counts.Lost++
		ev.Detail = lostOnTheWay
	default:
		e.states[id] = state
	}
	e.notifyLocked()
	e.mu.Unlock()
	e.emit(ev)
}

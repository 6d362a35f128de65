// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeedge/api/apis/devices/v1beta1"
)

// paced is a sensor that runs at the pace of the field, as the manifest has it, in a room of its own whose day has 24
// hours: what is found and lasts in a twentieth of the time might not do so there.
type paced struct {
	fault    fault
	room     *roomClient
	outcome  outcome
	injected int // readings before the fault
}

// paceFaults come as soon as the detectors have learned.
var paceFaults = []fault{
	sensorFault("jump", stream{"temperature-sensor-2", "temperature"}),
	sensorFault("freeze", stream{"temperature-sensor-3", "temperature"}),
}

const (
	paceWarm  = 105 // readings before the fault: the detector's first verdict is on the 101st
	paceFound = 15  // readings within which it is to be found
	paceLasts = 30  // readings at least for which it lasts then, and the verdict with it
)

// addPaced adds the sensors at the pace of the field. They share nothing with the others but the mapper.
func (s *stage) addPaced(ctx context.Context, devices []*v1beta1.Device) error {
	for _, d := range devices {
		if d.Name != temperature.device {
			continue
		}
		for _, p := range s.paced {
			own := d.DeepCopy()
			own.Name = p.fault.of.device
			own.Spec.Protocol.ConfigData.Data["baseURL"] = p.room.url
			s.properties[own.Name] = s.properties[d.Name]
			if err := s.core.AddDevice(ctx, own); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the manifests have no %s", temperature.device)
}

// breakAtPace injects the faults at the pace of the field and waits until they are found. They last on.
func (s *story) breakAtPace(ctx context.Context) error {
	s.print("\n" + s.paint(bold, "At the pace of the field, a reading a second, with what 105 readings have taught."))
	for _, p := range s.paced {
		of := p.fault.of
		if err := s.watch.wait(ctx, (paceWarm+60)*time.Second, func() bool { return s.watch.readings(of) >= paceWarm }); err != nil {
			return fmt.Errorf("%v: learning what is normal: %w", of, err)
		}
		s.watch.disturb(of)
		injected := time.Now()
		p.outcome, p.injected = outcome{fault: p.fault, injected: s.since(injected)}, s.watch.readings(of)
		s.say(bold, "fault     %v", p.fault)
		if err := p.room.post(ctx, p.fault.path, p.fault.body); err != nil {
			return err
		}
	}
	for _, p := range s.paced {
		o, of := &p.outcome, p.fault.of
		err := s.watch.wait(ctx, 2*paceFound*time.Second, func() bool {
			alarm, _ := s.watch.raised(of)
			return alarm != nil || s.watch.readings(of) >= p.injected+paceFound
		})
		if err != nil && !errors.Is(err, errTimeout) {
			return err
		}
		if o.alarm, o.readings = s.watch.raised(of); o.alarm != nil {
			o.after = o.alarm.At.Sub(s.started.Add(o.injected))
		}
	}
	return nil
}

// lastAtPace looks, after the faults have lasted for a while, whether the verdicts have lasted with them, without a
// reading that was normal, in one incident that is open yet.
func (s *story) lastAtPace(ctx context.Context) error {
	for _, p := range s.paced {
		o, of := &p.outcome, p.fault.of
		if o.alarm != nil {
			if err := s.watch.wait(ctx, 2*paceLasts*time.Second, func() bool {
				return s.watch.readings(of) >= p.injected+o.readings+paceLasts
			}); err != nil {
				return fmt.Errorf("%v: watching while it lasts: %w", p.fault, err)
			}
			o.blamed, o.received = s.watch.blamed(of), s.received(p.fault)
			lasts := s.watch.readings(of) - p.injected - o.readings + 1
			if normal, ended := s.watch.lapses(of); normal > 0 || ended > 0 {
				o.lapse = fmt.Sprintf("%d of the %d verdicts since were normal, and %d incidents have ended, while it lasts", normal, lasts, ended)
			} else {
				s.say(plain, "demo      %v: the verdict lasts as the fault does, %d readings by now", p.fault, lasts)
			}
			if state := s.core.State(namespace, of.device); o.lapse == "" && state != "unhealthy" {
				o.lapse = fmt.Sprintf("its state at EdgeCore is %q", state)
			}
		}
		s.atPace = append(s.atPace, *o)
		if err := p.room.post(ctx, p.fault.path, p.fault.clear); err != nil {
			return err
		}
	}
	return nil
}

// lapses are the normal verdicts on a stream since its fault was found, and its incidents that ended since.
func (w *watch) lapses(s stream) (normal, ended int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.of(s)
	for _, t := range w.told {
		if t.stream == s && j.alarm != nil && !t.incident.Start.Before(j.alarm.At) {
			ended++
		}
	}
	return j.lapses, ended
}

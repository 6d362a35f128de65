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

// atPace is a sensor that runs at the pace of the field, in a room whose day has 24 hours: what is found in a twentieth of
// the time might not be found there.
var atPace = stream{"temperature-sensor-2", "temperature"}

const (
	paceWarm  = 110 // readings before its fault: a minute or two, during which the other rounds go on
	paceLasts = 20  // readings that the fault lasts, and the verdict with it
)

// addAtPace adds the sensor, in a room of its own.
func (s *stage) addAtPace(ctx context.Context, devices []*v1beta1.Device) error {
	for _, d := range devices {
		if d.Name != temperature.device {
			continue
		}
		own := d.DeepCopy()
		own.Name = atPace.device
		own.Spec.Protocol.ConfigData.Data["baseURL"] = s.slow.url
		s.properties[own.Name] = s.properties[d.Name]
		return s.core.AddDevice(ctx, own)
	}
	return fmt.Errorf("the manifests have no %s", temperature.device)
}

// tellAtPace is the round at the pace of the field: a jump of the temperature, which is found within two readings and then
// held for as long as it lasts.
func (s *story) tellAtPace(ctx context.Context) ([]outcome, error) {
	f := sensorFault("jump", atPace)
	s.say(plain, "demo      %v runs at the pace of the field, a reading a second", atPace)
	if err := s.watch.wait(ctx, (paceWarm+60)*time.Second, func() bool { return s.watch.readings(atPace) >= paceWarm && s.watch.calm(atPace) }); err != nil {
		return nil, fmt.Errorf("learning what is normal at the pace of the field: %w", err)
	}
	s.watch.disturb(atPace)
	injected, before := time.Now(), s.watch.readings(atPace)
	o := outcome{fault: f, injected: s.since(injected)}
	s.say(bold, "fault     %v", f)
	if err := s.slow.post(ctx, f.path, f.body); err != nil {
		return nil, err
	}
	err := s.watch.wait(ctx, detectLimit, func() bool {
		alarm, _ := s.watch.raised(atPace)
		return alarm != nil
	})
	if err != nil && !errors.Is(err, errTimeout) {
		return nil, err
	}
	o.alarm, o.readings = s.watch.raised(atPace)
	o.blamed = s.watch.blamed(atPace)
	if o.alarm == nil {
		return []outcome{o}, s.slow.post(ctx, f.path, f.clear)
	}
	o.after = o.alarm.At.Sub(injected)
	from := s.watch.readings(atPace)
	if err := s.watch.wait(ctx, detectLimit+2*paceLasts*time.Second, func() bool {
		return s.watch.readings(atPace) >= from+paceLasts || s.watch.calmFor(atPace) > 0
	}); err != nil {
		return nil, err
	}
	o.received = s.received(f)
	if lasted := s.watch.readings(atPace) - from; s.watch.calmFor(atPace) > 0 {
		return []outcome{o}, fmt.Errorf("%v: the verdict was normal again after %d readings, while the fault lasts", f, lasted)
	}
	s.say(plain, "demo      the verdict lasted as the fault did, %d readings", s.watch.readings(atPace)-before)
	s.watch.settled(atPace)
	return []outcome{o}, s.slow.post(ctx, f.path, f.clear)
}

// calmFor is how many normal readings in a row a stream has had.
func (w *watch) calmFor(s stream) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.of(s).calm
}

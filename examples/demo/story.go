// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	namespace = "default"
	// What the steps may take on a machine that has other things to do; they usually take a fraction of it.
	startLimit  = 30 * time.Second
	switchLimit = 15 * time.Second
	warmLimit   = 60 * time.Second
	detectLimit = 15 * time.Second
	settleLimit = 40 * time.Second

	warmReadings  = 300 // of the temperature, before the first fault
	quietReadings = 30  // between faults, in which nothing may be found
	lastReadings  = 40  // for which a fault lasts on, once it is found
	dwellReadings = 30  // in each state of the lights, of a device that is suspected
)

// The properties that the story is about.
var (
	light1      = stream{"light-1", "powerstatus"}
	light2      = stream{"light-2", "powerstatus"}
	brightness  = stream{"brightness-sensor-1", "brightness"}
	temperature = stream{"temperature-sensor-1", "temperature"}

	group   = []stream{light1, light2, brightness} // judged together, as a group
	watched = append(slices.Clone(group), temperature)
)

// wish is what the cloud wants of a light.
type wish struct {
	light stream
	value string
}

// fault is one thing that goes wrong.
type fault struct {
	name        string
	of          stream
	path        string // of the simulator, where it is posted
	body, clear string
	involves    []stream // on which an alarm is due, or at least justified
	reported    []stream // that are shown as EdgeCore has them

	// The lights are switched before the fault comes, while it lasts, and after it is cleared, when the devices that were
	// blamed have to show that they are sound.
	before, during, after []wish

	look bool // show what people see of it
}

func (f fault) shown() fault {
	f.look = true
	return f
}

func (f fault) String() string { return f.of.device + " " + f.name }

func sensorFault(name string, of stream) fault {
	return fault{
		name: name, of: of, path: "/sensors/" + of.property + "/fault", body: name, clear: "none",
		involves: []stream{of}, reported: []stream{of},
	}
}

// stuckSensor freezes the brightness sensor while both lights shine. Light 2 is switched off, and what the sensor says
// then might as well be a light that shines although it reports OFF. With light 1 off, too, two lights would have to.
func stuckSensor() fault {
	f := sensorFault("freeze", brightness)
	f.involves = group
	f.during, f.after = []wish{{light2, "OFF"}, {light1, "OFF"}}, []wish{{light1, "ON"}, {light2, "ON"}}
	return f
}

// highSensor makes the brightness sensor read 5 too much. The group knows four states of it, and takes any more than 3
// for 3: it contradicts the lights as long as they are not both on.
func highSensor() fault {
	f := sensorFault("jump", brightness)
	f.before, f.after = []wish{{light1, "OFF"}, {light2, "OFF"}}, []wish{{light1, "ON"}, {light2, "ON"}}
	return f
}

// darkLight leaves light 1 dark, which reports ON. As long as nothing changes, the sensor might as well be wrong. But with
// light 1 off everything agrees, and when light 2 is switched then, the sensor is seen to follow.
func darkLight() fault {
	return fault{
		name: "dark", of: light1, path: "/lights/light1/fault", body: "1", clear: "0",
		involves: []stream{light1, brightness}, reported: []stream{light1, brightness},
		during: []wish{{light1, "OFF"}, {light2, "OFF"}, {light1, "ON"}},
		after:  []wish{{light1, "OFF"}, {light1, "ON"}, {light2, "ON"}},
	}
}

var faults = []fault{
	sensorFault("freeze", temperature),
	sensorFault("drift", temperature),
	highSensor(),
	sensorFault("noise", temperature),
	darkLight(),
	sensorFault("jump", temperature).shown(),
	stuckSensor(),
	sensorFault("dropout", temperature),
}

// story is what the demo shows.
type story struct {
	*stage
	outcomes  []outcome
	elsewhere []outcome // of the second round
	atPace    []outcome // of the round at the pace of the field
}

// rounds brings each light into each state.
var rounds = []wish{
	{light1, "ON"}, {light2, "ON"}, {light1, "OFF"}, {light2, "OFF"}, {light2, "ON"}, {light1, "ON"},
}

// tell lets it happen. The error says why it could not go on; what was found is in the outcomes.
func (s *story) tell(ctx context.Context) error {
	if err := s.switchLights(ctx, rounds...); err != nil {
		return fmt.Errorf("switching lights: %w", err)
	}
	s.say(plain, "demo      detectors are learning")
	if err := s.watch.wait(ctx, warmLimit, func() bool {
		return s.watch.calm(watched...) && s.watch.readings(temperature) >= warmReadings
	}); err != nil {
		return fmt.Errorf("learning what is normal: %w", err)
	}
	for _, f := range faults {
		if err := s.breakDown(ctx, f); err != nil {
			return fmt.Errorf("%v: %w", f, err)
		}
	}
	return nil
}

// switchLights has the cloud wish for states of the lights and waits until it sees them come true.
func (s *story) switchLights(ctx context.Context, wishes ...wish) error {
	for _, w := range wishes {
		began := time.Now()
		if err := s.core.SetDesired(ctx, namespace, w.light.device, w.light.property, w.value); err != nil {
			return err
		}
		within, cancel := context.WithTimeoutCause(ctx, switchLimit, errTimeout)
		err := s.core.WaitTwin(within, namespace, w.light.device, w.light.property, w.value)
		cancel()
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		state, err := s.room.get(ctx, "/lights/"+simulated(w.light))
		if err != nil {
			return err
		}
		if state != switched[w.value] {
			return fmt.Errorf("EdgeCore was told that %s is %s, but the light itself says %q", w.light.device, w.value, state)
		}
		s.say(plain, "edgecore  desired %v %s: reported %s after %.1f s", w.light, w.value, w.value, time.Since(began).Seconds())
	}
	return nil
}

// breakDown injects a fault, waits for the verdict, clears the fault, and waits until all is normal again.
func (s *story) breakDown(ctx context.Context, f fault) error {
	if err := s.switchLights(ctx, f.before...); err != nil {
		return err
	}
	s.watch.disturb(f.involves...)
	injected := time.Now()
	o := outcome{fault: f, injected: s.since(injected)}
	s.say(bold, "fault     %v", f)
	if err := s.room.post(ctx, f.path, f.body); err != nil {
		return err
	}
	if err := s.investigate(ctx, f); err != nil {
		return err
	}
	o.alarm, o.readings = s.watch.raised(f.involves...)
	o.blamed = s.watch.blamed(f.involves...)
	if o.alarm != nil {
		o.after = o.alarm.At.Sub(injected)
		if err := s.awaitReport(ctx, f); err != nil {
			return err
		}
	}
	if o.alarm != nil && len(f.during) == 0 { // a fault that is found goes on nevertheless
		clock := temperature // of another sensor: this one may be silent
		if f.of == temperature {
			clock = brightness
		}
		seen := s.watch.readings(clock)
		if err := s.watch.wait(ctx, settleLimit, func() bool { return s.watch.readings(clock) >= seen+lastReadings }); err != nil {
			return fmt.Errorf("watching while it lasts: %w", err)
		}
	}
	o.received = s.received(f)
	s.outcomes = append(s.outcomes, o)
	if o.alarm == nil {
		s.say(yellow, "demo      no verdict on it. EdgeCore has %s", o.received)
	} else {
		s.say(plain, "edgecore  has received %s", o.received)
	}
	if f.look && o.alarm != nil {
		if err := s.look(ctx, f); err != nil {
			return err
		}
	}

	if err := s.room.post(ctx, f.path, f.clear); err != nil {
		return err
	}
	for _, w := range f.after {
		if err := s.dwell(ctx); err != nil {
			return err
		}
		if err := s.switchLights(ctx, w); err != nil {
			return err
		}
	}
	cleared := s.watch.readings(temperature)
	if err := s.watch.wait(ctx, settleLimit, func() bool {
		return s.watch.calm(watched...) && s.watch.readings(temperature) >= cleared+calmReadings
	}); err != nil {
		return fmt.Errorf("waiting for normal verdicts after it was cleared: %w", err)
	}
	s.watch.settled(f.involves...)
	if err := s.watch.wait(ctx, settleLimit, func() bool {
		return s.watch.readings(temperature) >= cleared+calmReadings+quietReadings
	}); err != nil {
		return fmt.Errorf("watching while nothing is wrong: %w", err)
	}
	return nil
}

// investigate switches the lights, which shows what follows and what does not, and waits until the device of the fault,
// and no other, is blamed. A fault that is not found, or not located, is no error.
func (s *story) investigate(ctx context.Context, f fault) error {
	for _, w := range f.during {
		if err := s.dwell(ctx); err != nil {
			return err
		}
		if err := s.switchLights(ctx, w); err != nil {
			return err
		}
	}
	if err := s.watch.wait(ctx, detectLimit, func() bool {
		return slices.Equal(s.watch.blamed(f.involves...), []string{f.of.device})
	}); err != nil && !errors.Is(err, errTimeout) {
		return err
	}
	return nil
}

// dwell leaves the lights as they are until it is clear who contradicts whom there, and who does not.
func (s *story) dwell(ctx context.Context) error {
	before := s.watch.readings(brightness)
	return s.watch.wait(ctx, settleLimit, func() bool { return s.watch.readings(brightness) >= before+dwellReadings })
}

// awaitReport gives the mapper the time to report what the fault did: reports are fewer than readings, and a value
// that does not change is not reported.
func (s *story) awaitReport(ctx context.Context, f fault) error {
	const limit = 1500 * time.Millisecond
	before, _ := s.core.EdgeTwin(namespace, f.of.device, f.of.property)
	state := s.core.State(namespace, f.of.device)
	err := s.watch.wait(ctx, limit, func() bool {
		now, _ := s.core.EdgeTwin(namespace, f.of.device, f.of.property)
		return now.Reports > before.Reports || s.core.State(namespace, f.of.device) != state
	})
	if errors.Is(err, errTimeout) {
		return nil
	}
	return err
}

// received is what EdgeCore has of the devices of a fault.
func (s *story) received(f fault) string {
	var parts []string
	for _, r := range f.reported {
		twin, _ := s.core.EdgeTwin(namespace, r.device, r.property)
		parts = append(parts, r.property+" "+twin.Reported)
	}
	return strings.Join(append(parts, "state "+s.core.State(namespace, f.of.device)), ", ")
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package room simulates a room over HTTP: two lights, a brightness sensor that
// sees them, a temperature sensor, and recorded data replayed as further
// sensors. Each of them can be given faults.
//
// All bodies are plain text. Values are answered without a newline.
package room

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Config says what a room is like. The zero value is a room without replays.
type Config struct {
	// Day is how long a day of the temperature's rhythm takes. 0 means 24 h.
	Day time.Duration
	// Seed of the noise. Equal seeds, times and requests give equal readings.
	Seed uint64
	// Replays are the readings of further sensors by name, each at least one.
	// After the last reading comes the first.
	Replays map[string][]float64
	// ReplayInterval is how long a reading of a replay lasts. 0: each request
	// takes the next one.
	ReplayInterval time.Duration
	// Now is the clock. nil means time.Now.
	Now func() time.Time
}

// The temperature is lowest at 4:00 and highest at 16:00 (UTC).
const (
	meanTemperature  = 21.0 // °C
	temperatureSway  = 3.0  // °C, above and below the mean
	temperatureNoise = 0.2  // °C, standard deviation
	coldestHour      = 4
)

// Room is the simulated room: an http.Handler, safe for concurrent use.
type Room struct {
	mux http.ServeMux

	mu      sync.Mutex
	lights  map[string]*light
	sensors map[string]*sensor
	noise   *rand.Rand
}

type light struct {
	brightness float64 // what it adds while it shines
	on         bool    // as commanded, and as it reports
	dark       bool    // does not shine, whatever it reports
}

// New returns a room with its lights off and no faults.
func New(cfg Config) (*Room, error) {
	var errs []error
	if cfg.Day < 0 {
		errs = append(errs, fmt.Errorf("day: %v, want a positive duration", cfg.Day))
	}
	if cfg.ReplayInterval < 0 {
		errs = append(errs, fmt.Errorf("replay interval: %v, want 0 or a positive duration", cfg.ReplayInterval))
	}
	if cfg.Day == 0 {
		cfg.Day = 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	r := &Room{
		lights: map[string]*light{"light1": {brightness: 1}, "light2": {brightness: 2}},
		noise:  rand.New(rand.NewPCG(cfg.Seed, 0)),
	}
	start := cfg.Now()
	r.sensors = map[string]*sensor{
		"brightness": {path: "/brightness", scale: 1, positive: true, fault: None, truth: r.brightness},
		"temperature": {path: "/temperature", unit: " °C", scale: 2, decimals: 2, fault: None, truth: func() float64 {
			day := start.Add(time.Duration(float64(cfg.Now().Sub(start)) / float64(cfg.Day) * float64(24*time.Hour)))
			return temperature(day) + temperatureNoise*r.noise.NormFloat64()
		}},
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Replays)) {
		values := cfg.Replays[name]
		switch {
		case name == "" || strings.ContainsAny(name, "/?#%"):
			errs = append(errs, fmt.Errorf("replay %q: want a name that can stand in a path", name))
		case r.sensors[name] != nil:
			errs = append(errs, fmt.Errorf("replay %q: the room has a sensor of that name", name))
		case len(values) == 0:
			errs = append(errs, fmt.Errorf("replay %q: no readings", name))
		default:
			r.sensors[name] = &sensor{
				path: "/replay/" + name, scale: deviation(values), decimals: -1, fault: None,
				truth: replay(slices.Clone(values), cfg.ReplayInterval, start, cfg.Now),
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r.route()
	return r, nil
}

// temperature is the undisturbed temperature at a time of day.
func temperature(at time.Time) float64 {
	at = at.UTC()
	midnight := time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
	hours := at.Sub(midnight).Hours() - coldestHour
	return meanTemperature - temperatureSway*math.Cos(hours/24*2*math.Pi)
}

// replay returns a function that gives the values one after the other: with
// each call or, with an interval, as time goes by.
func replay(values []float64, interval time.Duration, start time.Time, now func() time.Time) func() float64 {
	calls := 0
	return func() float64 {
		i := calls
		if interval > 0 {
			i = int(max(now().Sub(start)/interval, 0))
		}
		calls = (calls + 1) % len(values)
		return values[i%len(values)]
	}
}

// brightness is the light in the room; the lock is held.
func (r *Room) brightness() float64 {
	sum := 0.0
	for _, l := range r.lights {
		if l.on && !l.dark {
			sum += l.brightness
		}
	}
	return sum
}

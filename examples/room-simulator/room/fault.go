// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package room

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Fault is what is wrong with a sensor.
type Fault string

// The faults of a sensor. Sizes are in multiples of the sensor's scale: 1 for
// brightness, 2 °C for the temperature, the standard deviation of a replay.
const (
	None    Fault = "none"
	Freeze  Fault = "freeze"  // repeats the last reading before the fault
	Drift   Fault = "drift"   // departs by a further 0.1 scales with each reading
	Jump    Fault = "jump"    // reads 5 scales too high
	Noise   Fault = "noise"   // scatters by a standard deviation of 2 scales
	Dropout Fault = "dropout" // does not answer: status 503
)

// Faults are all values of Fault, in the order of their documentation.
var Faults = []Fault{None, Freeze, Drift, Jump, Noise, Dropout}

const (
	driftStep = 0.1
	jumpSize  = 5
	noiseSize = 2
)

// ParseFault returns the fault of that name.
func ParseFault(name string) (Fault, error) {
	if f := Fault(name); slices.Contains(Faults, f) {
		return f, nil
	}
	return None, fmt.Errorf("fault %q: want one of %s", name, joinNames(Faults))
}

func joinNames[S ~string](names []S) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = string(n)
	}
	return strings.Join(quoted, ", ")
}

// sensor is a source of true values and what its fault makes of them. It is
// guarded by the Room's lock.
type sensor struct {
	path     string // where it is read
	unit     string
	scale    float64
	decimals int            // digits behind the point; -1: as many as needed
	truth    func() float64 // takes the next reading of the undisturbed sensor
	positive bool           // the physical quantity has no negative values

	fault    Fault
	readings int     // since the fault came
	sound    float64 // the last undisturbed reading, which Freeze repeats
	taken    bool    // there is one
	last     string  // the last answer with its unit, for the overview; "": none
}

// inject has the next readings taken under a fault.
func (s *sensor) inject(f Fault) {
	if f == Freeze && !s.taken {
		s.sound, s.taken = s.truth(), true
	}
	s.fault, s.readings = f, 0
}

// read returns the next reading as text; false: the sensor does not answer.
func (s *sensor) read(noise *rand.Rand) (string, bool) {
	if s.fault == Dropout {
		s.last = "no answer"
		return "", false
	}
	if s.fault != Freeze {
		s.sound, s.taken = s.truth(), true
	}
	s.readings++
	v := s.sound
	switch s.fault {
	case Drift:
		v += driftStep * s.scale * float64(s.readings)
	case Jump:
		v += jumpSize * s.scale
	case Noise:
		v += noiseSize * s.scale * noise.NormFloat64()
	}
	if s.positive {
		v = max(v, 0)
	}
	text := strconv.FormatFloat(v, 'f', s.decimals, 64)
	s.last = text + s.unit
	return text, true
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

// Option adapts a check to a driver.
type Option func(*suite)

// Members is the number of members of a row; the default is 1.
func Members(n int) Option { return func(s *suite) { s.members = n } }

// Config is the driver's configuration; the default is none, so that the driver's own defaults apply.
func Config(raw map[string]any) Option { return func(s *suite) { s.config = maps.Clone(raw) } }

// WarmUp is the number of readings after which the detector is warm and allocates no more; the default is 3,000.
func WarmUp(n int) Option { return func(s *suite) { s.warmUp = n } }

// Settings changes the settings that detectors are opened with, for example to add a trained model.
func Settings(change func(*driver.Settings)) Option { return func(s *suite) { s.change = change } }

// suite is a driver under check.
type suite struct {
	factory driver.Factory
	members int
	warmUp  int
	config  map[string]any
	change  func(*driver.Settings)
}

// property is one clause of the contract.
type property struct {
	name  string
	holds func(*suite) error
}

// contract lists all clauses in the order in which they are checked.
var contract = []property{
	{"config", (*suite).decodesConfig},
	{"input", (*suite).takesEveryInput},
	{"verdict", (*suite).judgesConsistently},
	{"deterministic", (*suite).isDeterministic},
	{"row", (*suite).leavesRowAlone},
	{"clock", (*suite).ignoresSteps},
	{"allocations", (*suite).doesNotAllocate},
	{"cost", (*suite).declaresCost},
	{"snapshot", (*suite).survivesRestart},
	{"damage", (*suite).refusesDamage},
	{"incidents", (*suite).endsIncidents},
	{"acceptance", (*suite).acceptsForGood},
}

// Check proves the contract on a driver, each clause in a subtest:
//   - config: opens with its defaults, decodes every documented key, refuses an unknown one;
//   - input: no panic on NaN, infinities, huge, tiny, constant and empty rows, text, or times that repeat or run back;
//   - verdict: scores in 0..1, severity that follows from score and threshold, kinds and name as declared;
//   - deterministic: two detectors give identical verdicts on the same rows;
//   - row: it is neither kept nor changed;
//   - clock: a wall clock that is set changes no verdict on readings that carry the monotonic clock, as the mapper's do;
//   - allocations: none in steady state (not measured under the race detector);
//   - cost: it keeps no more memory than it declares (not measured under the race detector);
//   - snapshot: a detector restored from one gives the verdicts of the one that wrote it;
//   - damage: a damaged snapshot, or another driver's, is refused and leaves the detector as it was;
//   - incidents: an incident of any length ends soon after the stream is back where nothing is accepted, and of two equal
//     faults the second scores as the first within a tenth, for detectors that tell that an incident is ongoing;
//   - acceptance: a level and a rest that were accepted begin no incident as long as they go on, for the same detectors.
//
// Snapshot and damage apply to detectors that implement encoding.BinaryMarshaler and BinaryUnmarshaler. The test that calls
// Check must not be parallel, because allocations are counted for the whole process.
func Check(t *testing.T, f driver.Factory, opts ...Option) {
	t.Helper()
	s := newSuite(f, opts)
	for _, p := range contract {
		t.Run(p.name, func(t *testing.T) {
			if err := s.verify(p); err != nil {
				t.Error(err)
			}
		})
	}
}

// Verify is Check outside of a test: all that is wrong with the driver, joined.
func Verify(f driver.Factory, opts ...Option) error {
	s := newSuite(f, opts)
	var errs []error
	for _, p := range contract {
		if err := s.verify(p); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

func newSuite(f driver.Factory, opts []Option) *suite {
	s := &suite{factory: f, members: 1, warmUp: 3000}
	for _, o := range opts {
		o(s)
	}
	return s
}

// verify checks one clause; a panic breaks it, whatever it is.
func (s *suite) verify(p property) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return p.holds(s)
}

// settings are complete: every member has limits, a unit and a cycle.
func (s *suite) settings() driver.Settings {
	settings := driver.Settings{Threshold: driver.DefaultThreshold, Seed: 1}
	for i := range s.members {
		settings.Members = append(settings.Members, driver.Member{
			Key: memberKey(i), DataType: "double", Minimum: -1000, Maximum: 1000, Unit: "K", Cycle: cycle,
		})
	}
	if s.change != nil {
		s.change(&settings)
	}
	return settings
}

func (s *suite) open() (driver.Detector, error) {
	d, err := s.factory.Open(s.settings(), s.config)
	if err != nil {
		return nil, fmt.Errorf("cannot open: %w", err)
	}
	if d == nil {
		return nil, errors.New("opening gave neither a detector nor an error")
	}
	return d, nil
}

// openTwo opens two detectors that must not differ.
func (s *suite) openTwo() (a, b driver.Detector, err error) {
	if a, err = s.open(); err != nil {
		return nil, nil, err
	}
	b, err = s.open()
	return a, b, err
}

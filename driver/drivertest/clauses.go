// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/kubeedge/edge-anomaly/driver"
)

const (
	verdictRows = 1500
	unknownKey  = "noSuchKey"
)

func (s *suite) decodesConfig() error {
	if _, err := s.open(); err != nil {
		return err
	}
	var errs []error
	for _, p := range s.factory.Params() {
		if p.Doc == "" {
			errs = append(errs, fmt.Errorf("key %q has no doc", p.Key))
		}
		if p.Default == "" {
			continue
		}
		raw := map[string]any{}
		maps.Copy(raw, s.config)
		raw[p.Key] = p.Default
		if _, err := s.factory.Open(s.settings(), raw); err != nil {
			errs = append(errs, fmt.Errorf("the documented default of %q is refused: %w", p.Key, err))
		}
	}
	raw := map[string]any{}
	maps.Copy(raw, s.config)
	raw[unknownKey] = "1"
	switch _, err := s.factory.Open(s.settings(), raw); {
	case err == nil:
		errs = append(errs, errors.New("an unknown key is accepted"))
	case !strings.Contains(err.Error(), unknownKey):
		errs = append(errs, fmt.Errorf("the error for an unknown key does not name it: %w", err))
	}
	return errors.Join(errs...)
}

func (s *suite) takesEveryInput() error {
	var errs []error
	for _, st := range s.hostile() {
		for _, start := range []int{0, 300} {
			d, err := s.open()
			if err != nil {
				return err
			}
			rows := append(s.usual(start, 5), st.rows...)
			rows = append(rows, s.usual(100, 6)...)
			if err := s.judgeAll(d, rows); err != nil {
				errs = append(errs, fmt.Errorf("%s after %d usual readings: %w", st.name, start, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (s *suite) judgesConsistently() error {
	d, err := s.open()
	if err != nil {
		return err
	}
	return s.judgeAll(d, s.usual(verdictRows, 2))
}

// judgeAll runs rows through a detector and checks every verdict.
func (s *suite) judgeAll(d driver.Detector, rows []driver.Row) (err error) {
	at := 0
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("row %d %v: panic: %v", at, values(rows[at]), v)
		}
	}()
	var out driver.Result
	for i, row := range rows {
		at = i
		detect(d, row, &out)
		if err := s.verdict(row, &out); err != nil {
			return fmt.Errorf("row %d %v: %w", i, values(row), err)
		}
	}
	return nil
}

// verdict checks a result on a row.
func (s *suite) verdict(row driver.Row, r *driver.Result) error {
	want := driver.Result{Threshold: r.Threshold}
	want.Judge(r.Score, r.Kind)
	info := s.factory.Info()
	switch {
	case r.Score < 0 || r.Score > 1:
		return fmt.Errorf("score is %v, want 0 to 1, or NaN", r.Score)
	case !(r.Threshold >= driver.DefaultThreshold && r.Threshold < 1):
		return fmt.Errorf("threshold became %v, want at least %v and less than 1", r.Threshold, driver.DefaultThreshold)
	case r.Severity != want.Severity:
		return fmt.Errorf("severity is %v with score %v at threshold %v, want %v", r.Severity, r.Score, r.Threshold, want.Severity)
	case r.Kind != want.Kind:
		return fmt.Errorf("kind is %q while %v, want none", r.Kind, r.Severity)
	case r.Severity.Anomalous() && !slices.Contains(info.Kinds, r.Kind):
		return fmt.Errorf("kind is %q, want one of Info.Kinds %q", r.Kind, info.Kinds)
	case !(r.Confidence >= 0 && r.Confidence <= 1):
		return fmt.Errorf("confidence is %v, want 0 to 1", r.Confidence)
	case len(row) == 0 && r.Severity != driver.Unknown:
		return fmt.Errorf("severity of an empty row is %v, want unknown", r.Severity)
	case len(row) > 0 && !slices.ContainsFunc(row, func(m driver.Sample) bool { return about(r.Key, m.Key) }):
		return fmt.Errorf("key is %q, want a member's, or a member's device", r.Key)
	case r.Detector != "" && r.Detector != info.Name:
		return fmt.Errorf("detector is %q, want %q or nothing", r.Detector, info.Name)
	}
	return causes(r.Causes)
}

// about reports whether a verdict on key is one on a member or its device as a whole.
func about(key, member driver.Key) bool {
	return key == member || key == driver.Key{Namespace: member.Namespace, Device: member.Device}
}

func causes(list []driver.Cause) error {
	const rounding = 1e-9
	total := 0.0
	for i, c := range list {
		if !(c.Weight >= 0 && c.Weight <= 1) {
			return fmt.Errorf("cause %d has weight %v, want 0 to 1", i, c.Weight)
		}
		if i > 0 && c.Weight > list[i-1].Weight {
			return fmt.Errorf("cause %d weighs more than the one before it, want them ranked", i)
		}
		total += c.Weight
	}
	if total > 1+rounding {
		return fmt.Errorf("weights of causes sum to %v, want at most 1", total)
	}
	return nil
}

func (s *suite) isDeterministic() error {
	a, b, err := s.openTwo()
	if err != nil {
		return err
	}
	rows := s.usual(verdictRows, 4)
	return same("the first detector", run(a, rows), "the second", run(b, rows))
}

func (s *suite) leavesRowAlone() error {
	a, b, err := s.openTwo()
	if err != nil {
		return err
	}
	rows := s.usual(verdictRows, 8)
	fresh := run(a, cloneRows(rows))

	var out driver.Result
	reused := make([]driver.Result, 0, len(rows))
	memory := make(driver.Row, s.members)
	for i, row := range rows {
		copy(memory, row)
		detect(b, memory, &out)
		if !slices.EqualFunc(memory, row, equalSamples) {
			return fmt.Errorf("Detect changed row %d", i)
		}
		reused = append(reused, out.Clone())
		scribble(memory)
	}
	return same("fresh rows", fresh, "one row whose memory is used again", reused)
}

func (s *suite) doesNotAllocate() error {
	if raceEnabled {
		return nil
	}
	d, err := s.open()
	if err != nil {
		return err
	}
	const measured = 2000
	rows := s.usual(s.warmUp+measured+2, 9)
	var out driver.Result
	for _, row := range rows[:s.warmUp] {
		detect(d, row, &out)
	}
	i := s.warmUp
	each := testing.AllocsPerRun(measured, func() {
		detect(d, rows[i], &out)
		i++
	})
	// AllocsPerRun rounds down to a whole number per run, so count a block of readings as well.
	i = s.warmUp
	block := testing.AllocsPerRun(1, func() {
		for range measured / 2 {
			detect(d, rows[i], &out)
			i++
		}
	})
	if each > 0 || block > 0 {
		return fmt.Errorf("%v allocations in %d readings after %d, want none", max(block, each*measured/2), measured/2, s.warmUp)
	}
	return nil
}

// detect calls a detector as its stage does.
func detect(d driver.Detector, row driver.Row, out *driver.Result) {
	out.Reset(row)
	out.Threshold = driver.DefaultThreshold
	d.Detect(row, out)
}

// run collects the verdicts on rows.
func run(d driver.Detector, rows []driver.Row) []driver.Result {
	results := make([]driver.Result, 0, len(rows))
	var out driver.Result
	for _, row := range rows {
		detect(d, row, &out)
		results = append(results, out.Clone())
	}
	return results
}

// same reports the first difference between two runs.
func same(nameA string, a []driver.Result, nameB string, b []driver.Result) error {
	for i := range a {
		if !equalResults(&a[i], &b[i]) {
			return fmt.Errorf("verdicts on row %d differ:\n%s: %+v\n%s: %+v", i, nameA, a[i], nameB, b[i])
		}
	}
	return nil
}

func equalResults(a, b *driver.Result) bool {
	return a.Key == b.Key && a.At.Equal(b.At) && a.Severity == b.Severity && a.Kind == b.Kind &&
		equalFloats(a.Score, b.Score) && equalFloats(a.Onset, b.Onset) && a.Ongoing == b.Ongoing && a.Accepted == b.Accepted &&
		equalFloats(a.Threshold, b.Threshold) && equalFloats(a.Confidence, b.Confidence) &&
		equalFloats(a.Value, b.Value) && equalFloats(a.Expected, b.Expected) &&
		equalFloats(a.Lower, b.Lower) && equalFloats(a.Upper, b.Upper) &&
		slices.EqualFunc(a.Causes, b.Causes, func(x, y driver.Cause) bool {
			return x.Key == y.Key && equalFloats(x.Weight, y.Weight)
		}) &&
		a.Detector == b.Detector && a.Model == b.Model && a.Message == b.Message
}

func equalSamples(a, b driver.Sample) bool {
	return a.Key == b.Key && a.At.Equal(b.At) && equalFloats(a.Value, b.Value) && a.Text == b.Text && a.Flags == b.Flags
}

// equalFloats compares bit by bit, but for the payload of a NaN.
func equalFloats(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

func values(row driver.Row) []float64 {
	v := make([]float64, len(row))
	for i := range row {
		v[i] = row[i].Value
	}
	return v
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const autogroupName = "autogroup"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    autogroupName,
		Summary: "finds members of a numeric group that depart from the level they held; the default for groups",
		Source:  "S. W. Roberts, Control Chart Tests Based on Geometric Moving Averages, Technometrics 1(3), 1959, a chart a member, with hysteresis and a baseline that is frozen in alarm",
		Kinds:   []driver.Kind{driver.KindCorrelation, driver.KindLevel},
		Members: groupMembers,
	}, autogroupDefaults, newAutogroup))
}

// autogroupConfig is group.Config as an operator writes it.
type autogroupConfig struct {
	TrainRows  int     `param:"trainRows" min:"20" max:"100000" doc:"first rows of the stream that are learned from, where no model is configured"`
	Start      float64 `param:"start" min:"0.1" max:"1000" doc:"deviation from the baseline, in standard deviations of the fast mean, at which an alarm begins at threshold 0.95; another threshold raises or lowers start and stop alike"`
	Stop       float64 `param:"stop" min:"0.1" max:"1000" doc:"deviation at which it ends; less than start"`
	Smoothing  float64 `param:"smoothing" min:"0.001" max:"1" doc:"weight of a reading in the fast mean"`
	Adaptation float64 `param:"adaptation" min:"0" max:"0.1" doc:"weight of the fast mean in the baseline; the baseline stands still in alarm"`
	Recover    int     `param:"recover" min:"0" max:"100000" doc:"rows in which the baseline moves to the present level after an alarm"`
	MaxAge     int     `param:"maxAge" min:"0" max:"10000000" doc:"rows after which an alarm is taken for a new normal; 0 means never"`
	Quiet      int     `param:"quiet" min:"0" max:"100000" doc:"rows that the group's alarm outlasts that of its members"`
}

func autogroupDefaults() autogroupConfig {
	g := group.DefaultConfig()
	return autogroupConfig{
		TrainRows: g.TrainRows, Start: g.Start, Stop: g.Stop, Smoothing: g.Smoothing, Adaptation: g.Adaptation,
		Recover: g.Recover, MaxAge: g.MaxAge, Quiet: g.Quiet,
	}
}

// Validate implements driver.Validator.
func (c *autogroupConfig) Validate() error {
	if c.Stop >= c.Start {
		return &params.Error{Key: "stop", Value: c.Stop, Want: fmt.Sprintf("less than start, %v", c.Start)}
	}
	return nil
}

type autogroupDetector struct {
	config    autogroupConfig
	threshold float64
	unit      float64 // deviation at which the default threshold is reached, relative to where an alarm begins
	columns   columns
	kind      driver.Kind
	monitor   *group.Monitor
	seen      uint64
	values    []float64 // the last row
}

func newAutogroup(s driver.Settings, c autogroupConfig) (driver.Detector, error) {
	if err := numeric(s.Members); err != nil {
		return nil, err
	}
	payload, cols, err := openModel(autogroupName, s)
	if err != nil {
		return nil, err
	}
	d := &autogroupDetector{
		config: c, threshold: s.Threshold, unit: thresholdLevel(s.Threshold), columns: cols,
		kind: driver.KindCorrelation, values: make([]float64, len(cols.slot)),
	}
	if len(cols.slot) == 1 {
		d.kind = driver.KindLevel
	}
	if d.monitor, err = d.fresh(); err != nil {
		return nil, err
	}
	if payload == nil {
		return d, nil
	}
	if err := takeModel(d, func() bool { return d.seen != 0 }, payload, s); err != nil {
		return nil, err
	}
	d.seen = max(d.seen, uint64(c.TrainRows)) // what was trained has nothing to wait for
	return d, nil
}

// fresh is a monitor that has learned nothing.
func (d *autogroupDetector) fresh() (*group.Monitor, error) {
	return group.New(len(d.columns.slot), group.Config{
		TrainRows: d.config.TrainRows, Start: d.config.Start * d.unit, Stop: d.config.Stop * d.unit,
		Smoothing: d.config.Smoothing, Adaptation: d.config.Adaptation,
		Recover: d.config.Recover, MaxAge: d.config.MaxAge, Quiet: d.config.Quiet,
	})
}

// Detect implements driver.Detector.
func (d *autogroupDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector, out.Message = autogroupName, d.columns.absent
	if !d.columns.numbers(d.values, row) {
		return
	}
	v := d.monitor.Observe(d.values)
	d.seen++
	out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
	if !v.Ready || d.seen <= uint64(d.config.TrainRows) {
		return
	}
	out.Message = ""
	out.Judge(decided(levelScore(v.Level*d.unit), d.threshold, v.Alarm), d.kind)
	if len(d.values) == 1 {
		out.Expected, out.Lower, out.Upper = d.monitor.Expected(0)
	}
	if v.Alarm {
		d.blame(out, v.Lead)
	}
}

// blame names the members in alarm, by how far they are out, and after the last alarm has ended the one that led.
func (d *autogroupDetector) blame(out *driver.Result, lead int) {
	worst, sum := 0.0, 0.0
	for j := range d.values {
		if d.monitor.Alarmed(j) {
			worst = max(worst, d.monitor.Level(j))
			sum += d.monitor.Level(j)
		}
	}
	if sum == 0 {
		if lead >= 0 && d.columns.slot[lead] >= 0 {
			addCause(out, d.columns.keys[lead], 1)
		}
		return
	}
	for j := range d.values {
		if level := d.monitor.Level(j); d.monitor.Alarmed(j) && level >= blameShare*worst && d.columns.slot[j] >= 0 {
			addCause(out, d.columns.keys[j], level/sum)
		}
	}
}

// Train implements driver.Trainer. Of more than 100,000 rows the last are learned from.
func (d *autogroupDetector) Train(ctx context.Context, rows iter.Seq[driver.Row]) error {
	learned, err := collectRows(ctx, rows, &d.columns, false)
	if err != nil {
		return fmt.Errorf("detector %q: train: %w", autogroupName, err)
	}
	m, err := d.fresh()
	if err != nil {
		return err
	}
	if err := m.Fit(learned); err != nil {
		return fmt.Errorf("detector %q: train: %w", autogroupName, err)
	}
	d.monitor, d.seen = m, uint64(max(len(learned), d.config.TrainRows))
	return nil
}

// Explain implements driver.Explainer.
func (d *autogroupDetector) Explain(r *driver.Result, _ driver.Language) string {
	switch {
	case r.Severity == driver.Unknown:
		return fmt.Sprintf("learning: %d of %d rows", d.seen, d.config.TrainRows)
	case !r.Severity.Anomalous():
		return "every member is near the level it held"
	}
	var parts []string
	for _, cause := range r.Causes {
		if j := slices.Index(d.columns.keys, cause.Key); j >= 0 {
			level, lower, upper := d.monitor.Expected(j)
			parts = append(parts, fmt.Sprintf("%v left its level %.4g (%.4g to %.4g), at last with %.4g", cause.Key, level, lower, upper, d.values[j]))
		}
	}
	return strings.Join(parts, "; ")
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *autogroupDetector) MarshalBinary() ([]byte, error) { return save(autogroupName, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *autogroupDetector) UnmarshalBinary(data []byte) error {
	r, err := unseal(autogroupName, data)
	if err != nil {
		return err
	}
	next := *d
	if next.monitor, err = d.fresh(); err != nil {
		return err
	}
	next.DecodeState(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("detector %q: restore snapshot: %w", autogroupName, err)
	}
	*d = next
	return nil
}

// EncodeState implements state.Part.
func (d *autogroupDetector) EncodeState(w *state.Writer) {
	w.Uint(d.seen)
	w.Float(d.config.Smoothing)
	w.Float(d.config.Adaptation)
	d.monitor.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *autogroupDetector) DecodeState(r *state.Reader) {
	d.seen = r.Readings()
	smoothing, adaptation := r.Float(), r.Float()
	if r.Err() == nil && (smoothing != d.config.Smoothing || adaptation != d.config.Adaptation) {
		r.Fail("learned with smoothing %v and adaptation %v, want %v and %v as configured",
			smoothing, adaptation, d.config.Smoothing, d.config.Adaptation)
		return
	}
	d.monitor.DecodeState(r)
}

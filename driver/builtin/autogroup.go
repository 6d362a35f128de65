// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/group"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/params"
)

const autogroupName = "autogroup"

func init() {
	driver.Register(driver.NewFactory(driver.Info{
		Name:    autogroupName,
		Summary: "watches members each alone and together: levels, shapes, and what the others say of each; the default for groups",
		Source: "S. W. Roberts, Control Chart Tests Based on Geometric Moving Averages, Technometrics 1(3), 1959, a chart a member, with a baseline that is frozen in alarm; " +
			"C.-C. M. Yeh et al., Matrix Profile I, ICDM 2016; J. Whittaker, Graphical Models in Applied Multivariate Statistics, 1990, section 5.8",
		Kinds: []driver.Kind{
			driver.KindCorrelation, driver.KindDrift, driver.KindFreeze, driver.KindLevel, driver.KindNoise, driver.KindPattern,
			driver.KindSpike,
		},
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
	MaxAge     int     `param:"maxAge" min:"0" max:"10000000" doc:"rows after which an alarm is taken for a new normal where accept is not set; 0 means never"`
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

// autogroupDetector watches a group by a group.Monitor.
type autogroupDetector struct {
	config    autogroupConfig
	accept    time.Duration
	threshold float64
	unit      float64 // deviation at which the default threshold is reached, relative to where an alarm begins
	columns   columns
	units     []string // of the columns
	learning  string   // what is said before the first verdict
	monitor   *group.Monitor
	seen      uint64
	values    []float64 // the last row
	held      []bool    // which of it is not new
	clock     steady

	in         bool // an alarm
	kind       driver.Kind
	from, last time.Time // of the present alarm, or of the last; last is its newest row
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
		config: c, accept: s.Accept, threshold: s.Threshold, unit: thresholdLevel(s.Threshold), columns: cols,
		learning: fmt.Sprintf("learning from the first %d rows", c.TrainRows), values: make([]float64, len(cols.slot)),
		held: make([]bool, len(cols.slot)), units: make([]string, len(cols.slot)),
	}
	for j, i := range cols.slot {
		if i >= 0 {
			d.units[j] = s.Members[i].Unit
		}
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
	maxAge := d.config.MaxAge
	if d.accept != 0 {
		maxAge = 0
	}
	return group.New(len(d.columns.slot), group.Config{
		TrainRows: d.config.TrainRows, Start: d.config.Start * d.unit, Stop: d.config.Stop * d.unit,
		Smoothing: d.config.Smoothing, Adaptation: d.config.Adaptation,
		Recover: d.config.Recover, MaxAge: maxAge, Quiet: d.config.Quiet,
		Together: -math.Log10(driver.TailProbability(d.threshold)),
	})
}

// Detect implements driver.Detector.
func (d *autogroupDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector, out.Message = autogroupName, d.columns.absent
	if !d.columns.numbers(d.values, row) {
		out.Ongoing = d.in
		return
	}
	d.columns.held(d.held, row)
	v := d.monitor.Observe(d.values, d.clock.ns(timeOf(row)), d.held)
	d.seen++
	out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
	if !v.Ready || d.seen <= uint64(d.config.TrainRows) {
		if out.Message == "" {
			out.Message = d.learning
		}
		return
	}
	out.Message = ""
	began := v.Alarm && !d.in
	if began {
		d.kind, d.from = d.kindOf(&v), out.At
	}
	if d.in = v.Alarm; d.in {
		d.last = out.At
	}
	score := driver.TailScore(math.Pow(10, -v.Now))
	switch {
	case began:
		score = max(score, d.threshold)
		out.Onset = score
	case d.in:
		out.Onset = 0
	default:
		score = min(score, math.Nextafter(d.threshold, 0))
		out.Onset = score
	}
	out.Judge(score, d.kind)
	out.Ongoing, out.Accepted = v.Alarm, v.Accepted
	if len(d.values) == 1 {
		out.Expected, out.Lower, out.Upper = d.monitor.Expected(0)
	}
	if v.Alarm {
		d.blame(out, v.Lead)
		if d.accept > 0 && out.At.Sub(d.from) >= d.accept {
			d.monitor.Accept()
		}
	}
}

// kindOf names an alarm that begins.
func (d *autogroupDetector) kindOf(v *group.Verdict) driver.Kind {
	if v.Lead < 0 {
		return driver.KindLevel
	}
	alone := d.monitor.Alone(v.Lead)
	if !d.monitor.Alarmed(v.Lead) {
		switch sign, _ := d.monitor.Evidence(v.Lead); {
		case sign == group.Shape:
			return driver.KindPattern
		case sign == group.Relation:
			return driver.KindCorrelation
		case !alone.Open:
			return driver.KindSpike
		}
	}
	if alone.Open && !d.monitor.Charted(v.Lead) {
		return kindOf[alone.Kind]
	}
	return driver.KindLevel
}

// blame names the members in alarm, by how far they are out, and where none is, the one that leads.
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
	learned, times, err := collectRows(ctx, rows, &d.columns, false)
	if err != nil {
		return fmt.Errorf("detector %q: train: %w", autogroupName, err)
	}
	m, err := d.fresh()
	if err != nil {
		return err
	}
	if err := m.Fit(learned, times); err != nil {
		return fmt.Errorf("detector %q: train: %w", autogroupName, err)
	}
	d.monitor, d.seen = m, uint64(max(len(learned), d.config.TrainRows))
	return nil
}

// Accept implements driver.Learner. Where the span has no readings, what the members in alarm do at present is meant.
func (d *autogroupDetector) Accept(span driver.Span) error {
	present := d.in && !span.To.Before(d.from)
	switch {
	case span.Rows != nil:
		ctx := context.Background() //nolint:forbidigo // a Learner has no context; the work is bounded by the span
		rows, times, err := collectRows(ctx, span.Rows, &d.columns, false)
		if err != nil {
			return fmt.Errorf("detector %q: accept: %w", autogroupName, err)
		}
		for i := range times {
			times[i] -= d.clock.ahead
		}
		d.monitor.Allow(rows, times)
	case !present || !d.monitor.AllowPresent():
		return fmt.Errorf("detector %q: accept %v to %v: the readings are not remembered, want them with the span",
			autogroupName, span.From, span.To)
	}
	if present {
		d.monitor.Accept()
	}
	return nil
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
	w.Bool(d.in)
	w.Text(string(d.kind))
	encodeTime(w, d.from)
	encodeTime(w, d.last)
	w.Float(d.config.Smoothing)
	w.Float(d.config.Adaptation)
	d.monitor.EncodeState(w)
}

// DecodeState implements state.Part.
func (d *autogroupDetector) DecodeState(r *state.Reader) {
	d.seen = r.Readings()
	d.in, d.kind = r.Bool(), driver.Kind(r.Text("kind", 64))
	d.from, d.last = decodeTime(r), decodeTime(r)
	smoothing, adaptation := r.Float(), r.Float()
	if r.Err() == nil && (smoothing != d.config.Smoothing || adaptation != d.config.Adaptation) {
		r.Fail("learned with smoothing %v and adaptation %v, want %v and %v as configured",
			smoothing, adaptation, d.config.Smoothing, d.config.Adaptation)
		return
	}
	d.monitor.DecodeState(r)
}

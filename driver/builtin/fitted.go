// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/engine/quantile"
	"github.com/kubeedge/edge-anomaly/pkg/engine/state"
	"github.com/kubeedge/edge-anomaly/pkg/engine/subspace"
)

// fitConfig is what the drivers that are fitted to rows have in common.
type fitConfig struct {
	TrainRows int  `param:"trainRows" min:"40" max:"100000" doc:"first rows of the stream that are learned from, where no model is configured"`
	Adapt     bool `param:"adapt" doc:"follow slow changes of normal rows"`
}

// fitDefaults are good for rows of a group of some ten members.
func fitDefaults() fitConfig { return fitConfig{TrainRows: 500, Adapt: true} }

const (
	fitMost     = 100_000 // rows that are fitted; of more, evenly spaced ones
	fitFolds    = 10      // runs of rows that calibration alternates between two models
	levelShare  = 0.1     // of the levels that their tail is fitted to
	levelMemory = 20_000  // rows that the distribution of levels is learned from
	levelMost   = 1e12
)

// fitting is a family of models: how one is fitted, and an empty one to restore.
type fitting struct {
	name  string
	fit   func(rows [][]float64) (subspace.Model, error)
	blank func() subspace.Model
}

// fittedDetector judges rows by a model that is fitted once: to the first rows of the stream, or offline. The level
// that the model gives a row becomes a tail probability by the levels of rows that the model was not fitted to. Only
// rows that are not anomalous are learned from.
type fittedDetector struct {
	fitting
	config    fitConfig
	threshold float64
	never     bool // is a member that rested in training taken for one that moves
	columns   columns
	kind      driver.Kind

	rows    [][]float64    // to be fitted to
	trouble string         // why they could not be
	model   subspace.Model // nil until it is fitted, and where no member moves
	resting resting
	levels  quantile.Tail
	seen    uint64 // rows learned from

	values, shares []float64 // the last row, and scratch
}

// newFitted opens a detector with the model in the settings, if there is one.
func newFitted(f fitting, s driver.Settings, c fitConfig) (*fittedDetector, error) {
	if err := numeric(s.Members); err != nil {
		return nil, err
	}
	payload, cols, err := openModel(f.name, s)
	if err != nil {
		return nil, err
	}
	d := &fittedDetector{
		fitting: f, config: c, threshold: s.Threshold, never: s.Accept == driver.NeverAccept, columns: cols, kind: driver.KindCorrelation,
		values: make([]float64, len(cols.slot)), shares: make([]float64, len(cols.slot)),
	}
	if len(cols.slot) == 1 {
		d.kind = driver.KindSpike
	}
	if payload == nil {
		return d, nil
	}
	if err := takeModel(d, d.trained, payload, s); err != nil {
		return nil, err
	}
	return d, nil
}

// Detect implements driver.Detector.
func (d *fittedDetector) Detect(row driver.Row, out *driver.Result) {
	out.Detector, out.Message = d.name, d.columns.absent
	if !d.columns.numbers(d.values, row) {
		return
	}
	if !d.trained() {
		d.collect()
		out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
		if d.trouble != "" {
			out.Message = d.trouble
		}
		return
	}
	moved := d.resting.next(d.values, d.never)
	level := 0.0
	if d.model != nil {
		level = min(d.model.ScoreTo(nil, d.values), levelMost)
	}
	if math.IsNaN(level) && moved == 0 { // too much is missing
		return
	}
	out.Message = ""
	out.Confidence = confidence(d.seen, uint64(d.config.TrainRows))
	score, kind := 0.0, d.kind
	if d.model != nil && !math.IsNaN(level) {
		score = driver.TailScore(d.levels.Probability(level))
	}
	if moved > 0 {
		score, kind = max(score, out.Threshold), driver.KindLevel
	}
	out.Judge(score, kind)
	switch {
	case moved > 0:
		for j := range d.values {
			if d.resting.moved(d.values, j) && d.columns.slot[j] >= 0 {
				addCause(out, d.columns.keys[j], 1/float64(moved))
			}
		}
	case out.Severity.Anomalous():
		d.model.ScoreTo(d.shares, d.values)
		d.columns.blame(out, d.shares)
	case d.model != nil && d.config.Adapt:
		d.model.Adapt()
		d.levels.Add(level)
		d.seen++
	}
}

// trained reports whether there is what rows are judged by.
func (d *fittedDetector) trained() bool { return d.model != nil || d.resting.all() }

// collect takes in one of the first rows; with the last of them, the model is fitted. Rows that cannot be fitted make
// room for others.
func (d *fittedDetector) collect() {
	if len(d.rows) >= d.config.TrainRows { // more than wanted came with a snapshot
		d.rows = d.rows[:0]
	}
	d.rows = append(d.rows, slices.Clone(d.values))
	d.seen++
	if len(d.rows) < d.config.TrainRows {
		return
	}
	if err := d.learn(d.rows); err != nil {
		d.trouble, d.rows, d.seen = err.Error(), d.rows[:0], 0
	}
}

// learn fits the model and calibrates its levels.
func (d *fittedDetector) learn(rows [][]float64) error {
	rest := learnResting(rows, len(d.columns.slot))
	if rest.all() { // nothing is left to be fitted
		d.model, d.resting, d.rows, d.trouble, d.seen = nil, rest, nil, "", uint64(len(rows))
		return nil
	}
	m, err := d.fit(rows)
	if err != nil {
		return fmt.Errorf("detector %q: %w", d.name, err)
	}
	levels := quantile.NewTail(levelShare, levelMemory)
	if !d.crossLevels(&levels, rows) {
		for _, row := range rows {
			levels.Add(min(m.ScoreTo(nil, row), levelMost))
		}
	}
	d.model, d.resting, d.levels, d.rows, d.trouble, d.seen = m, rest, levels, nil, "", uint64(len(rows))
	return nil
}

// crossLevels learns how levels are distributed by cross-validation (M. Stone, Journal of the Royal Statistical
// Society B 36(2), 1974) in two folds of alternating runs, as a model flatters the rows that it was fitted to. It
// reports whether that could be done: each half must have rows enough for a model.
func (d *fittedDetector) crossLevels(levels *quantile.Tail, rows [][]float64) bool {
	fold := func(i int) int { return i * fitFolds / len(rows) & 1 }
	var halves [2][][]float64
	for i, row := range rows {
		halves[fold(i)] = append(halves[fold(i)], row)
	}
	var models [2]subspace.Model
	for k := range models {
		var err error
		if models[k], err = d.fit(halves[k]); err != nil {
			return false
		}
	}
	for i, row := range rows {
		levels.Add(min(models[1-fold(i)].ScoreTo(nil, row), levelMost))
	}
	return true
}

// Train implements driver.Trainer.
func (d *fittedDetector) Train(ctx context.Context, rows iter.Seq[driver.Row]) error {
	fitted, _, err := collectRows(ctx, rows, &d.columns, true)
	if err != nil {
		return fmt.Errorf("detector %q: train: %w", d.name, err)
	}
	return d.learn(fitted)
}

var errNoRows = errors.New("no rows with numbers")

// collectRows takes the numbers of the rows and their times in Unix ns, at most fitMost of them: evenly spaced, or the last.
func collectRows(ctx context.Context, rows iter.Seq[driver.Row], c *columns, spaced bool) (kept [][]float64, times []int64, err error) {
	const look = 1024 // rows between two looks at the context
	stride, n := 1, 0
	values := make([]float64, len(c.slot))
	for row := range rows {
		if n%look == 0 {
			if err = ctx.Err(); err != nil {
				return nil, nil, err
			}
		}
		if !c.numbers(values, row) {
			continue
		}
		n++
		if n%stride != 0 {
			continue
		}
		kept, times = append(kept, slices.Clone(values)), append(times, timeOf(row).UnixNano())
		switch {
		case spaced && len(kept) == fitMost:
			stride *= 2
			for i := range fitMost / 2 {
				kept[i], times[i] = kept[2*i+1], times[2*i+1]
			}
			kept, times = kept[:fitMost/2], times[:fitMost/2]
		case !spaced && len(kept) == 2*fitMost:
			kept, times = slices.Delete(kept, 0, fitMost), slices.Delete(times, 0, fitMost)
		}
	}
	if len(kept) == 0 {
		return nil, nil, errNoRows
	}
	first := max(0, len(kept)-fitMost)
	return kept[first:], times[first:], nil
}

// Explain implements driver.Explainer.
func (d *fittedDetector) Explain(r *driver.Result, _ driver.Language) string {
	switch {
	case !d.trained() && d.trouble != "":
		return d.trouble
	case !d.trained():
		return fmt.Sprintf("learning: %d of %d rows", len(d.rows), d.config.TrainRows)
	case !r.Severity.Anomalous():
		return "the members agree as they did in training"
	}
	if said := d.resting.tell(d.values, d.columns.keys); said != "" {
		return said
	}
	var parts []string
	expected := make([]float64, len(d.values))
	d.model.ExpectedTo(expected, d.values)
	for _, cause := range r.Causes {
		j := slices.Index(d.columns.keys, cause.Key)
		switch {
		case j < 0:
		case math.IsNaN(expected[j]):
			parts = append(parts, fmt.Sprintf("%v is %.4g", cause.Key, d.values[j]))
		default:
			parts = append(parts, fmt.Sprintf("%v is %.4g where %.4g is expected", cause.Key, d.values[j], expected[j]))
		}
	}
	return "a combination not met in training: " + strings.Join(parts, ", ")
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (d *fittedDetector) MarshalBinary() ([]byte, error) { return save(d.name, d) }

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (d *fittedDetector) UnmarshalBinary(data []byte) error {
	r, err := unseal(d.name, data)
	if err != nil {
		return err
	}
	next := *d
	next.DecodeState(r)
	if err := r.Close(); err != nil {
		return fmt.Errorf("detector %q: restore snapshot: %w", d.name, err)
	}
	*d = next
	return nil
}

// EncodeState implements state.Part.
func (d *fittedDetector) EncodeState(w *state.Writer) {
	w.Uint(d.seen)
	w.Bool(d.trained())
	if !d.trained() {
		encodeRows(w, d.rows)
		return
	}
	d.resting.EncodeState(w)
	w.Bool(d.model != nil)
	if d.model != nil {
		d.model.EncodeState(w)
		d.levels.EncodeState(w)
	}
}

// DecodeState implements state.Part.
func (d *fittedDetector) DecodeState(r *state.Reader) {
	d.seen = r.Readings()
	d.rows, d.model, d.trouble, d.resting = nil, nil, "", resting{}
	if !r.Bool() {
		d.rows = decodeRows(r, len(d.columns.slot), fitMost)
		return
	}
	d.resting.DecodeState(r)
	if n := len(d.resting.value); r.Err() == nil && n != len(d.columns.slot) {
		r.Fail("%d members at rest or not, want %d", n, len(d.columns.slot))
	}
	if !r.Bool() {
		if r.Err() == nil && !d.resting.all() {
			r.Fail("members move, and there is no model of them")
		}
		return
	}
	d.model = d.blank()
	d.model.DecodeState(r)
	d.levels = quantile.NewTail(levelShare, levelMemory)
	d.levels.DecodeState(r)
	if n := d.model.Members(); r.Err() == nil && n != len(d.columns.slot) {
		r.Fail("a model of %d members, want %d", n, len(d.columns.slot))
	}
}

func encodeRows(w *state.Writer, rows [][]float64) {
	w.Int(int64(len(rows)))
	for _, row := range rows {
		w.Floats(row)
	}
}

// decodeRows reads at most `most` rows of finite numbers or NaN.
func decodeRows(r *state.Reader, width, most int) [][]float64 {
	var rows [][]float64
	for range r.Count("rows", most) {
		row := make([]float64, width)
		if r.FloatsTo("row", row); r.Err() != nil {
			return nil
		}
		if slices.ContainsFunc(row, func(x float64) bool { return math.IsInf(x, 0) }) {
			r.Fail("a row holds an infinity")
			return nil
		}
		rows = append(rows, row)
	}
	return rows
}

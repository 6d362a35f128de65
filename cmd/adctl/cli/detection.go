// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/account"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// detection is the run of detect on one file.
type detection struct {
	*detectOptions
	plan     *plan
	name     string
	log      io.Writer
	rows     io.Writer
	header   *[]string // of what was last written to rows
	progress *progress // nil for none

	judging judging
	src     *input.Reader
	jury    *jury
	others  string // a series that is not the one to judge
	trials  []*trial
	thinned bool      // some thresholds are not tried to the end
	shown   *backtest // nil for none
	out     *dataset.CSVWriter
	waiting []waitingRow
	tally
}

// waitingRow is a row whose outcome is not written yet.
type waitingRow struct {
	timestamp string
	text      string // of the one reading
	series    string
	at        time.Time
	label     bool
	values    []report.Value // of the columns, where a report is wanted
	bad       bool           // it cannot be used, and has no outcome
}

// mostTried is how many readings are judged at all of report.Thresholds. After that only some go on, so that a long
// recording is not judged twelve times; no cost is told of the others, as they did not see it whole.
const mostTried = 250_000

// trial is a run of the same rows at another threshold.
type trial struct {
	threshold float64
	jury      *jury
	labels    []bool // of rows that are not judged yet
	times     []time.Time
	truth     replay.Truth
}

// title is what messages call the file.
func (r *detection) title() string {
	if r.name == "-" {
		return "standard input"
	}
	return r.name
}

func (r *detection) run(ctx context.Context, in io.Reader) (err error) {
	r.tally.log = r.log
	if r.src, err = r.plan.look(in, r.log); err != nil {
		return usage(fmt.Errorf("%s: %w", r.title(), err))
	}
	if r.judging, err = r.plan.judging(r.src, r.log); err != nil {
		return usage(err)
	}
	if r.jury, err = newJury(ctx, r.judging); err != nil {
		return usage(err)
	}
	defer func() { err = errors.Join(err, r.end(ctx)) }()
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.readAll(ctx); err != nil {
		return err
	}
	r.progress.done()
	for _, note := range r.src.Notes() {
		if len(r.files) > 1 {
			note = r.title() + ": " + note
		}
		fmt.Fprintln(r.log, note)
	}
	r.labelled = r.src.Labelled() // a column that is empty is no truth
	if r.shown == nil {
		return nil
	}
	var costs []report.Cost
	for _, t := range r.trials {
		costs = append(costs, report.CostOf(t.threshold, &t.truth))
	}
	return r.shown.write(costs, r.thinned)
}

// end closes what begin opened, and writes what is left.
func (r *detection) end(ctx context.Context) error {
	err := r.jury.close(ctx)
	for _, t := range r.trials {
		err = errors.Join(err, t.jury.close(ctx))
	}
	if r.out != nil {
		err = errors.Join(err, r.out.Flush())
	}
	return err
}

// wide reports whether rows are written as those of a table.
func (r *detection) wide() bool { return len(r.judging.columns) > 1 || r.judging.together != nil }

// begin opens what the rows are written to and reported by.
func (r *detection) begin(ctx context.Context) error {
	columns := outputColumns
	if r.wide() {
		columns = rowColumns
	}
	if r.src.Long() {
		columns = append([]string{"series"}, columns...)
	}
	if len(r.files) > 1 {
		columns = append([]string{"file"}, columns...)
	}
	if r.format == "pred" {
		columns = predColumns
	}
	if slices.Equal(columns, *r.header) { // it stands above the rows of the file before
		r.out = dataset.NewCSVRows(r.rows)
	} else {
		r.out = dataset.NewCSVWriter(r.rows, columns...)
		*r.header = columns
	}
	r.labelled = r.src.LabelColumn()
	threshold := r.judging.threshold()
	if r.shown = r.backtest(r.plan, threshold, r.src, r.judging.columns); r.shown == nil || r.report == "" {
		return nil
	}
	for _, t := range report.Thresholds {
		if t == threshold {
			continue
		}
		j, err := newJury(ctx, r.judging.at(t))
		if err != nil {
			return err
		}
		r.trials = append(r.trials, &trial{threshold: t, jury: j})
	}
	return nil
}

func (r *detection) readAll(ctx context.Context) error {
	room := r.jury.room()
	series := ""
	for {
		row, err := r.src.Read()
		var bad *dataset.RowError
		switch {
		case errors.As(err, &bad):
			r.skipped(bad)
			if r.wide() {
				r.waiting = append(r.waiting, waitingRow{bad: true})
			}
		case errors.Is(err, io.EOF):
			if r.read == 0 && r.others != "" {
				return usage(fmt.Errorf("%s: --series: got %q, want one that the file has, such as %q", r.title(), r.series, r.others))
			}
			if r.read == 0 && r.bad > 0 {
				return usage(fmt.Errorf("%s: none of %d rows can be used", r.title(), r.bad))
			}
			return r.drain(ctx, true)
		case err != nil:
			return errors.Join(usage(fmt.Errorf("%s: %w", r.title(), err)), r.drain(ctx, true))
		default:
			if r.series != "" && row.Series != r.series {
				r.others = row.Series
				continue
			}
			if r.read++; r.read > 1 && row.Series != series && r.shown != nil {
				return usage(fmt.Errorf("%s: --report and --png show one series, the file has several, such as %q and %q: choose one by --series", r.title(), series, row.Series))
			}
			series = row.Series
			if err := r.observe(&row); err != nil { //nolint:contextcheck // Bind takes no context
				return usage(fmt.Errorf("%s: line %d: %w", r.title(), row.Line, err))
			}
		}
		// Rows are judged in batches, but none waits while the input does.
		if len(r.waiting) >= room || !r.src.Buffered() {
			if err := r.drain(ctx, false); err != nil {
				return err
			}
		}
	}
}

func (r *detection) observe(row *input.Row) error {
	w := waitingRow{timestamp: row.Timestamp, series: row.Series, at: row.At, label: row.Label}
	if !r.wide() {
		w.text = row.Cells[r.judging.index[0]].Text
	}
	if r.shown != nil {
		for k, i := range r.judging.index {
			c := &row.Cells[i]
			v := report.Value{Number: c.Value, Text: c.Text}
			if c.Missing && r.wide() || r.unread(row, k) {
				v.Text = "" // a gap, and no state among numbers
			}
			w.values = append(w.values, v)
		}
	}
	r.waiting = append(r.waiting, w)
	for k := range r.judging.index {
		if r.unread(row, k) {
			r.noNumber++
		}
	}
	for _, t := range r.trials {
		if err := t.jury.observe(row); err != nil {
			return err
		}
		t.labels, t.times = append(t.labels, row.Label), append(t.times, row.At)
	}
	return r.jury.observe(row)
}

// thin ends the trials that a long recording does without.
func (r *detection) thin(ctx context.Context) error {
	r.thinned = true
	var kept []*trial
	var errs []error
	for _, t := range r.trials {
		if slices.Contains(report.LongThresholds[:], t.threshold) {
			kept = append(kept, t)
		} else {
			errs = append(errs, t.jury.close(ctx))
		}
	}
	r.trials = kept
	return errors.Join(errs...)
}

// unread reports whether a cell of what is judged holds no number, though it should.
func (r *detection) unread(row *input.Row, k int) bool {
	v := row.Cells[r.judging.index[k]].Value
	return v != v && !r.judging.columns[k].Text && !row.States && r.dataType != "string"
}

// drain writes the rows of all rows that wait for nothing.
func (r *detection) drain(ctx context.Context, last bool) error {
	done := 0
	err := r.jury.drain(ctx, last, func(o *account.Row) {
		for ; r.waiting[done].bad; done++ {
			r.write(&r.waiting[done], nil)
		}
		r.write(&r.waiting[done], o)
		done++
	})
	if err != nil {
		return err
	}
	for ; done < len(r.waiting) && r.waiting[done].bad; done++ {
		r.write(&r.waiting[done], nil)
	}
	r.waiting = append(r.waiting[:0], r.waiting[done:]...)
	for _, t := range r.trials {
		n := 0
		err := t.jury.drain(ctx, last, func(o *account.Row) {
			t.truth.Add(t.times[n], t.labels[n], o.Incident)
			n++
		})
		if err != nil {
			return err
		}
		t.labels, t.times = append(t.labels[:0], t.labels[n:]...), append(t.times[:0], t.times[n:]...)
	}
	if !r.thinned && r.read*len(r.judging.index) > mostTried {
		if err := r.thin(ctx); err != nil {
			return err
		}
	}
	r.progress.set(r.src.Offset(), r.read)
	return r.out.Flush()
}

// write writes the row of what was read; o is nil where it cannot be used.
func (r *detection) write(w *waitingRow, o *account.Row) {
	score, onset := 0.0, 0.0
	if o == nil {
		nan := math.NaN()
		o = &account.Row{Kind: driver.KindInvalid, Expected: nan, Lower: nan, Upper: nan}
	} else {
		score, onset = r.count(w.at, o, w.label), o.Onset
		r.shown.row(w, o)
	}
	anomaly := 0.0
	if o.Severity.Anomalous() {
		anomaly = 1
	}
	out := r.out
	if r.format == "pred" {
		out.Number(anomaly)
		out.End()
		return
	}
	if len(r.files) > 1 {
		out.Text(r.name)
	}
	if r.src.Long() {
		out.Text(w.series)
	}
	out.Text(w.timestamp)
	if r.wide() {
		out.Number(score)
		out.Number(anomaly)
		out.Text(o.Severity.String())
		out.Text(string(o.Kind))
		out.Text(strings.Join(o.Blamed, ";"))
		news(out, onset, o.Incident)
		forecast(out, o.Expected, o.Lower, o.Upper)
	} else {
		out.Text(w.text)
		out.Number(score)
		out.Text(o.Severity.String())
		out.Text(string(o.Kind))
		forecast(out, o.Expected, o.Lower, o.Upper)
		news(out, onset, o.Incident)
	}
	out.End()
}

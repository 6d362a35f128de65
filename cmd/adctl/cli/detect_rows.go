// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/report"
	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

var (
	rowColumns  = []string{"timestamp", "anomaly_score", "anomaly", "severity", "kind", "blamed", "onset", "incident", "expected", "lower", "upper"}
	predColumns = []string{"pred"}
)

// rowScorer streams the rows of a group through a detector and counts what happens.
type rowScorer struct {
	config   admethod.ADMethodConfig
	model    string
	absent   []string
	in       *input.Reader
	out      *dataset.CSVWriter
	pred     bool
	progress *progress // nil for none
	shown    *backtest // nil for none
	tally

	group   *replay.Group // nil while the types of the columns are not known
	columns []int         // of the members, among those read
	cells   []input.Cell
	first   []input.Row // read before that
	waiting []waitingRow
}

// waitingRow is a row whose outcome is not written yet.
type waitingRow struct {
	timestamp string
	at        time.Time
	label     bool
	values    []report.Value // of the members, where a report is wanted
	bad       bool           // it cannot be used, and has no outcome
}

func newRowScorer(c admethod.ADMethodConfig, p *plan, src *input.Reader, out io.Writer, pred bool) *rowScorer {
	columns := rowColumns
	if pred {
		columns = predColumns
	}
	return &rowScorer{
		config: untimed(c), model: p.options.model, absent: p.absent, pred: pred,
		in:  src,
		out: dataset.NewCSVWriter(out, columns...),
	}
}

// untimed turns the checks of the time between readings off, unless they are configured: all members of a row have its
// time, so a gap tells of the recording, not of a member.
func untimed(c admethod.ADMethodConfig) admethod.ADMethodConfig {
	settings := c.Settings()
	if settings["quality.missing"] == nil {
		c.Quality.Missing = 0
	}
	if settings["quality.late"] == nil {
		c.Quality.Late = 0
	}
	return c
}

func (s *rowScorer) run(ctx context.Context) (err error) {
	defer func() {
		if s.group != nil {
			err = errors.Join(err, s.group.Close(context.WithoutCancel(ctx)))
		}
		err = errors.Join(err, s.out.Flush())
	}()
	if len(s.absent) > 0 {
		fmt.Fprintf(s.log, "no column for %s: counts as missing\n", strings.Join(s.absent, ", "))
	}
	for {
		row, err := s.in.Read()
		var bad *dataset.RowError
		switch {
		case errors.As(err, &bad):
			s.skipped(bad)
			s.waiting = append(s.waiting, waitingRow{bad: true})
		case errors.Is(err, io.EOF):
			if s.read == 0 && s.bad > 0 {
				return usage(fmt.Errorf("none of %d rows can be used", s.bad))
			}
			return s.drain(ctx, true)
		case err != nil:
			return errors.Join(usage(err), s.drain(ctx, true))
		default:
			s.read++
			s.waiting = append(s.waiting, waitingRow{timestamp: row.Timestamp, at: row.At, label: row.Label})
			if s.group == nil {
				s.labelled = s.in.LabelColumn()
				row.Cells = slices.Clone(row.Cells)
				s.first = append(s.first, row)
			} else {
				s.observe(&row, &s.waiting[len(s.waiting)-1])
			}
		}
		// Rows are judged in batches, but none waits while the input does.
		if len(s.waiting)%replay.MaxBatch == 0 || !s.in.Buffered() || s.group == nil && len(s.first) >= pacingRows && typed(s.first) {
			if err := s.drain(ctx, false); err != nil {
				return err
			}
		}
	}
}

func (s *rowScorer) observe(row *input.Row, w *waitingRow) {
	s.cells = s.cells[:0]
	for _, i := range s.columns {
		s.cells = append(s.cells, row.Cells[i])
	}
	s.group.Observe(row.At, s.cells)
	if s.shown == nil {
		return
	}
	w.values = make([]report.Value, len(s.cells))
	for i, c := range s.cells {
		w.values[i] = report.Value{Number: c.Value, Text: c.Text}
	}
}

// begin binds the members, as the first rows show what they are.
func (s *rowScorer) begin(ctx context.Context) error {
	columns, members, left := membersOf(s.in.Columns(), takesText(&s.config))
	if left != nil {
		fmt.Fprintf(s.log, "detector %s takes numbers, not the texts of %s: left out\n", s.config.Detector, strings.Join(left, ", "))
	}
	if len(members) == 0 {
		return usage(fmt.Errorf("detector %s takes numbers, and no column has any", s.config.Detector))
	}
	s.columns = columns
	var err error
	if s.group, err = replay.OpenGroup(ctx, replay.GroupOptions{Config: aging(s.config, s.first), Members: members, Model: s.model}); err != nil {
		return usage(err)
	}
	var names []string
	for _, m := range members {
		names = append(names, m.Name)
	}
	s.shown.begin(names, s.labelled)
	for i := range s.waiting {
		if w := &s.waiting[i]; !w.bad {
			s.observe(&s.first[0], w)
			s.first = s.first[1:]
		}
	}
	s.first = nil
	return nil
}

// pacingRows are enough to tell how far rows are apart.
const pacingRows = 8

// aging gives the rows the age from which a member's last reading does not stand for it, where none is configured: that
// of four rows, as a mapper has it from the cycles of its properties.
func aging(c admethod.ADMethodConfig, rows []input.Row) admethod.ADMethodConfig {
	if c.Settings()["rows.maxAge"] != nil {
		return c
	}
	var steps []time.Duration
	for i := 1; i < len(rows); i++ {
		if step := rows[i].At.Sub(rows[i-1].At); step > 0 {
			steps = append(steps, step)
		}
	}
	if len(steps) > 0 {
		slices.Sort(steps)
		c.Rows.MaxAge = 4 * steps[len(steps)/2]
	}
	return c
}

// typingRows are enough to tell the type of a column, if one has no reading in them.
const typingRows = 100

// typed reports whether the rows show the type of each column.
func typed(rows []input.Row) bool {
	if len(rows) == 0 || len(rows) >= typingRows {
		return len(rows) > 0
	}
	for i := range rows[0].Cells {
		if !slices.ContainsFunc(rows, func(r input.Row) bool { return !r.Cells[i].Missing }) {
			return false
		}
	}
	return true
}

// membersOf makes members of columns; those of texts are left out unless text is wanted.
func membersOf(all []input.Column, text bool) (columns []int, members []replay.Member, left []string) {
	for i, c := range all {
		if c.Text && !text {
			left = append(left, c.Name)
			continue
		}
		columns, members = append(columns, i), append(members, replay.Member{Name: c.Name, Text: c.Text})
	}
	return columns, members, left
}

// drain writes the rows of all rows that wait for nothing.
func (s *rowScorer) drain(ctx context.Context, last bool) error {
	if s.group == nil && len(s.first) > 0 {
		if err := s.begin(ctx); err != nil {
			return err
		}
	}
	var outcomes []replay.RowOutcome
	if s.group != nil {
		var err error
		if outcomes, err = s.group.Drain(ctx, last); err != nil {
			return err
		}
	}
	done := 0
	for done < len(s.waiting) {
		r := &s.waiting[done]
		switch {
		case r.bad:
			o := replay.Unjudged()
			o.Kind = driver.KindInvalid
			s.write(r, &o)
		case len(outcomes) > 0:
			s.write(r, &outcomes[0])
			outcomes = outcomes[1:]
		default:
			s.waiting = slices.Delete(s.waiting, 0, done)
			return s.flush()
		}
		done++
	}
	s.waiting = s.waiting[:0]
	return s.flush()
}

func (s *rowScorer) flush() error {
	s.progress.set(s.in.Offset(), s.read)
	return s.out.Flush()
}

func (s *rowScorer) write(r *waitingRow, o *replay.RowOutcome) {
	w := s.out
	anomaly := 0.0
	if o.Severity.Anomalous() {
		anomaly = 1
	}
	score := 0.0
	if !r.bad {
		score = s.count(r.at, &replay.Outcome{Score: o.Score, Severity: o.Severity, Kind: o.Kind, Incident: o.Incident}, r.label)
		s.shown.row(r.at, r.values, r.label, o)
	}
	if s.pred {
		w.Number(anomaly)
		w.End()
		return
	}
	w.Text(r.timestamp)
	w.Number(score)
	w.Number(anomaly)
	w.Text(o.Severity.String())
	w.Text(string(o.Kind))
	w.Text(strings.Join(o.Blamed, ";"))
	news(w, o.Onset, o.Incident)
	forecast(w, o.Expected, o.Lower, o.Upper)
	w.End()
}

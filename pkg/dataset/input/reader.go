// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// Options choose what is read, and how. The zero value finds out by itself.
type Options struct {
	Time       string         // name of the column with the time of reading
	TimeFormat string         // how it is written: DD.MM.YYYY hh:mm:ss, %d.%m.%Y %H:%M:%S, or a layout of package time
	Location   *time.Location // of times that carry no zone; nil means UTC
	Value      string         // name of the only column of readings
	Columns    []string       // names of the columns of readings, in this order
	Optional   bool           // columns of that list that are not there are left out
	Series     []string       // names of the columns that tell series apart
	Decimal    string         // mark before the fraction of numbers, point or comma; found out where empty
	Texts      bool           // columns of texts are readings too, beside columns of numbers
	Formats    []Format       // that the file may have beside those that this package knows
}

// sampleRows are looked at before the first row is given out.
const sampleRows = 1000

// Reader reads a recording.
type Reader struct {
	grid    Grid
	opts    Options
	plan    *plan
	header  []string
	sample  []seen // rows that were looked at and are not given out yet
	sorted  []Row  // all rows, where they had to be sorted
	order   bool   // rows come from sorted
	cells   []Cell
	notes   []string
	shift   shift
	example string // of a time whose day and month may be either
	cadence time.Duration
	ended   bool

	labelled bool
}

// seen is a row that was looked at, or the error that stood in its place.
type seen struct {
	row  []string
	line int
	err  error
}

// NewReader finds out what src is. The error tells what to do; it is io.EOF for an empty file.
func NewReader(src io.Reader, o Options) (*Reader, error) {
	grid, err := open(src, o.Formats)
	if err != nil {
		return nil, err
	}
	if o.Time == NoTime {
		grid, o.Time = &numbered{Grid: grid}, ""
	}
	r := &Reader{grid: grid, opts: o}
	if err := r.look(); err != nil {
		return nil, err
	}
	return r, nil
}

// ErrEmpty is that of a file without a row.
var ErrEmpty = errors.New("the file is empty")

// The share of steps backwards from which a file is sorted. A few are what happened to the readings, and
// for the detector to judge.
const (
	disorder   = 0.05
	disordered = 3 // and at least so many
)

// arrange reads the whole file and sorts it if its sample runs backwards, and settles which way dates are written.
func (r *Reader) arrange(rows [][]string) error {
	p := r.plan
	last := make(map[string]time.Time)
	back, steps := 0, 0
	var gaps, all []time.Duration
	for _, row := range rows {
		if p.time >= len(row) {
			continue
		}
		at, err := p.clock.parse(p.timestamp(row))
		if err != nil {
			continue
		}
		key := p.key(row)
		if before, ok := last[key]; ok {
			steps++
			d := at.Sub(before)
			if d < 0 {
				back++
			} else if d > 0 {
				gaps = append(gaps, d)
			}
			if d != 0 {
				all = append(all, d.Abs())
			}
		}
		last[key] = at
	}
	p.clock.last = time.Time{}
	slices.Sort(gaps)
	if slices.Sort(all); len(all) > 0 {
		r.cadence = all[len(all)/2]
	}
	if len(gaps) > 0 {
		r.shift.cadence = gaps[len(gaps)/2]
	}
	r.shift.on = p.clock.unit == text && !p.clock.zoned && r.opts.Location == nil
	r.example = p.timestamp(rows[0])
	for _, row := range rows { // one that shows the difference
		if at := p.timestamp(row); p.clock.other != "" && !p.clock.same(at) {
			r.example = at
			break
		}
	}
	sort := float64(back) > disorder*float64(steps) && (back >= disordered || len(gaps) == 0)
	if !sort && p.clock.other == "" {
		return nil
	}
	if !sort && r.ended {
		return p.clock.settle(r.example)
	}
	return r.readAll(sort, len(gaps) == 0)
}

// readAll takes the rest of the file into memory, to sort it, or since only all of its times tell how they are written.
func (r *Reader) readAll(sort, reversed bool) error {
	for !r.ended {
		row, line, err := r.grid.Read()
		var bad *dataset.RowError
		if err != nil && !errors.As(err, &bad) {
			if !errors.Is(err, io.EOF) {
				return err
			}
			r.ended = true
			break
		}
		r.sample = append(r.sample, seen{slices.Clone(row), line, err})
		if err == nil && r.plan.clock.other != "" {
			_, _ = r.plan.clock.parse(r.plan.timestamp(row))
		}
		if !sort && r.plan.clock.other == "" {
			return nil // settled, and in order
		}
	}
	if err := r.plan.clock.settle(r.example); err != nil {
		return err
	}
	if !sort {
		return nil
	}
	r.shift.on = false
	rows := make([][]string, 0, len(r.sample))
	for _, s := range r.sample {
		if s.err == nil {
			rows = append(rows, s.row)
		}
	}
	r.plan.findStates(rows, r.note)
	var bad []seen
	for _, s := range r.sample {
		if s.err != nil {
			bad = append(bad, s)
			continue
		}
		row, err := r.parse(s.row, s.line)
		if err != nil {
			bad = append(bad, seen{line: s.line, err: &dataset.RowError{Line: s.line, Err: err}})
			continue
		}
		row.Cells = slices.Clone(row.Cells)
		r.sorted = append(r.sorted, row)
	}
	r.sample, r.order = bad, true
	if reversed { // rows of the same time stay in the order in which they came about
		slices.Reverse(r.sorted)
	}
	slices.SortStableFunc(r.sorted, func(a, b Row) int { return a.At.Compare(b.At) })
	if reversed {
		r.note("the rows come newest first: sorted by time")
	} else {
		r.note("the rows are not in the order of time: sorted")
	}
	return nil
}

func (r *Reader) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// Columns are the columns of readings.
func (r *Reader) Columns() []Column { return r.plan.columns }

// Counts says what is counted where no time is known.
func (r *Reader) Counts() Count { return r.plan.clock.counts }

// Cadence is the time between two rows of a series in the median of those looked at first; 0 where they do not tell.
func (r *Reader) Cadence() time.Duration {
	if r.plan.clock.counts == Rows {
		return 0
	}
	return r.cadence
}

// AsWritten reports whether the times are those of a clock that nobody says the place of: they carry no zone, and
// Options.Location tells none.
func (r *Reader) AsWritten() bool {
	c := r.plan.clock
	return r.opts.Location == nil && (c.unit == excel || c.unit == text && !c.zoned)
}

// Location is Options.Location.
func (r *Reader) Location() *time.Location { return r.opts.Location }

// Headed reports whether the columns have names in the file, as opposed to such as "column 2".
func (r *Reader) Headed() bool { return r.header != nil }

// Only keeps one of the columns, before the first Read. What is said of the others is forgotten.
func (r *Reader) Only(column int) {
	r.plan.columns = r.plan.columns[column : column+1]
	r.cells = r.cells[:1]
	for i := range r.sorted {
		r.sorted[i].Cells = r.sorted[i].Cells[column : column+1]
	}
}

// LabelColumn reports whether there is a column for the truth.
func (r *Reader) LabelColumn() bool { return r.plan.label >= 0 }

// Labelled reports whether there is a truth: a column for it that held something in a row that was read.
func (r *Reader) Labelled() bool { return r.labelled }

// Long reports whether rows are of series that a column tells apart.
func (r *Reader) Long() bool { return len(r.plan.series) > 0 }

// Notes are what a person should know of how the file was read. There may be more of them after the last row.
func (r *Reader) Notes() []string { return r.notes }

// Offset is the number of bytes of the file that were read.
func (r *Reader) Offset() int64 { return r.grid.Offset() }

// Buffered reports whether the next Read has something at hand, as opposed to waiting for the source.
func (r *Reader) Buffered() bool { return len(r.sample) > 0 || r.order || r.grid.Buffered() }

// Read returns the next row. The error is io.EOF at the end, a *dataset.RowError for a row that cannot be used, after
// which Read goes on with the next, and any other for a file that cannot be read.
func (r *Reader) Read() (Row, error) {
	if r.order && len(r.sample) == 0 {
		if len(r.sorted) == 0 {
			return Row{}, io.EOF
		}
		row := r.sorted[0]
		r.sorted = r.sorted[1:]
		return row, nil
	}
	var fields []string
	var line int
	var err error
	switch {
	case len(r.sample) > 0:
		fields, line, err = r.sample[0].row, r.sample[0].line, r.sample[0].err
		r.sample = r.sample[1:]
	case r.ended:
		return Row{}, io.EOF
	default:
		fields, line, err = r.grid.Read()
	}
	if err != nil {
		r.ended = r.ended || errors.Is(err, io.EOF)
		return Row{}, err
	}
	if r.plan.mayHaveStates() {
		fields = r.meet(fields)
	}
	row, err := r.parse(fields, line)
	var mark *markError
	switch {
	case errors.As(err, &mark):
		return Row{}, fmt.Errorf("line %d: %w", line, err)
	case err != nil:
		return Row{}, &dataset.RowError{Line: line, Err: err}
	}
	row.At = r.shift.at(row.At, row.Series)
	if r.shift.told != "" {
		r.notes, r.shift.told = append(r.notes, r.shift.told), ""
	}
	return row, nil
}

// meet looks ahead where a series comes that no row was of before, and whose reading is no number: it may be an error of a
// sensor, or a state. It returns the fields, which stay valid.
func (r *Reader) meet(fields []string) []string {
	p := r.plan
	key := p.key(fields)
	if _, met := p.states[key]; met {
		return fields
	}
	cell, ok := p.reading(fields)
	if _, _, number := p.columns[0].style.parse(cell); ok && number {
		p.meet(key, []string{cell}, r.note)
		return fields
	}
	fields = slices.Clone(fields)
	for len(r.sample) < sampleRows && !r.ended && r.grid.Buffered() {
		row, line, err := r.grid.Read()
		if r.ended = errors.Is(err, io.EOF); r.ended {
			break
		}
		r.sample = append(r.sample, seen{slices.Clone(row), line, err})
		var bad *dataset.RowError
		if err != nil && !errors.As(err, &bad) {
			break
		}
	}
	var readings []string
	if ok {
		readings = append(readings, cell)
	}
	for _, s := range r.sample {
		if s.err == nil && p.key(s.row) == key {
			if cell, ok := p.reading(s.row); ok {
				readings = append(readings, cell)
			}
		}
	}
	p.meet(key, readings, r.note)
	return fields
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// truths are the names of columns that tell what is anomalous. They are never members.
var truths = [...]string{"anomaly", "changepoint", "label", "is_anomaly"}

// Truth reports whether a column of that name, in capitals or not, tells what is anomalous.
func Truth(column string) bool {
	return slices.ContainsFunc(truths[:], func(t string) bool { return strings.EqualFold(strings.TrimSpace(column), t) })
}

// TableOptions choose the columns of a [TableReader]. The zero value finds them by itself.
type TableOptions struct {
	Time    string   // name of the column with the time of reading; "" takes the first
	Columns []string // names of the members, in this order; nil takes all columns but the time and those of [Truth]
}

// Cell is the reading of one member in a row.
type Cell struct {
	Value float64 // NaN where Text is no number
	Text  string  // as in the file, without blanks around it; "" where the reading is missing
}

// Missing reports that there is no reading: the cell is empty, or says so (NaN, NA, N/A, null).
func (c Cell) Missing() bool { return c.Text == "" }

// TableRow is one row of a table: a reading of each member.
type TableRow struct {
	Line      int    // in the file, from 1
	Timestamp string // as in the file
	At        time.Time
	Label     string // of the column anomaly, is_anomaly or label, where there is one; see [Anomalous]
	Cells     []Cell // in the order of the columns; valid until the next Read
}

// TableReader reads a table of CSV that has a header, a time in each row and a column for each member of a group. It
// takes the separators, quotes, times and numbers that a [CSVReader] takes, and skips what that skips. It holds one line
// at a time.
type TableReader struct {
	lines
	opts      TableOptions
	separator byte // 0 before the header
	width     int  // columns of the header
	time      int
	label     int      // column, -1 for none
	names     []string // of the members
	members   []int    // their columns
	fields    []string
	cells     []Cell
	clock     timeParser
}

// NewTableReader reads from src.
func NewTableReader(src io.Reader, opts TableOptions) *TableReader {
	return &TableReader{lines: newLines(src), opts: opts, label: -1}
}

// Labelled reports whether there is a column with labels. It is known after Columns or the first Read.
func (r *TableReader) Labelled() bool { return r.label >= 0 }

var (
	errNoHeader  = errors.New("want a header: the name of the time and of each member, separated by comma, semicolon, tab or bar")
	errNoMembers = errors.New("want a column beside the time and the labels of anomalies")
)

// Columns are the names of the members, from the header, which it reads if need be. It is io.EOF for an empty file.
func (r *TableReader) Columns() ([]string, error) {
	if r.separator == 0 {
		header, err := r.next()
		if err != nil {
			return nil, err
		}
		if err := r.begin(header); err != nil {
			return nil, fmt.Errorf("line %d: %w", r.line, err)
		}
	}
	return slices.Clone(r.names), nil
}

// begin finds the separator and the columns from the header.
func (r *TableReader) begin(header string) error {
	var names []string
	var best byte
	for _, sep := range separators {
		if fields, err := SplitFields(nil, header, sep); err == nil && len(fields) > max(len(names), 1) {
			names, best = fields, sep
		}
	}
	if best == 0 {
		return errNoHeader
	}
	if _, err := r.clock.parse(names[0]); err == nil {
		return fmt.Errorf("got %q: %w", clip(header), errNoHeader)
	}
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	if r.opts.Time != "" {
		if r.time = slices.Index(names, r.opts.Time); r.time < 0 {
			return fmt.Errorf("no column %q among %q", r.opts.Time, names)
		}
	}
	wanted := r.opts.Columns
	if wanted == nil {
		for i, name := range names {
			if i != r.time && name != "" && !Truth(name) {
				wanted = append(wanted, name)
			}
		}
	}
	r.names, r.members = nil, nil
	for _, name := range wanted {
		i := slices.Index(names, name)
		switch {
		case i < 0:
			return fmt.Errorf("no column %q among %q", name, names)
		case i == r.time:
			return fmt.Errorf("column %q is the time", name)
		case Truth(name):
			return fmt.Errorf("column %q tells what is anomalous, want members", name)
		case slices.Contains(r.members, i), slices.Index(names[i+1:], name) >= 0:
			return fmt.Errorf("column %q is there twice", name)
		}
		r.names, r.members = append(r.names, name), append(r.members, i)
	}
	if len(r.members) == 0 {
		return errNoMembers
	}
	if r.label = labelColumn(names); r.label == r.time {
		r.label = -1
	}
	r.separator, r.width, r.cells = best, len(names), make([]Cell, len(r.members))
	return nil
}

// Read returns the next row. The error is io.EOF at the end, a *RowError for a row that cannot be used, after which
// Read goes on with the next, and any other for a file that cannot be read.
func (r *TableReader) Read() (TableRow, error) {
	if r.separator == 0 {
		if _, err := r.Columns(); err != nil {
			return TableRow{}, err
		}
	}
	line, err := r.next()
	if err != nil {
		return TableRow{}, err
	}
	row, err := r.parse(line)
	if err != nil {
		return TableRow{}, &RowError{Line: r.line, Err: err}
	}
	return row, nil
}

func (r *TableReader) parse(line string) (TableRow, error) {
	var err error
	if r.fields, err = SplitFields(r.fields[:0], line, r.separator); err != nil {
		return TableRow{}, err
	}
	if len(r.fields) != r.width {
		return TableRow{}, fmt.Errorf("got %d columns, want %d as in the header", len(r.fields), r.width)
	}
	row := TableRow{Line: r.line, Timestamp: r.fields[r.time], Cells: r.cells}
	if row.At, err = r.clock.parse(row.Timestamp); err != nil {
		return TableRow{}, err
	}
	if r.label >= 0 {
		row.Label = r.fields[r.label]
	}
	for i, column := range r.members {
		r.cells[i] = cell(r.fields[column], r.separator)
	}
	return row, nil
}

func cell(text string, sep byte) Cell {
	text = strings.TrimSpace(text)
	switch len(text) {
	case 0, 2, 3, 4:
		if text == "" || absent(text) {
			return Cell{Value: math.NaN()}
		}
	}
	return Cell{Value: number(text, sep), Text: text}
}

// absent reports whether a text stands for no reading.
func absent(text string) bool {
	for _, word := range [...]string{"nan", "na", "n/a", "null"} {
		if strings.EqualFold(text, word) {
			return true
		}
	}
	return false
}

// clip shortens a text for a message.
func clip(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

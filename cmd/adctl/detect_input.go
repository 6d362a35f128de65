// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/formats"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// inputOptions say how a recording is read.
type inputOptions struct {
	input.Options
	timezone string
}

func (o *inputOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.Time, "time-column", "", "header of the column with the times")
	f.StringVar(&o.TimeFormat, "time-format", "", "how times are written: DD.MM.YYYY hh:mm:ss, %d.%m.%Y %H:%M:%S, or 02.01.2006 15:04:05; found where empty")
	f.StringVar(&o.timezone, "timezone", "", "of times without a zone, an IANA name such as Europe/Berlin; UTC where empty")
	f.StringVar(&o.Value, "value-column", "", "header of the column with the readings of one property")
	f.StringSliceVar(&o.Series, "series-columns", nil, "headers of the columns that tell series apart; found by their names where empty")
}

// open finds out what a file is.
func (o *inputOptions) open(src io.Reader) (*input.Reader, error) {
	o.Formats = formats.All()
	if o.timezone != "" {
		var err error
		if o.Location, err = time.LoadLocation(o.timezone); err != nil {
			return nil, fmt.Errorf("--timezone: got %q, want an IANA name such as Europe/Berlin", o.timezone)
		}
	}
	return input.NewReader(src, o.Options)
}

// records are the rows of a recording with one column of readings.
type records struct{ *input.Reader }

// Read returns the next record, with the errors of input.Reader.
func (r records) Read() (dataset.Record, error) {
	row, err := r.Reader.Read()
	if err != nil {
		return dataset.Record{}, err
	}
	return recordOf(&row), nil
}

func recordOf(row *input.Row) dataset.Record {
	return dataset.Record{
		Reading: dataset.Reading{At: row.At, Value: row.Cells[0].Value, Text: row.Cells[0].Text},
		Line:    row.Line, Timestamp: row.Timestamp, Label: labelOf(row), Series: row.Series,
	}
}

func labelOf(row *input.Row) string {
	if row.Label {
		return "1"
	}
	return "0"
}

// tableRows are the rows of a recording with a column for each member.
type tableRows struct {
	*input.Reader
	cells []dataset.Cell
}

// Columns are the names of the members.
func (r *tableRows) Columns() ([]string, error) {
	var names []string
	for _, c := range r.Reader.Columns() {
		names = append(names, c.Name)
	}
	return names, nil
}

// Read returns the next row, with the errors of input.Reader. Its cells are valid until the next call.
func (r *tableRows) Read() (dataset.TableRow, error) {
	row, err := r.Reader.Read()
	if err != nil {
		return dataset.TableRow{}, err
	}
	r.cells = r.cells[:0]
	for _, c := range row.Cells {
		cell := dataset.Cell{Value: c.Value, Text: c.Text}
		if c.Missing {
			cell.Text = ""
		}
		r.cells = append(r.cells, cell)
	}
	return dataset.TableRow{Line: row.Line, Timestamp: row.Timestamp, At: row.At, Label: labelOf(&row), Cells: r.cells}, nil
}

// mostSeries bounds how many series a file may be split into.
const mostSeries = 10_000

// split reads a whole recording, and gives the records of each of its series, in the order in which these begin.
func split(r *input.Reader, skipped func(*dataset.RowError)) (names []string, all map[string][]dataset.Record, err error) {
	all = make(map[string][]dataset.Record)
	for {
		row, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return names, all, nil
		case errors.As(err, &bad):
			skipped(bad)
			continue
		case err != nil:
			return nil, nil, err
		}
		if _, ok := all[row.Series]; !ok {
			if names = append(names, row.Series); len(names) > mostSeries {
				return nil, nil, fmt.Errorf("line %d: more than %d series: --series-columns says which columns tell them apart", row.Line, mostSeries)
			}
		}
		all[row.Series] = append(all[row.Series], recordOf(&row))
	}
}

// recorded are the records of one series.
type recorded struct {
	rest     []dataset.Record
	labelled bool
	offset   int64
}

func (r *recorded) Read() (dataset.Record, error) {
	if len(r.rest) == 0 {
		return dataset.Record{}, io.EOF
	}
	next := r.rest[0]
	r.rest = r.rest[1:]
	return next, nil
}

func (r *recorded) Offset() int64     { return r.offset }
func (r *recorded) Buffered() bool    { return true }
func (r *recorded) LabelColumn() bool { return r.labelled }

// names of columns.
func columnNames(r *input.Reader) []string {
	var names []string
	for _, c := range r.Columns() {
		names = append(names, c.Name)
	}
	return slices.Clip(names)
}

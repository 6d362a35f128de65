// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

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

// times are the flags that say which column is the time, and how it is written.
func (o *inputOptions) times(f *pflag.FlagSet) {
	f.StringVar(&o.Time, "time-column", "", "header of the column with the times")
	f.StringVar(&o.TimeFormat, "time-format", "", "how times are written: DD.MM.YYYY hh:mm:ss, %d.%m.%Y %H:%M:%S, or 02.01.2006 15:04:05; found where empty")
	f.StringVar(&o.timezone, "timezone", "", "of times without a zone, an IANA name such as Europe/Berlin; UTC where empty")
}

func (o *inputOptions) flags(f *pflag.FlagSet) {
	o.times(f)
	f.StringVar(&o.Value, "value-column", "", "header of the column with the readings of one property")
	f.StringSliceVar(&o.Series, "series-columns", nil, "headers of the columns that tell series apart; found by their names where empty")
}

// settle takes the formats of this program and the time zone.
func (o *inputOptions) settle() (err error) {
	o.Formats = formats.All()
	if o.timezone == "" {
		return nil
	}
	if o.Location, err = time.LoadLocation(o.timezone); err != nil {
		return fmt.Errorf("--timezone: got %q, want an IANA name such as Europe/Berlin", o.timezone)
	}
	return nil
}

// open finds out what a file is.
func (o *inputOptions) open(src io.Reader) (*input.Reader, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	return input.NewReader(src, o.Options)
}

// record is a reading of one property.
type record struct {
	dataset.Reading
	timestamp string // as in the file
	series    string
	label     bool
}

// records are the rows of a recording with one column of readings.
type records struct{ *input.Reader }

// Read returns the next record, with the errors of input.Reader.
func (r records) Read() (record, error) {
	row, err := r.Reader.Read()
	if err != nil {
		return record{}, err
	}
	return recordOf(&row), nil
}

func recordOf(row *input.Row) record {
	return record{
		Reading:   dataset.Reading{At: row.At, Value: row.Cells[0].Value, Text: row.Cells[0].Text},
		timestamp: row.Timestamp, label: row.Label, series: row.Series,
	}
}

// mostSeries bounds how many series a file may be split into.
const mostSeries = 10_000

// split reads a whole recording, and gives the records of each of its series, in the order in which these begin.
func split(r *input.Reader, skipped func(*dataset.RowError)) (names []string, all map[string][]record, err error) {
	all = make(map[string][]record)
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
	rest     []record
	labelled bool
	offset   int64
}

func (r *recorded) Read() (record, error) {
	if len(r.rest) == 0 {
		return record{}, io.EOF
	}
	next := r.rest[0]
	r.rest = r.rest[1:]
	return next, nil
}

func (r *recorded) Offset() int64     { return r.offset }
func (r *recorded) Buffered() bool    { return true }
func (r *recorded) LabelColumn() bool { return r.labelled }

// columnNames are the headers of the columns of readings.
func columnNames(r *input.Reader) []string {
	var names []string
	for _, c := range r.Columns() {
		names = append(names, c.Name)
	}
	return slices.Clip(names)
}

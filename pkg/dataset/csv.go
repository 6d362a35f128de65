// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// CSVOptions choose the columns of a [CSVReader]. The zero value finds them by itself.
type CSVOptions struct {
	Time  string // name of the column with the time of reading; needs a header
	Value string // name of the column with the reading; needs a header
}

// Record is one row of a CSV file.
type Record struct {
	Reading
	Line      int    // in the file, from 1
	Timestamp string // as in the file; Reading.Text is the value as in the file
	Label     string // of the column anomaly, is_anomaly or label, where the header has one; see [Anomalous]
	Series    string // namespace/device/property, where the header has such columns; else ""
}

// CSVReader reads readings from CSV as it is found in the field: RFC 4180, but for quoted line breaks, which are bad
// rows. It holds one line at a time.
//
// The separator is a comma, semicolon, tab or bar, found from the first line. The first line is a header if its first
// field is no time; then the columns are found by name: the time is called timestamp, time, datetime, date, ts or _time,
// else it is the first column; the reading is called value or _value, else it is the first column beside the time.
// Without a header they are the first and the second. A byte order mark, carriage returns, empty lines and lines that
// begin with # are skipped. An export of recorded readings has more columns, all of which are known: where the value is
// empty, the reading is the one in the column text. Where the separator is no comma, a number may have a decimal comma.
type CSVReader struct {
	lines
	opts      CSVOptions
	separator byte // 0 before the first line
	time      int  // columns
	value     int
	label     int // -1 for none, as the next one
	text      int
	series    []int
	fields    []string
	clock     timeParser
}

// NewCSVReader reads from src.
func NewCSVReader(src io.Reader, opts CSVOptions) *CSVReader {
	return &CSVReader{lines: newLines(src), opts: opts, value: 1, label: -1, text: -1}
}

// Read returns the next record. The error is io.EOF at the end, a *RowError for a row that cannot be used, after which
// Read goes on with the next, and any other for a file that cannot be read.
func (r *CSVReader) Read() (Record, error) {
	for {
		text, err := r.next()
		if err != nil {
			return Record{}, err
		}
		if r.separator == 0 {
			header, err := r.begin(text)
			if err != nil {
				return Record{}, err
			}
			if header {
				continue
			}
		}
		record, err := r.parse(text)
		if err != nil {
			return Record{}, &RowError{Line: r.line, Err: err}
		}
		return record, nil
	}
}

// begin finds the separator and the columns from the first line, and reports whether that line is a header.
func (r *CSVReader) begin(line string) (header bool, err error) {
	var best byte
	most := 0
	for _, sep := range separators {
		fields, err := SplitFields(nil, line, sep)
		if err != nil || len(fields) < 2 {
			continue
		}
		if _, err := r.clock.parse(fields[0]); err == nil && r.opts == (CSVOptions{}) {
			r.separator = sep
			return false, nil
		}
		if len(fields) > most {
			best, most = sep, len(fields)
		}
	}
	if best == 0 {
		return false, fmt.Errorf("line %d: want at least two columns, a time and a reading, separated by comma, semicolon, tab or bar", r.line)
	}
	r.separator = best
	names, _ := SplitFields(nil, line, best)
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	if r.time, err = r.column(names, r.opts.Time, 0, -1, "timestamp", "time", "datetime", "date", "ts", "_time"); err != nil {
		return false, err
	}
	if r.value, err = r.column(names, r.opts.Value, 1, r.time, "value", "_value"); err != nil {
		return true, err
	}
	if r.label = labelColumn(names); r.label == r.time || r.label == r.value {
		r.label = -1
	}
	r.exported(names)
	return true, nil
}

// exported finds the columns that exports of recorded readings have beside.
func (r *CSVReader) exported(names []string) {
	if slices.Contains(names, "device") && slices.Contains(names, "property") {
		for _, part := range [...]string{"namespace", "device", "property"} {
			if i := slices.Index(names, part); i >= 0 {
				r.series = append(r.series, i)
			}
		}
	}
	if i := slices.Index(names, "text"); i >= 0 && r.series != nil && names[r.value] == "value" {
		r.text = i
	}
}

// Labelled reports whether there is a column with labels. It is known after the first Read.
func (r *CSVReader) Labelled() bool { return r.label >= 0 }

// column finds a column by its wanted name, else by its usual ones, else takes the first that is not taken.
func (r *CSVReader) column(names []string, want string, fallback, taken int, usual ...string) (int, error) {
	if want != "" {
		i := slices.Index(names, want)
		switch {
		case i < 0:
			return 0, fmt.Errorf("line %d: no column %q among %q", r.line, want, names)
		case i == taken:
			return 0, fmt.Errorf("line %d: column %q is the time already", r.line, want)
		}
		return i, nil
	}
	for _, u := range usual {
		for i, name := range names {
			if i != taken && strings.EqualFold(name, u) {
				return i, nil
			}
		}
	}
	if fallback <= taken {
		fallback-- // the time is the second column: the reading is the first
	}
	return fallback, nil
}

func (r *CSVReader) parse(line string) (Record, error) {
	var err error
	if r.fields, err = SplitFields(r.fields[:0], line, r.separator); err != nil {
		return Record{}, err
	}
	if n := len(r.fields); n <= max(r.time, r.value) {
		return Record{}, fmt.Errorf("got %d columns, want at least %d", n, max(r.time, r.value)+1)
	}
	record := Record{Line: r.line, Timestamp: r.fields[r.time]}
	record.Text = r.fields[r.value]
	if record.Text == "" && r.text >= 0 && r.text < len(r.fields) {
		record.Text = r.fields[r.text]
	}
	record.Value = number(record.Text, r.separator)
	for i, column := range r.series {
		if column < len(r.fields) {
			if i > 0 {
				record.Series += "/"
			}
			record.Series += r.fields[column]
		}
	}
	if r.label >= 0 && r.label < len(r.fields) {
		record.Label = r.fields[r.label]
	}
	record.At, err = r.clock.parse(record.Timestamp)
	return record, err
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// CSVWriter writes rows of RFC 4180, separated by commas, field by field. It keeps its first error until Flush.
type CSVWriter struct {
	dst   *bufio.Writer
	row   []byte // the fields so far
	begun bool   // the row has a field, be it empty

	// The shortest form of a number is dear, and scores are often the same in neighbouring fields.
	last  float64
	short []byte
}

// NewCSVWriter writes to dst, the header first.
func NewCSVWriter(dst io.Writer, columns ...string) *CSVWriter {
	w := NewCSVRows(dst)
	for _, c := range columns {
		w.Text(c)
	}
	w.End()
	return w
}

// NewCSVRows writes to dst, without a header.
func NewCSVRows(dst io.Writer) *CSVWriter { return &CSVWriter{dst: bufio.NewWriterSize(dst, 64<<10)} }

// Text writes a field, quoted where its content asks for it.
func (w *CSVWriter) Text(s string) {
	w.separate()
	if !quoted(s) {
		w.row = append(w.row, s...)
		return
	}
	w.row = append(w.row, '"')
	w.row = append(w.row, strings.ReplaceAll(s, `"`, `""`)...)
	w.row = append(w.row, '"')
}

// quoted tells whether s needs quotes. An empty field does not; but a row that is but one would be an empty line, and
// one that begins with # a comment.
func quoted(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case ',', '"', '\r', '\n':
			return true
		}
	}
	return s != "" && (s[0] == '#' || s[0] == ' ' || s[0] == '\t')
}

// Number writes a number with as many digits as it takes to tell it from all others; NaN is an empty field.
func (w *CSVWriter) Number(v float64) { w.Rounded(v, -1) }

// Rounded writes a number with the given number of significant digits; NaN is an empty field.
func (w *CSVWriter) Rounded(v float64, digits int) {
	w.separate()
	switch {
	case math.IsNaN(v):
	case digits >= 0:
		w.row = strconv.AppendFloat(w.row, v, 'g', digits, 64)
	default:
		if v != w.last || v == 0 || w.short == nil { // 0 and -0 are equal
			w.last, w.short = v, strconv.AppendFloat(w.short[:0], v, 'g', -1, 64)
		}
		w.row = append(w.row, w.short...)
	}
}

// Time writes a time as RFC 3339 in UTC, with the fraction of a second that it has.
func (w *CSVWriter) Time(t time.Time) {
	w.separate()
	w.row = t.UTC().AppendFormat(w.row, time.RFC3339Nano)
}

// End ends the row.
func (w *CSVWriter) End() {
	w.row = append(w.row, '\n')
	w.dst.Write(w.row)
	w.row, w.begun = w.row[:0], false
}

// Reading writes a row of a time and a value: the text of the reading, else its number.
func (w *CSVWriter) Reading(r Reading) {
	w.Time(r.At)
	if r.Text != "" {
		w.Text(r.Text)
	} else {
		w.Number(r.Value)
	}
	w.End()
}

// Flush writes the rows that are buffered and returns the first error of all.
func (w *CSVWriter) Flush() error { return w.dst.Flush() }

func (w *CSVWriter) separate() {
	if w.begun {
		w.row = append(w.row, ',')
	}
	w.begun = true
}

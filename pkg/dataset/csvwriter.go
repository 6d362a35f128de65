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
	field []byte
	rest  bool // the row has a field already
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
		w.dst.WriteString(s)
		return
	}
	w.dst.WriteByte('"')
	w.dst.WriteString(strings.ReplaceAll(s, `"`, `""`))
	w.dst.WriteByte('"')
}

// quoted tells whether s needs quotes. An empty field does not; but a row that is but one would be an empty line, and
// one that begins with # a comment.
func quoted(s string) bool {
	return strings.ContainsAny(s, ",\"\r\n") || s != "" && (s[0] == '#' || s[0] == ' ' || s[0] == '\t')
}

// Number writes a number with as many digits as it takes to tell it from all others; NaN is an empty field.
func (w *CSVWriter) Number(v float64) { w.Rounded(v, -1) }

// Rounded writes a number with the given number of significant digits; NaN is an empty field.
func (w *CSVWriter) Rounded(v float64, digits int) {
	w.separate()
	if math.IsNaN(v) {
		return
	}
	w.field = strconv.AppendFloat(w.field[:0], v, 'g', digits, 64)
	w.dst.Write(w.field)
}

// Time writes a time as RFC 3339 in UTC, with the fraction of a second that it has.
func (w *CSVWriter) Time(t time.Time) {
	w.separate()
	w.field = t.UTC().AppendFormat(w.field[:0], time.RFC3339Nano)
	w.dst.Write(w.field)
}

// End ends the row.
func (w *CSVWriter) End() {
	w.rest = false
	w.dst.WriteByte('\n')
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

// Flush writes what is buffered and returns the first error of all.
func (w *CSVWriter) Flush() error { return w.dst.Flush() }

func (w *CSVWriter) separate() {
	if w.rest {
		w.dst.WriteByte(',')
	}
	w.rest = true
}

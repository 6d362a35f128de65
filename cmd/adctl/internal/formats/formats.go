// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package formats reads the formats of recordings that need a library of their own, Excel workbooks and Parquet, for
// package input.
package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
	"github.com/xuri/excelize/v2"

	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// maxFile bounds the memory that such a file may take: both formats have their index at the end.
const maxFile = 1 << 30

// All are those that this package reads.
func All() []input.Format {
	return []input.Format{
		{Name: "parquet", Words: "a Parquet file", Is: func(first []byte) bool { return bytes.HasPrefix(first, []byte("PAR1")) }, Open: openParquet},
		{Name: "xlsx", Words: "an Excel workbook", Is: isWorkbook, Open: openWorkbook},
	}
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("over %d bytes: split it, or export it as CSV", maxFile)
	}
	return data, err
}

// isWorkbook reports whether a zip archive begins as Office Open XML does.
func isWorkbook(first []byte) bool {
	return bytes.HasPrefix(first, []byte("PK\x03\x04")) &&
		(bytes.Contains(first, []byte("[Content_Types].xml")) || bytes.Contains(first, []byte("xl/")) || bytes.Contains(first, []byte("_rels/")) || bytes.Contains(first, []byte("docProps/")))
}

// workbook is the first sheet of an Excel workbook that has a table. Dates are Excel's numbers, whatever they look like.
type workbook struct {
	file   *excelize.File
	rows   *excelize.Rows
	header []string
	size   int64
	line   int
	first  []string // a row that was looked at
	said   []string
}

// Notes say which sheet is read, and which are not.
func (w *workbook) Notes() []string { return w.said }

func openWorkbook(r io.Reader) (input.Grid, error) {
	data, err := readAll(r)
	if err != nil {
		return nil, err
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{RawCellValue: true, UnzipSizeLimit: 4 * maxFile})
	if err != nil {
		return nil, fmt.Errorf("excel workbook: %w", err)
	}
	var found *workbook
	var read string
	var left []string
	for _, sheet := range f.GetSheetList() {
		rows, err := f.Rows(sheet)
		if err != nil {
			continue // a chart
		}
		w := &workbook{file: f, rows: rows, size: int64(len(data))}
		is := w.begin()
		if is && found == nil {
			found, read = w, sheet
			continue
		}
		if is {
			left = append(left, strconv.Quote(sheet))
		}
		_ = rows.Close()
	}
	if found != nil {
		if left != nil {
			found.said = []string{fmt.Sprintf("sheet %q is read, and not %s: save what is to be read as a file of its own", read, strings.Join(left, ", "))}
		}
		return found, nil
	}
	return nil, errors.Join(errors.New("excel workbook: no sheet has a table with a time and readings"), f.Close())
}

// titles is the most rows before a table.
const titles = 40

// begin finds the header: the first row with at least two names that a row of cells follows.
func (w *workbook) begin() bool {
	var before []string
	for range titles {
		row, err := w.next()
		if err != nil {
			return false
		}
		if filled(before) > 1 && (filled(row) > 1 || filled(row) == 1 && !input.IsHeader(row)) { // a reading may be missing
			if !input.IsHeader(before) {
				return false
			}
			if input.IsHeader(row) && input.NamesBetter(row, before) { // groups of columns have names of their own
				before = row
				continue
			}
			w.header, w.first = before, row
			return true
		}
		before = row
	}
	return false
}

func filled(row []string) (n int) {
	for _, cell := range row {
		if cell != "" {
			n++
		}
	}
	return n
}

func (w *workbook) next() ([]string, error) {
	if !w.rows.Next() {
		if err := w.rows.Error(); err != nil {
			return nil, err
		}
		return nil, errors.Join(io.EOF, w.rows.Close())
	}
	w.line++
	return w.rows.Columns(excelize.Options{RawCellValue: true})
}

func (w *workbook) Header() []string { return w.header }
func (w *workbook) Separator() byte  { return 0 }
func (w *workbook) Offset() int64    { return w.size }
func (w *workbook) Buffered() bool   { return true }

// Read implements input.Grid.
func (w *workbook) Read() ([]string, int, error) {
	for {
		row := w.first
		if w.first = nil; row == nil {
			var err error
			if row, err = w.next(); err != nil {
				if errors.Is(err, io.EOF) {
					return nil, w.line, errors.Join(io.EOF, w.file.Close())
				}
				return nil, w.line, err
			}
		}
		if filled(row) == 0 {
			continue
		}
		for len(row) < len(w.header) { // empty cells at the end are not there
			row = append(row, "")
		}
		return row, w.line, nil
	}
}

// table is a Parquet file. Times of any unit are written in RFC 3339, other values as texts.
type table struct {
	file   *parquet.File
	size   int64
	header []string
	texts  []func(parquet.Value) string // of the values of a column
	said   []string
	groups []parquet.RowGroup
	rows   parquet.Rows
	buffer []parquet.Row
	at, n  int
	line   int
	fields []string
}

func openParquet(r io.Reader) (input.Grid, error) {
	data, err := readAll(r)
	if err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("parquet file: %w", err)
	}
	t := &table{file: f, size: int64(len(data)), groups: f.RowGroups(), buffer: make([]parquet.Row, 256)}
	for _, path := range f.Schema().Columns() {
		c, ok := f.Schema().Lookup(path...)
		if !ok || c.ColumnIndex != len(t.header) {
			return nil, fmt.Errorf("parquet file: column %q is not where it should be", strings.Join(path, "."))
		}
		name, text := strings.Join(path, "."), textOf(c.Node.Type())
		if c.MaxRepetitionLevel > 0 { // a list
			t.said = append(t.said, fmt.Sprintf("column %q has lists: left out", name))
			text = func(parquet.Value) string { return "" }
		}
		t.header, t.texts = append(t.header, name), append(t.texts, text)
	}
	t.fields = make([]string, len(t.header))
	return t, nil
}

// Notes say what is left out.
func (t *table) Notes() []string { return t.said }

// textOf writes the values of a column.
func textOf(t parquet.Type) func(parquet.Value) string {
	var logical format.LogicalTypeValue
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch l := logical.(type) {
	case *format.TimestampType:
		if l.Unit.Value != nil {
			unit := l.Unit.Value.Duration()
			perSecond := int64(time.Second / unit)
			return func(v parquet.Value) string {
				return stamp(time.Unix(v.Int64()/perSecond, v.Int64()%perSecond*int64(unit)))
			}
		}
	case *format.DateType:
		return func(v parquet.Value) string { return stamp(time.Unix(int64(v.Int32())*86400, 0)) }
	case *format.DecimalType:
		return func(v parquet.Value) string { return decimalText(v, l.Scale) }
	case *format.IntType:
		if !l.IsSigned {
			return func(v parquet.Value) string {
				if v.Kind() == parquet.Int32 {
					return strconv.FormatUint(uint64(v.Uint32()), 10)
				}
				return strconv.FormatUint(v.Uint64(), 10)
			}
		}
	}
	if t.Kind() == parquet.Int96 { // as older programs write times
		return func(v parquet.Value) string {
			const julian = 2440588 // of 1970-01-01
			n := v.Int96()
			return stamp(time.Unix((int64(n[2])-julian)*86400, int64(n[1])<<32|int64(n[0])))
		}
	}
	return valueText
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// decimalText writes a number of whole units of the last of its digits behind the point.
func decimalText(v parquet.Value, scale int32) string {
	n := new(big.Int)
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default: // two's complement, the greatest byte first
		b := v.ByteArray()
		if n.SetBytes(b); len(b) > 0 && b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	}
	return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, 0))), nil)).FloatString(int(max(scale, 0)))
}

func (t *table) Header() []string { return t.header }
func (t *table) Separator() byte  { return 0 }
func (t *table) Offset() int64    { return t.size }
func (t *table) Buffered() bool   { return true }

// Read implements input.Grid.
func (t *table) Read() ([]string, int, error) {
	for t.at == t.n {
		if t.rows == nil {
			if len(t.groups) == 0 {
				return nil, t.line, io.EOF
			}
			t.rows, t.groups = t.groups[0].Rows(), t.groups[1:]
		}
		var err error
		t.at = 0
		t.n, err = t.rows.ReadRows(t.buffer)
		switch {
		case errors.Is(err, io.EOF) || err == nil && t.n == 0:
			if err := t.rows.Close(); err != nil {
				return nil, t.line, err
			}
			t.rows = nil
		case err != nil:
			return nil, t.line, fmt.Errorf("parquet file: row %d: %w", t.line+1, err)
		}
	}
	clear(t.fields)
	for _, v := range t.buffer[t.at] {
		c := v.Column()
		if v.IsNull() || c >= len(t.fields) {
			continue
		}
		t.fields[c] = t.texts[c](v)
	}
	t.at++
	t.line++
	return t.fields, t.line, nil
}

func valueText(v parquet.Value) string {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case parquet.Int32:
		return strconv.FormatInt(int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	case parquet.Float:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
	case parquet.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	}
	return string(v.ByteArray())
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
)

// Grid is a table of texts, read row by row.
type Grid interface {
	// Read returns the next row, which is valid until the next call, and its line, from 1. The error is io.EOF at the end,
	// a *dataset.RowError for a row that cannot be used, after which Read goes on, and any other for a file that cannot be
	// read. A row that begins a new table is given as its header, see Header.
	Read() (row []string, line int, err error)
	// Header names the columns; nil where they have no names. It may change when Read has gone on to another table.
	Header() []string
	// Separator is what separates the fields, 0 where the format has none: next to a comma there is no decimal comma.
	Separator() byte
	// Offset is the number of bytes of the file read so far.
	Offset() int64
	// Buffered reports whether the next Read has something at hand, as opposed to waiting for the source.
	Buffered() bool
}

// Format is a file format that is known by its first bytes.
type Format struct {
	Name  string
	Is    func(first []byte) bool // of up to 512 bytes
	Open  func(r io.Reader) (Grid, error)
	Words string // for people, "an Excel workbook (.xlsx)"
}

// first is how many bytes tell a format.
const first = 512

// formats that are no recordings, by their first bytes.
var foreign = []struct{ magic, what string }{
	{"PK\x03\x04", "a zip archive: unpack it first"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file (.xls): save it as .xlsx or CSV"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{"Rar!\x1a\x07", "a RAR archive: unpack it first"},
	{"\xfd7zXZ\x00", "compressed by xz: unpack it first"},
	{"BZh", "compressed by bzip2: unpack it first"},
	{"%PDF", "a PDF file"},
	{"SQLite format 3\x00", "an SQLite database: export its table as CSV"},
	{"\x89PNG", "a picture (PNG)"},
	{"\xff\xd8\xff", "a picture (JPEG)"},
	{"\x7fELF", "a program"},
	{"PAR1", "a Parquet file, which this program does not read"},
	{"ARROW1", "an Arrow file: save it as Parquet or CSV"},
	{"\x89HDF", "an HDF5 file: save it as Parquet or CSV"},
	{"<!DOCTYPE", "a web page"},
	{"<html", "a web page"},
	{"<?xml", "an XML file: save it as CSV"},
}

// open unpacks the file and finds its format.
func open(src io.Reader, formats []Format) (Grid, error) {
	counted := &counter{src: src}
	r, err := unpack(counted)
	if err != nil {
		return nil, err
	}
	head, err := peek(r)
	if err != nil {
		return nil, err
	}
	for _, f := range formats {
		if f.Is(head) {
			return f.Open(r)
		}
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return nil, fmt.Errorf("this is %s", f.what)
		}
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, errors.New("this is no text: it has bytes of 0 in it")
	}
	switch trimmed := bytes.TrimLeft(head, " \t\r\n"); {
	case bytes.HasPrefix(trimmed, []byte("{")) && prometheus(trimmed):
		return newPrometheus(r, counted)
	case bytes.HasPrefix(trimmed, []byte("{")), bytes.HasPrefix(trimmed, []byte("[")):
		return newObjects(r, counted)
	}
	return newDelimited(r, counted), nil
}

// peek looks at the first bytes, those that are at hand: a slow source need not have many.
func peek(r *bufio.Reader) ([]byte, error) {
	if _, err := r.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return r.Peek(min(r.Buffered(), first))
}

// counter counts what is read of the file, packed as it is.
type counter struct {
	src io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.src.Read(p)
	c.n += int64(n)
	return n, err
}

// unpack takes compression and UTF-16 off, and a byte order mark.
func unpack(src io.Reader) (*bufio.Reader, error) {
	const size = 64 << 10
	r := bufio.NewReaderSize(src, size)
	for range 3 { // compressed twice is odd, but honest
		head, err := peek(r)
		if err != nil {
			return nil, err
		}
		switch {
		case bytes.HasPrefix(head, []byte("\x1f\x8b")):
			z, err := gzip.NewReader(r)
			if err != nil {
				return nil, fmt.Errorf("gzip: %w", err)
			}
			r = bufio.NewReaderSize(z, size)
		case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
			r = bufio.NewReaderSize(z, size)
		case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
			return bufio.NewReaderSize(unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(r), size), nil
		case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
			_, err := r.Discard(3)
			return r, err
		default:
			return r, nil
		}
	}
	return nil, errors.New("compressed more than twice")
}

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
	"regexp"

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
	// A method Notes() []string, where there is one, says what a person should know of the file.
}

// Format is a file format that is known by its first bytes.
type Format struct {
	Name  string
	Is    func(first []byte) bool // of up to 512 bytes
	Open  func(r io.Reader) (Grid, error)
	Words string // for people, "an Excel workbook (.xlsx)"
}

// buffer is how many bytes are read at a time.
const buffer = 64 << 10

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

// written are texts that are no tables, by how their first line is written.
var written = []struct {
	as   *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`\A[\w.:-]+(,[^ ,=]+=[^ ,=]+)* [^ ,=]+=[^ ]+ [0-9]{10,19}\r?\n`), "InfluxDB's line protocol: export a query as CSV"},
	{regexp.MustCompile(`\A# (HELP|TYPE) [a-zA-Z_:][\w:]* `), "what Prometheus scrapes: ask it for a range (/api/v1/query_range)"},
	{regexp.MustCompile(`\A\s*\{\s*"status"\s*:\s*"success"\s*,\s*"data"\s*:\s*\[`), "an answer of Prometheus without samples: ask it for a range (/api/v1/query_range)"},
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
	for _, f := range written {
		if f.as.Match(head) {
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
	if onlyReturns(head) {
		r = bufio.NewReaderSize(returns{r}, buffer)
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

// wide reports whether bytes are the Latin letters of a UTF-16 text without a mark, whose zeros are at odd or even places.
func wide(head []byte, zeros int) bool {
	if len(head) < 8 {
		return false
	}
	for i, b := range head[:8] {
		if (b == 0) != (i%2 == zeros) || b != 0 && b != '\t' && b != '\r' && b != '\n' && b < ' ' {
			return false
		}
	}
	return true
}

// whole says of a compressed file that ends too early what it is.
type whole struct{ src io.Reader }

func (w whole) Read(p []byte) (int, error) {
	n, err := w.src.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCutOff
	}
	return n, err
}

var errCutOff = errors.New("the compressed file is cut off: it ends before its contents do")

// onlyReturns reports whether lines end by a carriage return alone, as on a Macintosh once.
func onlyReturns(head []byte) bool {
	return bytes.IndexByte(head, '\r') >= 0 && bytes.IndexByte(head, '\n') < 0 && head[len(head)-1] != '\r'
}

// returns makes line feeds of carriage returns.
type returns struct{ src io.Reader }

func (r returns) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	for i, b := range p[:n] {
		if b == '\r' {
			p[i] = '\n'
		}
	}
	return n, err
}

// unpack takes compression and UTF-16 off, and a byte order mark.
func unpack(src io.Reader) (*bufio.Reader, error) {
	r := bufio.NewReaderSize(src, buffer)
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
			r = bufio.NewReaderSize(whole{z}, buffer)
		case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(256<<20))
			if err != nil {
				return nil, fmt.Errorf("zstd: %w", err)
			}
			r = bufio.NewReaderSize(whole{z}, buffer)
		case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
			return bufio.NewReaderSize(unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewDecoder().Reader(r), buffer), nil
		case wide(head, 1):
			return bufio.NewReaderSize(unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewDecoder().Reader(r), buffer), nil
		case wide(head, 0):
			return bufio.NewReaderSize(unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewDecoder().Reader(r), buffer), nil
		case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
			_, err := r.Discard(3)
			return r, err
		default:
			return r, nil
		}
	}
	return nil, errors.New("compressed more than twice")
}

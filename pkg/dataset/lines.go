// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// RowError reports a row that cannot be used. Reading may go on after it.
type RowError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e *RowError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *RowError) Unwrap() error { return e.Err }

const (
	// MaxCSVLine is the length in bytes from which a line is a bad row. It bounds the memory of a reader.
	MaxCSVLine = 1 << 20
	csvBuffer  = 64 << 10
)

var errLongLine = fmt.Errorf("longer than %d bytes", MaxCSVLine)

// lines reads the lines of a text, one at a time.
type lines struct {
	src  *bufio.Reader
	line int // number of the last one, from 1
	read int64
	long []byte // a line that does not fit the buffer
}

func newLines(src io.Reader) lines { return lines{src: bufio.NewReaderSize(src, csvBuffer)} }

// Offset is the number of bytes read so far.
func (r *lines) Offset() int64 { return r.read }

// Buffered reports whether the next Read has some of its line at hand already, as opposed to asking the source.
func (r *lines) Buffered() bool { return r.src.Buffered() > 0 }

// next returns the next line that is neither empty nor a comment.
func (r *lines) next() (string, error) {
	for {
		line, err := r.nextLine()
		if err != nil {
			return "", err
		}
		if trimmed := bytes.TrimLeft(line, " \t"); len(trimmed) > 0 && trimmed[0] != '#' {
			return string(line), nil
		}
	}
}

// nextLine returns the next line without its end; it is valid until the next call.
func (r *lines) nextLine() ([]byte, error) {
	r.line++
	r.long = r.long[:0]
	for tooLong := false; ; {
		part, err := r.src.ReadSlice('\n')
		r.read += int64(len(part))
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: %w", r.line, err)
		}
		if err != nil && !full && len(part) == 0 && len(r.long) == 0 && !tooLong {
			return nil, io.EOF
		}
		if tooLong = tooLong || len(r.long)+len(part) > MaxCSVLine; tooLong {
			r.long = r.long[:0] // only the end of the line is still of interest
		} else if full || len(r.long) > 0 {
			r.long = append(r.long, part...)
			part = r.long
		}
		switch {
		case full:
			continue
		case tooLong:
			return nil, &RowError{Line: r.line, Err: errLongLine}
		}
		part = bytes.TrimSuffix(part, []byte("\n"))
		return r.withoutMark(bytes.TrimSuffix(part, []byte("\r")))
	}
}

// withoutMark takes the byte order mark off the first line.
func (r *lines) withoutMark(line []byte) ([]byte, error) {
	if r.line > 1 {
		return line, nil
	}
	if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
		return nil, errors.New("line 1: the text is UTF-16, want UTF-8")
	}
	return bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), nil
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

// Package training streams the rows of recorded tables to detectors that learn offline, and looks into what they
// learned.
package training

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// Source is a table in one file, or in all of a directory in the order of their names. Its first part is for training,
// the rest is held out.
type Source struct {
	Members []driver.Member // one per sample of a row
	Left    []string        // columns of texts, left out because numbers are wanted
	Notes   []string        // what a person should know of how the files are read
	// Progress, if not nil, is called now and then with the bytes read in the pass that is under way.
	Progress func(bytes int64)

	files    []file
	size     int64 // bytes of all files
	boundary int   // rows of them that are for training
	rows     int   // of all files, that can be used
	in       input.Options
	columns  []string
	text     []bool
	err      error
}

type file struct {
	path string
	size int64
	rows int // that can be used
}

// Part is what was read of the part for training, or of the one held out.
type Part struct {
	Rows     int
	Bad      []error // of rows that cannot be used, the first few
	Skipped  int     // rows that cannot be used
	From, To time.Time
}

// mostBad is how many bad rows are named one by one.
const mostBad = 20

// Options choose what is read.
type Options struct {
	Input   input.Options
	Text    bool    // columns of texts are members too
	HoldOut float64 // share of the rows that is held out, the last ones
}

// Open finds the files, their columns and the types of these, and counts their rows.
func Open(ctx context.Context, path string, o Options) (*Source, error) {
	s := &Source{in: o.Input}
	if err := s.find(path); err != nil {
		return nil, err
	}
	if err := s.types(o); err != nil {
		return nil, err
	}
	for i := range s.files {
		f := &s.files[i]
		s.size += f.size
		err := s.read(ctx, f.path, nil, func(_ input.Row, err error) bool {
			if err == nil {
				f.rows++
			}
			return true
		})
		if err != nil {
			return nil, named(f.path, err)
		}
		s.rows += f.rows
	}
	s.boundary = s.rows - int(o.HoldOut*float64(s.rows))
	return s, nil
}

// suffixes of the files of a directory that are read, beside those with the suffix of a compression.
var suffixes = [...]string{".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx"}

func recording(name string) bool {
	name = strings.ToLower(name)
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	for _, suffix := range suffixes {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func (s *Source) find(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: want a file or a directory: it is read several times", path)
		}
		s.files = []file{{path: path, size: info.Size()}}
		return nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if !recording(name) {
			continue
		}
		if info, err = os.Stat(name); err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			s.files = append(s.files, file{path: name, size: info.Size()})
		}
	}
	if s.files == nil {
		return fmt.Errorf("%s: no file *%s in it", path, strings.Join(suffixes[:], ", *"))
	}
	return nil
}

// types finds the members from the first file.
func (s *Source) types(o Options) error {
	path := s.files[0].path
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	find := s.in
	find.Texts = o.Text
	r, err := input.NewReader(in, find)
	if err != nil {
		return named(path, err)
	}
	if r.Long() {
		return fmt.Errorf("%s: want a column for each member of the group, the file has a row for each: export it --format wide", path)
	}
	if !r.Headed() {
		return fmt.Errorf("%s: want a header: the names of the columns are those of the members", path)
	}
	s.Notes = r.Notes()
	for _, c := range r.Columns() {
		if dataset.Truth(c.Name) {
			return fmt.Errorf("%s: column %q tells what is anomalous, want members", path, c.Name)
		}
		if c.Text && !o.Text {
			s.Left = append(s.Left, c.Name)
			continue
		}
		m := driver.Member{Key: Key(c.Name), DataType: "double", Minimum: math.NaN(), Maximum: math.NaN()}
		if c.Text {
			m.DataType = "string"
		}
		s.Members, s.columns, s.text = append(s.Members, m), append(s.columns, c.Name), append(s.text, c.Text)
	}
	if s.columns == nil {
		return fmt.Errorf("%s: no column of numbers among %s", path, strings.Join(s.Left, ", "))
	}
	s.in.Columns = s.columns // in this order, in every file
	return nil
}

// Key is the key of the member in the column of that name.
func Key(column string) driver.Key {
	return driver.Key{Namespace: "default", Device: "recording", Property: column}
}

func named(path string, err error) error {
	if errors.Is(err, io.EOF) {
		err = input.ErrEmpty
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Columns are the names of the members.
func (s *Source) Columns() []string { return s.columns }

// Size is the number of bytes of all files.
func (s *Source) Size() int64 { return s.size }

// Err is why the last pass ended early, nil if it did not.
func (s *Source) Err() error { return s.err }

// Train goes through the rows for training; part tells of the last pass. A row is valid until the next one.
func (s *Source) Train(ctx context.Context, part *Part) iter.Seq[driver.Row] {
	return s.pass(ctx, part, 0, s.boundary)
}

// HeldOut goes through the rows that are held out.
func (s *Source) HeldOut(ctx context.Context, part *Part) iter.Seq[driver.Row] {
	return s.pass(ctx, part, s.boundary, s.rows)
}

// pass goes through the rows from the one of a number until another.
func (s *Source) pass(ctx context.Context, part *Part, from, until int) iter.Seq[driver.Row] {
	return func(yield func(driver.Row) bool) {
		*part = Part{}
		s.err = nil
		row := make(driver.Row, len(s.Members))
		for i := range row {
			row[i].Key = s.Members[i].Key
		}
		n, bytes := 0, int64(0) // rows and bytes before the file
		for _, f := range s.files {
			if n+f.rows > from && n < until {
				at, more := n, true
				err := s.read(ctx, f.path, func(read int64) { s.progress(bytes + read) }, func(r input.Row, err error) bool {
					switch {
					case at >= until && until < s.rows:
						return false
					case at < from:
						if err == nil {
							at++
						}
					case err != nil:
						if part.Skipped++; part.Skipped <= mostBad {
							part.Bad = append(part.Bad, fmt.Errorf("%s: %w", f.path, err))
						}
					default:
						at++
						part.add(r.At)
						s.fill(row, &r)
						more = yield(row)
					}
					return more
				})
				if err != nil {
					s.err = named(f.path, err)
				}
				if err != nil || !more {
					return
				}
			}
			n += f.rows
			bytes += f.size
		}
	}
}

func (s *Source) progress(bytes int64) {
	if s.Progress != nil {
		s.Progress(bytes)
	}
}

// read gives the rows of a file, and the errors of those that cannot be used, until each is false.
func (s *Source) read(ctx context.Context, path string, progress func(bytes int64), each func(input.Row, error) bool) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := input.NewReader(in, s.in)
	if err != nil {
		return err
	}
	const look = 4096 // rows between two looks at the context
	for n := 0; ; n++ {
		if n%look == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if progress != nil {
				progress(r.Offset())
			}
		}
		row, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.As(err, &bad):
			return err
		case !each(row, err):
			return nil
		}
	}
}

func (p *Part) add(at time.Time) {
	if p.Rows++; p.Rows == 1 {
		p.From, p.To = at, at
	} else if at.Before(p.From) {
		p.From = at
	} else if at.After(p.To) {
		p.To = at
	}
}

func (s *Source) fill(row driver.Row, read *input.Row) {
	for i, c := range read.Cells {
		m := &row[i]
		m.At, m.Value, m.Text, m.Flags = read.At, c.Value, "", 0
		switch {
		case c.Missing:
			m.Flags = driver.NotANumber
		case s.text[i]:
			m.Text = c.Text
		case math.IsNaN(c.Value):
			m.Flags = driver.Unparsable
		case math.IsInf(c.Value, 0):
			m.Flags = driver.NotANumber
		}
	}
}

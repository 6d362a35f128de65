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
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// Source is a table in one CSV file, or in all of a directory in the order of their names. Its first part is for
// training, the rest is held out.
type Source struct {
	Members []driver.Member // one per sample of a row
	Left    []string        // columns of texts, left out because numbers are wanted
	// Progress, if not nil, is called now and then with the bytes read in the pass that is under way.
	Progress func(bytes int64)

	files    []file
	size     int64 // bytes of all files
	boundary int64 // bytes of them that are for training
	time     string
	columns  []string
	text     []bool
	err      error
}

type file struct {
	path string
	size int64
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
	Table   dataset.TableOptions
	Text    bool    // columns of texts are members too
	HoldOut float64 // share of the bytes that is held out, the last ones
}

// Open finds the files, their columns and the types of these.
func Open(path string, o Options) (*Source, error) {
	s := &Source{time: o.Table.Time}
	if err := s.find(path); err != nil {
		return nil, err
	}
	for _, f := range s.files {
		s.size += f.size
	}
	s.boundary = s.size - int64(o.HoldOut*float64(s.size))
	return s, s.types(o)
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
		s.files = []file{{path, info.Size()}}
		return nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.EqualFold(filepath.Ext(e.Name()), ".csv") {
			continue
		}
		name := filepath.Join(path, e.Name())
		if info, err = os.Stat(name); err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			s.files = append(s.files, file{name, info.Size()})
		}
	}
	if s.files == nil {
		return fmt.Errorf("%s: no file *.csv", path)
	}
	return nil
}

// typingRows are looked at to tell the type of a column.
const typingRows = 1000

// types finds the members. A column is of texts if its first reading is no number.
func (s *Source) types(o Options) error {
	in, err := os.Open(s.files[0].path)
	if err != nil {
		return err
	}
	defer in.Close()
	r := dataset.NewTableReader(in, o.Table)
	names, err := r.Columns()
	if err != nil {
		return named(s.files[0].path, err)
	}
	known, text := make([]bool, len(names)), make([]bool, len(names))
	for n := 0; n < typingRows && slices.Contains(known, false); n++ {
		row, err := r.Read()
		var bad *dataset.RowError
		if errors.As(err, &bad) {
			continue
		}
		if err != nil { // the passes tell what is wrong
			break
		}
		for i, c := range row.Cells {
			if !known[i] && !c.Missing() {
				known[i], text[i] = true, math.IsNaN(c.Value)
			}
		}
	}
	for i, name := range names {
		if text[i] && !o.Text {
			s.Left = append(s.Left, name)
			continue
		}
		m := driver.Member{Key: Key(name), DataType: "double", Minimum: math.NaN(), Maximum: math.NaN()}
		if text[i] {
			m.DataType = "string"
		}
		s.Members, s.columns, s.text = append(s.Members, m), append(s.columns, name), append(s.text, text[i])
	}
	if s.columns == nil {
		return fmt.Errorf("%s: no column of numbers among %s", s.files[0].path, strings.Join(s.Left, ", "))
	}
	return nil
}

// Key is the key of the member in the column of that name.
func Key(column string) driver.Key {
	return driver.Key{Namespace: "default", Device: "recording", Property: column}
}

func named(path string, err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: the file is empty", path)
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Columns are the names of the members.
func (s *Source) Columns() []string { return s.columns }

// Size is the number of bytes of the part for training.
func (s *Source) Size() int64 { return s.boundary }

// Err is why the last pass ended early, nil if it did not.
func (s *Source) Err() error { return s.err }

// Train goes through the rows for training; part tells of the last pass. A row is valid until the next one.
func (s *Source) Train(ctx context.Context, part *Part) iter.Seq[driver.Row] {
	return s.pass(ctx, part, 0, s.boundary)
}

// HeldOut goes through the rows that are held out.
func (s *Source) HeldOut(ctx context.Context, part *Part) iter.Seq[driver.Row] {
	return s.pass(ctx, part, s.boundary, s.size)
}

// pass goes through the rows that begin after so many bytes, and not after so many.
func (s *Source) pass(ctx context.Context, part *Part, after, until int64) iter.Seq[driver.Row] {
	return func(yield func(driver.Row) bool) {
		*part = Part{}
		s.err = nil
		row := make(driver.Row, len(s.Members))
		for i := range row {
			row[i].Key = s.Members[i].Key
		}
		base := int64(0)
		for _, f := range s.files {
			if base+f.size > after && base < until {
				more, err := s.file(ctx, f.path, after-base, until-base, base, part, row, yield)
				if err != nil {
					s.err = named(f.path, err)
				}
				if !more {
					return
				}
			}
			base += f.size
		}
	}
}

func (s *Source) file(ctx context.Context, path string, after, until, base int64, part *Part, row driver.Row, yield func(driver.Row) bool) (more bool, err error) {
	in, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer in.Close()
	r := dataset.NewTableReader(in, dataset.TableOptions{Time: s.time, Columns: s.columns})
	if _, err := r.Columns(); err != nil {
		return false, err
	}
	const look = 4096 // rows between two looks at the context
	for n := 0; ; n++ {
		if n%look == 0 {
			if err := context.Cause(ctx); err != nil {
				return false, err
			}
			if s.Progress != nil {
				s.Progress(base + r.Offset())
			}
		}
		begin := r.Offset()
		if begin >= until {
			return true, nil
		}
		read, err := r.Read()
		var bad *dataset.RowError
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case errors.As(err, &bad):
			if begin >= after {
				if part.Skipped++; part.Skipped <= mostBad {
					part.Bad = append(part.Bad, fmt.Errorf("%s: %w", path, err))
				}
			}
			continue
		case err != nil:
			return false, err
		case begin < after:
			continue
		}
		part.add(read.At)
		s.fill(row, &read)
		if !yield(row) {
			return false, nil
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

func (s *Source) fill(row driver.Row, read *dataset.TableRow) {
	for i, c := range read.Cells {
		m := &row[i]
		m.At, m.Value, m.Text, m.Flags = read.At, c.Value, "", 0
		switch {
		case c.Missing():
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

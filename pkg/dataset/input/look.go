// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// mostDoubted is how many rows are looked at where it cannot be told how numbers are written.
const mostDoubted = 50_000

// look reads a sample, makes the plan, and sorts the file if the sample is not in the order of time.
func (r *Reader) look() error {
	var rows [][]string
	for len(r.sample) < sampleRows {
		row, line, err := r.grid.Read()
		var bad *dataset.RowError
		if err != nil && !errors.As(err, &bad) {
			if !errors.Is(err, io.EOF) {
				return err
			}
			r.ended = true
			break
		}
		if err == nil && r.header == nil {
			r.header = slices.Clone(r.grid.Header())
		}
		row = slices.Clone(row)
		r.sample = append(r.sample, seen{row, line, err})
		if err == nil {
			rows = append(rows, row)
		}
		if !r.grid.Buffered() && r.enough(rows) {
			break
		}
	}
	if len(rows) == 0 {
		if r.header == nil {
			r.header = r.grid.Header()
		}
		return r.empty()
	}
	if h := r.grid.Header(); len(h) > len(r.header) && h != nil {
		r.header = slices.Clone(h)
	}
	var keys []string
	if k, ok := r.grid.(interface{ keys() []string }); ok {
		keys = k.keys()
	}
	var err error
	if r.plan, err = newPlan(r.header, rows, r.grid.Separator(), keys, &r.opts, r.note); err != nil {
		return err
	}
	if telling := r.lookOn(); telling != nil {
		r.notes, rows = nil, append(rows, telling)
		if r.plan, err = newPlan(r.header, rows, r.grid.Separator(), keys, &r.opts, r.note); err != nil {
			return err
		}
	}
	if g, ok := r.grid.(interface{ Notes() []string }); ok {
		r.notes = append(r.notes, g.Notes()...)
	}
	r.cells = make([]Cell, len(r.plan.columns))
	return r.arrange(rows)
}

// lookOn looks for a row that tells how the numbers of a column are written that may be written in two ways; nil for none.
func (r *Reader) lookOn() []string {
	if !slices.ContainsFunc(r.plan.columns, func(c Column) bool { return c.doubt }) {
		return nil
	}
	for len(r.sample) < mostDoubted && !r.ended && r.grid.Buffered() {
		row, line, err := r.grid.Read()
		if r.ended = errors.Is(err, io.EOF); r.ended {
			break
		}
		row = slices.Clone(row)
		r.sample = append(r.sample, seen{row, line, err})
		var bad *dataset.RowError
		switch {
		case errors.As(err, &bad):
			continue
		case err != nil: // it is told when it is its turn
			return nil
		}
		for _, c := range r.plan.columns {
			var e evidence
			if c.at < len(row) {
				e.add(strings.TrimSpace(row[c.at]))
			}
			if e.tells() != unknownDecimal {
				return row
			}
		}
	}
	return nil
}

// enough reports whether a source that is slow has shown what its columns are.
func (r *Reader) enough(rows [][]string) bool {
	if len(rows) == 0 {
		return false
	}
	p, err := newPlan(r.header, rows, r.grid.Separator(), nil, &r.opts, func(string, ...any) {})
	return err == nil && slices.ContainsFunc(p.columns, func(c Column) bool { return !c.Text && len(cellsOf(rows, c.at)) > 0 })
}

// empty says what is missing in a file without a row.
func (r *Reader) empty() error {
	for _, s := range r.sample {
		if s.err != nil {
			return s.err
		}
	}
	if r.header != nil {
		return fmt.Errorf("%w: a header (%s) and no row", ErrEmpty, strings.Join(r.header, ", "))
	}
	return ErrEmpty
}

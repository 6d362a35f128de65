// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/snappy"

	"github.com/kubeedge/edge-anomaly/pkg/atomicfile"
)

const (
	groupRows = 16 << 10 // rows in a row group: what a query of one device reads at least
	rangesKey = "edge-anomaly.ranges"
)

// groupRange says what is in a row group, so that a query opens only those that it needs.
type groupRange struct {
	First string `json:"first"` // device
	Last  string `json:"last"`
	From  int64  `json:"from"` // nanoseconds
	To    int64  `json:"to"`
}

func (g *groupRange) overlaps(q *Query, from, to int64) bool {
	if g.To < from || g.From > to {
		return false
	}
	p := literal(q.Device)
	// A device that begins with p is neither before p nor beyond everything that begins with p.
	return p == "" || g.Last >= p && (g.First <= p || len(g.First) >= len(p) && g.First[:len(p)] == p)
}

func rowWriter(dst io.Writer) *parquet.GenericWriter[row] {
	return parquet.NewGenericWriter[row](dst, parquet.Compression(&snappy.Codec{}),
		parquet.PageBufferSize(64<<10), parquet.WriteBufferSize(64<<10), parquet.CreatedBy("edge-anomaly", "", ""))
}

// writeSegment sorts rows and writes them to a file that is there as a whole or not at all.
func writeSegment(name string, rows []row) error {
	for i := range rows { // or readers of Parquet refuse all texts for one
		rows[i].Text = utf8(rows[i].Text)
	}
	slices.SortStableFunc(rows, compareRows)
	return atomicfile.Write(name, 0o640, func(f io.Writer) error { return writeRows(f, rows) })
}

// writeRows writes sorted rows, and what each group of them is of.
func writeRows(f io.Writer, rows []row) error {
	w := rowWriter(f)
	var ranges []groupRange
	for group := range slices.Chunk(rows, groupRows) {
		g := groupRange{First: group[0].Device, Last: group[len(group)-1].Device, From: group[0].At, To: group[0].At}
		for i := range group {
			g.From, g.To = min(g.From, group[i].At), max(g.To, group[i].At)
		}
		ranges = append(ranges, g)
		if _, err := w.Write(group); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	index, err := json.Marshal(ranges)
	if err != nil {
		return err
	}
	w.SetKeyValueMetadata(rangesKey, string(index))
	return w.Close()
}

// scanSegment calls fn with batches of rows of the row groups that may match, in the order of the file.
func scanSegment(name string, q *Query, buf []row, fn func([]row) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if p := recover(); p != nil { // of the Parquet library, on a damaged file
			err = fmt.Errorf("segment %s is damaged: %v", name, p)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return fmt.Errorf("segment %s: %w", name, err)
	}
	groups := file.RowGroups()
	var ranges []groupRange
	if index, ok := file.Lookup(rangesKey); ok {
		if err := json.Unmarshal([]byte(index), &ranges); err != nil || len(ranges) != len(groups) {
			ranges = nil // still readable, but for the index
		}
	}
	from, to := q.span()
	for i, group := range groups {
		if ranges != nil && !ranges[i].overlaps(q, from, to) {
			continue
		}
		if err := scanGroup(group, buf, fn); err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	return nil
}

func scanGroup(group parquet.RowGroup, buf []row, fn func([]row) error) (err error) {
	r := parquet.NewGenericRowGroupReader[row](group)
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := fn(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n == 0:
			return io.ErrNoProgress
		}
	}
}

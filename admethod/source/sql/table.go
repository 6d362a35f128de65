// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/source"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/instant"
	"github.com/kubeedge/edge-anomaly/admethod/source/internal/labelled"
)

const (
	page     = 1000
	mostPage = 1 << 20
	mostSeen = 10_000  // rows that are known, but for those at one place
	mostPast = 100_000 // rows of a table that are learned from at the first start
)

// table is one that is read.
type table struct {
	of      *item
	source  *Source
	name    string
	meaning map[string]string // of the names in its own name
	first   bool              // it was there at the first start, and what it has is of the past

	from position             // rows at this place and behind it are read
	seen map[uint64]time.Time // when those of them were read first, by what is read of them
}

// entry is a row that was read.
type entry struct {
	at   position
	id   uint64
	read time.Time // for the first time
}

func (t *table) title() string {
	if t.name == "" {
		return "the query"
	}
	return "table " + t.name
}

// look hands over what is new, and reports whether there is any.
func (t *table) look(ctx context.Context, db *stdsql.DB, in source.Intake, told *labelled.Complaint) (news bool, err error) {
	now := time.Now()
	if t.seen == nil {
		t.seen = make(map[uint64]time.Time)
	}
	if t.first {
		if err := t.past(ctx, db, in, now, told); err != nil {
			return false, err
		}
		t.first = false
		return true, nil
	}
	var window []entry
	group := make(map[uint64]uint64) // rows alike at one place
	for at, limit := t.from, page; ; {
		rows, err := t.read(ctx, db, at, limit, false)
		if err != nil {
			return news, err
		}
		window = slices.DeleteFunc(window, func(e entry) bool { return e.at == at }) // they come again
		clear(group)
		var batch []source.Reading
		var ids []uint64
		for i := range rows {
			if i > 0 && rows[i].at != rows[i-1].at {
				clear(group)
			}
			e := entry{rows[i].at, rows[i].id + group[rows[i].id]*0x9e3779b97f4a7c15, now}
			group[rows[i].id]++
			if when, known := t.seen[e.id]; known {
				e.read = when
			} else {
				ids = append(ids, e.id)
				batch = t.readings(batch, &rows[i], now, false, told)
			}
			window = append(window, e)
		}
		if err := take(ctx, in, batch, told); err != nil {
			return news, err
		}
		for _, id := range ids {
			t.seen[id] = now
		}
		news = news || len(ids) > 0
		if len(window) > 2*mostSeen {
			window = t.settle(window, now)
		}
		if len(ids) > 0 {
			t.source.dirty = true
			t.source.save(false)
		}
		if len(rows) < limit {
			break
		}
		if last := rows[len(rows)-1].at; last != at {
			at, limit = last, page
		} else if limit *= 2; limit > mostPage {
			return news, fmt.Errorf("more than %d rows with one %s: want a column that tells them apart", mostPage/2, t.of.Order)
		}
	}
	t.settle(window, now)
	return news, nil
}

// take hands readings over.
func take(ctx context.Context, in source.Intake, batch []source.Reading, told *labelled.Complaint) error {
	if len(batch) == 0 {
		return nil
	}
	refused, err := source.Refused(in.Take(ctx, batch))
	if err != nil {
		return &source.EndedError{Err: err}
	}
	for i := range refused {
		told.Add(refused[i].Err.Error())
	}
	return nil
}

// settle moves the place on to where none can become visible before any more: what a table counts up without a gap, and what
// lies before a row that was read longer ago than the overlap. It returns the rows that are still to be known.
func (t *table) settle(window []entry, now time.Time) []entry {
	last := len(window) - mostSeen - 1
	for i := range window {
		if now.Sub(window[i].read) >= t.source.config.Overlap {
			last = max(last, i)
		}
	}
	counted := t.of.Order != t.of.Time // a time may be a whole number as well
	if last < 0 && len(window) > 0 && (window[0].at == t.from || counted && window[0].at.Kind == number) {
		last = 0
	}
	for counted && last >= 0 && last+1 < len(window) && window[last].at.before(window[last+1].at) {
		last++
	}
	if last >= 0 {
		t.from = window[last].at
		for last > 0 && window[last-1].at == t.from {
			last--
		}
		window = window[last:]
	}
	clear(t.seen)
	for _, e := range window {
		t.seen[e.id] = e.read
	}
	return window
}

// past hands over what is there at the first start, for detectors to learn from.
func (t *table) past(ctx context.Context, db *stdsql.DB, in source.Intake, now time.Time, told *labelled.Complaint) error {
	limit := page
	if t.source.config.History > 0 {
		limit = mostPast
	}
	rows, err := t.read(ctx, db, position{}, limit, true)
	if err != nil {
		return err
	}
	cut := len(rows) == limit
	if len(rows) > 0 { // once more in order, as rows at one place have another one backwards
		if rows, err = t.read(ctx, db, rows[len(rows)-1].at, len(rows)+page, false); err != nil {
			return err
		}
	}
	if cut && len(rows) > 0 { // of those at the first place there may be more
		first := rows[0].at
		if behind := slices.IndexFunc(rows, func(r row) bool { return r.at != first }); behind > 0 {
			rows = rows[behind:]
		}
	}
	var batch []source.Reading
	var window []entry
	group := make(map[uint64]uint64)
	for i := range rows {
		if i > 0 && rows[i].at != rows[i-1].at {
			clear(group)
		}
		window = append(window, entry{rows[i].at, rows[i].id + group[rows[i].id]*0x9e3779b97f4a7c15, now})
		group[rows[i].id]++
		if t.source.config.History > 0 {
			batch = t.readings(batch, &rows[i], now, true, told)
		}
	}
	if err := take(ctx, in, batch, told); err != nil {
		return err
	}
	if len(window) > 0 && cut {
		t.from = window[0].at
	}
	t.settle(window, now)
	return nil
}

// row is what is read of a row.
type row struct {
	at    position
	id    uint64 // of all that is read
	cells []any  // time, values, and what names are made of
}

// read reads rows in order from a place on, or the last ones, the newest first.
func (t *table) read(ctx context.Context, db *stdsql.DB, from position, limit int, newest bool) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, t.source.config.Timeout)
	defer cancel()
	text, args := t.query(from, limit, newest)
	found, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	var all []row
	columns := len(t.of.read)
	for found.Next() {
		cells, to := make([]any, columns), make([]any, columns)
		for i := range cells {
			to[i] = &cells[i]
		}
		if err := found.Scan(to...); err != nil {
			return nil, err
		}
		hash := fnv.New64a()
		for i := range cells {
			if raw, ok := cells[i].([]byte); ok {
				cells[i] = string(raw)
			}
			fmt.Fprintf(hash, "%T %v\x00", cells[i], cells[i])
		}
		at, err := positionOf(cells[0])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", t.of.Order, err)
		}
		all = append(all, row{at, hash.Sum64(), cells[1:]})
	}
	return all, found.Err()
}

// readings are those of a row: one for each column of values that is not NULL.
func (t *table) readings(to []source.Reading, r *row, now time.Time, past bool, told *labelled.Complaint) []source.Reading {
	at, err := timeOf(r.cells[0], t.source.zone)
	if err != nil {
		told.Add(fmt.Sprintf("%s: column %s: %v", t.title(), t.of.Time, err))
		return to
	}
	if past && now.Sub(at) > t.source.config.History {
		return to
	}
	columns := t.of.read[1:] // as cells are
	for i, column := range t.of.Values {
		cell := r.cells[1+i]
		if cell == nil {
			continue
		}
		meaning := func(name string) string {
			switch name {
			case "column":
				return column
			case "table":
				return t.name
			}
			if value, ok := t.meaning[name]; ok {
				return value
			}
			if j := slices.Index(columns, name); j >= 0 && r.cells[j] != nil {
				return fmt.Sprint(r.cells[j])
			}
			return ""
		}
		of, err := t.find(meaning, column, now)
		if err != nil {
			told.Add(err.Error())
			continue
		}
		reading := source.Reading{Key: of.Key, At: at, Property: of.Property, Past: past}
		reading.Value, reading.Text = valueOf(cell)
		to = append(to, reading)
	}
	return to
}

// find returns the series of a row and a column.
func (t *table) find(meaning func(string) string, column string, now time.Time) (*labelled.Series, error) {
	text := append([]byte(t.name), '.')
	text = append(text, column...)
	names := t.of.read[2+len(t.of.Values):]
	for _, name := range names {
		text = append(text, ' ')
		text = append(text, name...)
		text = append(text, '=')
		text = strconv.AppendQuote(text, meaning(name))
	}
	if of := t.of.series.Known(text, now); of != nil {
		return of, nil
	}
	return t.of.series.Open(string(text), meaning, func() *source.Property {
		labels := make(map[string]string)
		maps.Copy(labels, t.meaning)
		for _, name := range names {
			labels[name] = meaning(name)
		}
		return &source.Property{Labels: labelled.Kept(labels)}
	}, now)
}

// valueOf is a cell as a number, or a text that says more.
func valueOf(cell any) (float64, string) {
	switch v := cell.(type) {
	case float64:
		return v, ""
	case float32:
		return float64(v), ""
	case int64:
		return float64(v), ""
	case uint64:
		return float64(v), ""
	case bool:
		return 0, strconv.FormatBool(v)
	}
	return 0, fmt.Sprint(cell)
}

// timeOf is a cell as a time.
func timeOf(cell any, zone *time.Location) (time.Time, error) {
	switch v := cell.(type) {
	case time.Time:
		return v, nil
	case nil:
		return time.Time{}, fmt.Errorf("NULL: want a time")
	case float64:
		return instant.Parse(strconv.FormatFloat(v, 'f', -1, 64), zone)
	}
	return instant.Parse(fmt.Sprint(cell), zone)
}

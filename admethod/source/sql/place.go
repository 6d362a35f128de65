// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package sql

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"math"
	"strings"
	"time"
)

// position is a value of the column by which rows are in order. The zero value is before all.
type position struct {
	Kind kind   `json:"kind,omitempty"`
	N    int64  `json:"n,omitempty"`
	Text string `json:"text,omitempty"`
}

type kind string

const (
	number kind = "number"
	text   kind = "text"
	moment kind = "time"
)

func positionOf(cell any) (position, error) {
	switch v := cell.(type) {
	case int64:
		return position{Kind: number, N: v}, nil
	case uint64:
		if v <= math.MaxInt64 {
			return position{Kind: number, N: int64(v)}, nil
		}
	case string:
		return position{Kind: text, Text: v}, nil
	case time.Time:
		return position{Kind: moment, Text: v.UTC().Format(time.RFC3339Nano)}, nil
	}
	return position{}, fmt.Errorf("%v: want a whole number, a text, or a time", cell)
}

// arg is the value as a query has it.
func (p position) arg() (any, error) {
	switch p.Kind {
	case number:
		return p.N, nil
	case moment:
		return time.Parse(time.RFC3339Nano, p.Text)
	}
	return p.Text, nil
}

// before reports whether nothing can be between two numbers.
func (p position) before(next position) bool {
	return p.Kind == number && next.Kind == number && p.N+1 == next.N
}

// quote is a name in the way of a driver.
func quote(driver, name string) string {
	mark := `"`
	if driver == "mysql" {
		mark = "`"
	}
	return mark + strings.ReplaceAll(name, mark, mark+mark) + mark
}

// query is what reads rows of a table.
func (t *table) query(from position, limit int, newest bool) (string, []any) {
	driver := t.source.config.Driver
	order := quote(driver, t.of.Order)
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, column := range t.of.read {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(driver, column))
	}
	if t.of.Query != "" {
		fmt.Fprintf(&b, " FROM (%s) AS readings", t.of.Query)
	} else {
		fmt.Fprintf(&b, " FROM %s", quote(driver, t.name))
	}
	// There is always an argument: MySQL speaks another protocol where there is none, in which values are of other types.
	var args []any
	mark := func(arg any) string {
		args = append(args, arg)
		if driver == "pgx" || driver == "postgres" {
			return fmt.Sprint("$", len(args))
		}
		return "?"
	}
	if arg, err := from.arg(); err == nil && from.Kind != "" {
		fmt.Fprintf(&b, " WHERE %s >= %s", order, mark(arg))
	} else {
		fmt.Fprintf(&b, " WHERE %s IS NOT NULL", order)
	}
	fmt.Fprintf(&b, " ORDER BY %s", order)
	if newest {
		b.WriteString(" DESC")
	}
	fmt.Fprintf(&b, " LIMIT %s", mark(limit))
	return b.String(), args
}

// tableNames are the tables of the database.
func tableNames(ctx context.Context, db *stdsql.DB, driver string) ([]string, error) {
	query := "SELECT table_name FROM information_schema.tables WHERE table_schema = ANY (current_schemas(false))"
	switch {
	case driver == "mysql":
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
	case strings.HasPrefix(driver, "sqlite"):
		query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names := []string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// state is what is kept: by item, and by name of the table.
type state struct {
	Items map[string]map[string]tableState `json:"items"`
}

type tableState struct {
	From position         `json:"from"`
	Seen map[uint64]int64 `json:"seen"` // Unix milliseconds
}

// new reports whether there are tables that were there at the first start, and were not looked at.
func (i *item) new() bool {
	for _, t := range i.tables {
		if t.first {
			return true
		}
	}
	return false
}

func (s *Source) load() error {
	var kept state
	if found, err := s.kept.Load(&kept); err != nil || !found {
		return err
	}
	for _, i := range s.items {
		tables, begun := kept.Items[i.id]
		i.begun = begun
		for name, of := range tables {
			t := &table{of: i, source: s, name: name, from: of.From, seen: make(map[uint64]time.Time)}
			for id, read := range of.Seen {
				t.seen[id] = time.UnixMilli(read)
			}
			i.tables[name] = t
		}
	}
	return nil
}

// save keeps how far it came, now and then and at the end.
func (s *Source) save(now bool) {
	if !s.dirty || !s.kept.Due(now) {
		return
	}
	out := state{Items: make(map[string]map[string]tableState)}
	for _, i := range s.items {
		if !i.begun || i.new() {
			continue
		}
		tables := make(map[string]tableState)
		for name, t := range i.tables {
			of := tableState{From: t.from, Seen: make(map[uint64]int64, len(t.seen))}
			for id, read := range t.seen {
				of.Seen[id] = read.UnixMilli()
			}
			tables[name] = of
		}
		out.Items[i.id] = tables
	}
	err := s.kept.Save(out, now)
	s.dirty = err != nil
	s.report(s.part+": state", riskKept, err)
}

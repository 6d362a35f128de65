// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxDocument bounds what a JSON text may have that is no object a line: it is taken into memory.
const maxDocument = 256 << 20

// document reads the rows of JSON values that are tables in themselves: lists of objects under keys, lists of pairs, columns
// with lists of values, and any of them in objects, whose keys or names are series then.
type document struct {
	rows []any
	of   []string // series of the rows
}

// documentOf reads all values of a JSON text.
func documentOf(r io.Reader) ([]any, error) {
	limited := &io.LimitedReader{R: r, N: maxDocument}
	d := json.NewDecoder(limited)
	d.UseNumber()
	var all document
	for {
		var value any
		err := d.Decode(&value)
		switch {
		case errors.Is(err, io.EOF):
			return all.table()
		case limited.N <= 0:
			return nil, fmt.Errorf("a JSON text over %d bytes: %w", maxDocument, errShape)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the JSON text does not end: the file is cut off")
		case err != nil:
			return nil, fmt.Errorf("JSON: %w", err)
		}
		all.take(value, "")
	}
}

// table are the rows, with their series where there are several.
func (d *document) table() ([]any, error) {
	if len(d.rows) == 0 {
		return nil, fmt.Errorf("JSON without a row: %w", errShape)
	}
	if slices.ContainsFunc(d.of, func(s string) bool { return s != d.of[0] }) {
		for i, row := range d.rows {
			if m, ok := row.(map[string]any); ok && m["series"] == nil {
				m["series"] = d.of[i]
			}
		}
	}
	return d.rows, nil
}

func (d *document) add(row map[string]any, series string) {
	d.rows, d.of = append(d.rows, row), append(d.of, series)
}

// take takes what is in a value that stands under a name.
func (d *document) take(value any, name string) {
	switch v := value.(type) {
	case map[string]any:
		d.object(v, name)
	case []any:
		for _, element := range v {
			if list, ok := element.([]any); ok && !holdsLists(list) {
				d.add(listed(nil, list), name)
			} else {
				d.take(element, name)
			}
		}
	}
}

// object takes a row, a table, or what holds such.
func (d *document) object(v map[string]any, name string) {
	if !holdsLists(v) {
		d.add(v, name)
		return
	}
	for _, key := range []string{"target", "name", "metric", "entity_id", "id"} { // what is named by itself
		if own, ok := v[key].(string); ok {
			name = own
			break
		}
	}
	if tags, ok := v["tags"].(map[string]any); ok {
		for _, key := range slices.Sorted(maps.Keys(tags)) {
			name += fmt.Sprintf("/%v", tags[key])
		}
	}
	if columns, ok := v["columns"].([]any); ok { // InfluxDB's, and data frames
		for _, key := range []string{"values", "rows", "data"} {
			rows, _ := v[key].([]any)
			for _, row := range rows {
				if list, ok := row.([]any); ok {
					d.add(listed(columns, list), name)
				}
			}
		}
		return
	}
	var lists []string
	same := true
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if list, ok := v[key].([]any); ok {
			first, _ := v[append(lists, key)[0]].([]any)
			same = same && len(list) == len(first) && !holdsLists(list) && !slices.ContainsFunc(list, isObject)
			lists = append(lists, key)
		}
	}
	if len(lists) > 1 && same { // a list for each column
		first, _ := v[lists[0]].([]any)
		for i := range first {
			row := make(map[string]any)
			for _, key := range lists {
				if list, ok := v[key].([]any); ok {
					row[key] = list[i]
				}
			}
			d.add(row, name)
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(v)) {
		if holds := holdsLists(v[key]); holds || slices.Contains(lists, key) {
			under := key
			if name != "" {
				under = name
			}
			d.take(v[key], under)
		}
	}
}

func isObject(v any) bool {
	_, is := v.(map[string]any)
	return is
}

// holdsLists reports whether there are lists in a value.
func holdsLists(value any) bool {
	list := func(v any) bool {
		_, is := v.([]any)
		return is || holdsLists(v)
	}
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, list)
	case map[string]any:
		for _, inner := range v {
			if list(inner) {
				return true
			}
		}
	}
	return false
}

// listed is a row of values by their place, or by the names of columns.
func listed(columns, values []any) map[string]any {
	row := make(map[string]any)
	for i, v := range values {
		name := fmt.Sprintf("column %d", i+1)
		if i < len(columns) {
			if own, ok := columns[i].(string); ok && strings.TrimSpace(own) != "" {
				name = own
			}
		}
		row[name] = v
	}
	return row
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"slices"
	"strings"
)

func (p *plan) findSeries(names []string, headed bool, cells func(int) []string, keys []string, o *Options) error {
	if o.Series != nil {
		for _, name := range o.Series {
			i := slices.Index(names, name)
			if i < 0 {
				return fmt.Errorf("no column %q among %q", name, names)
			}
			p.series = append(p.series, i)
		}
		return nil
	}
	if !headed {
		for i := range names { // tags before their times
			if all := cells(i); !p.taken(i) && i < p.time && len(all) > 0 && numbers(all, point) == 0 {
				p.series = append(p.series, i)
			}
		}
		return nil
	}
	for i, name := range names {
		if p.taken(i) || slices.Contains(o.Columns, name) || name == o.Value && name != "" {
			continue
		}
		known := slices.Contains(keys, name)
		for _, usual := range seriesNames {
			known = known || strings.EqualFold(name, usual)
		}
		if all := cells(i); known && numbers(all, point) < mostly && len(all) > 0 {
			p.series = append(p.series, i)
		}
	}
	return nil
}

// The share of rows that have the time of another row from which they are of several series, and of those among them that a
// column has to tell apart.
const (
	together = 0.2
	apart    = 0.95
)

// findKeys finds the columns that tell rows of the same time apart, where many have one and no column is called as one that
// does: texts, or whole numbers that are called an identifier.
func (p *plan) findKeys(names []string, rows [][]string, note func(string, ...any)) {
	if len(p.series) > 0 || len(rows) < 10 {
		return
	}
	repeated := func(keys []int) (n int) {
		seen := make(map[string]bool)
		for _, row := range rows {
			parts := []string{p.timestamp(row)}
			for _, i := range keys {
				if i < len(row) {
					parts = append(parts, strings.TrimSpace(row[i]))
				}
			}
			key := strings.Join(parts, "\x00")
			if seen[key] {
				n++
			}
			seen[key] = true
		}
		return n
	}
	all := repeated(nil)
	if float64(all) < together*float64(len(rows)) {
		return
	}
	var keys []int
	for i, name := range names {
		cells := cellsOf(rows, i)
		few := make(map[string]bool)
		for _, c := range cells {
			few[c] = true
		}
		lower := strings.ToLower(name)
		identifies := numbers(cells, point) == 0 || strings.HasSuffix(lower, "id") || slices.Contains(seriesNames, lower)
		if p.taken(i) || !identifies || len(few) < 2 || len(few) > len(rows)/3 {
			continue
		}
		keys = append(keys, i)
		if float64(repeated(keys)) <= (1-apart)*float64(all) {
			p.series = keys
			note("rows of the same time differ in column %q: each of its values (%s) is a series", names[keys[len(keys)-1]], examples(cells))
			return
		}
	}
}

// mayHaveStates reports whether the file is a long one of numbers, in which some series may be of texts, as a door is among
// thermometers.
func (p *plan) mayHaveStates() bool {
	return len(p.series) > 0 && len(p.columns) == 1 && !p.columns[0].Text
}

// findStates finds the series among rows, and those of them whose readings are texts.
func (p *plan) findStates(rows [][]string, note func(string, ...any)) {
	if !p.mayHaveStates() {
		return
	}
	readings := make(map[string][]string)
	var order []string
	for _, row := range rows {
		key := p.key(row)
		cell, ok := p.reading(row)
		if _, met := p.states[key]; met || !ok {
			continue
		}
		if readings[key] == nil {
			order = append(order, key)
		}
		readings[key] = append(readings[key], cell)
	}
	for _, key := range order {
		p.meet(key, readings[key], note)
	}
}

// reading is the cell of the only column of readings, if it holds something.
func (p *plan) reading(row []string) (cell string, ok bool) {
	if at := p.columns[0].at; at < len(row) {
		cell = strings.TrimSpace(row[at])
	}
	return cell, !absent(cell)
}

// mostSeries bounds how many series are known.
const mostSeries = 100_000

// meet decides by some of its readings what a series is of.
func (p *plan) meet(key string, readings []string, note func(string, ...any)) {
	if p.states == nil {
		p.states = make(map[string]bool)
	}
	if len(p.states) >= mostSeries {
		return
	}
	of := len(readings) > 0 && numbers(readings, p.columns[0].style) < mostly
	if p.states[key] = of; of {
		note("series %q is of texts (%s): its readings are states", key, examples(readings))
	}
}

// key is the name of the series.
func (p *plan) key(fields []string) string {
	if len(p.series) == 1 && p.series[0] < len(fields) {
		return fields[p.series[0]]
	}
	var parts []string
	for _, i := range p.series {
		if i < len(fields) {
			parts = append(parts, fields[i])
		}
	}
	return strings.Join(parts, "/")
}

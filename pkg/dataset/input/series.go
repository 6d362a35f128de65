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

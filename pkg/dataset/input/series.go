// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"slices"
	"strings"
)

func (p *plan) findSeries(names []string, cells func(int) []string, keys []string, o *Options) error {
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

// findStates finds the series whose readings are texts in a long file whose others are numbers, as a door is among
// thermometers.
func (p *plan) findStates(rows [][]string, note func(string, ...any)) {
	if len(p.series) == 0 || len(p.columns) != 1 || p.columns[0].Text {
		return
	}
	c := &p.columns[0]
	readings := make(map[string][]string)
	var order []string
	for _, row := range rows {
		if c.at >= len(row) {
			continue
		}
		cell := strings.TrimSpace(row[c.at])
		if absent(cell) {
			continue
		}
		key := p.key(row)
		if readings[key] == nil {
			order = append(order, key)
		}
		readings[key] = append(readings[key], cell)
	}
	for _, key := range order {
		if numbers(readings[key], c.style) >= mostly {
			continue
		}
		if p.states == nil {
			p.states = make(map[string]bool)
		}
		p.states[key] = true
		note("series %q is of texts (%s): its readings are states", key, examples(readings[key]))
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

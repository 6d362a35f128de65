// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Cell is a reading.
type Cell struct {
	Value   float64 // NaN where Text is no number, or the column is of texts
	Text    string  // as in the file, without blanks around it
	Missing bool    // there is no reading: Text is empty, or says so (NaN, n/a, unavailable)
}

// Row is one row.
type Row struct {
	Line      int       // in the file, from 1
	Timestamp string    // as in the file
	At        time.Time // told in Options.Location, or, of times without a zone, in one whose clock shows what is written
	Series    string    // "" where all rows are of one
	Label     bool      // whether the truth says that it is anomalous
	States    bool      // the readings of its series are texts, though those of others are numbers
	Cells     []Cell    // of the columns; valid until the next Read
}

// parse reads a row.
func (r *Reader) parse(fields []string, line int) (Row, error) {
	p := r.plan
	need := max(p.time, p.timeOf)
	if len(p.columns) == 1 {
		need = max(need, p.columns[0].at)
	}
	switch {
	case len(fields) <= need:
		return Row{}, fmt.Errorf("got %d columns, want at least %d", len(fields), need+1)
	case len(p.columns) > 1 && r.header != nil && r.grid.Separator() != 0 && len(fields) != len(r.header):
		return Row{}, fmt.Errorf("got %d columns, want %d as in the header", len(fields), len(r.header))
	}
	row := Row{Line: line, Timestamp: p.timestamp(fields), Cells: r.cells}
	var err error
	if row.At, err = p.clock.parse(row.Timestamp); err != nil {
		return Row{}, err
	}
	row.Series = p.key(fields)
	row.States = p.states[row.Series]
	if p.label >= 0 && p.label < len(fields) {
		r.labelled = r.labelled || !absent(strings.TrimSpace(fields[p.label]))
		row.Label = p.anomalous(fields[p.label])
	}
	for i := range p.columns {
		c := &p.columns[i]
		r.cells[i] = Cell{Value: math.NaN(), Missing: true}
		if c.at >= len(fields) {
			continue
		}
		t := strings.TrimSpace(fields[c.at])
		if t == "" && p.textual >= 0 && p.textual < len(fields) {
			t = strings.TrimSpace(fields[p.textual])
		}
		if r.cells[i].Text = t; absent(t) {
			continue
		}
		r.cells[i].Missing = false
		if p.quality >= 0 && p.quality < len(fields) {
			if is, known := good(fields[p.quality]); known && !is {
				r.cells[i].Text = strings.TrimSpace(fields[p.quality]) + ": " + t
				continue
			}
		}
		if !c.Text && !row.States {
			v, unit, ok := c.style.parse(t)
			if scale := c.scales[unit]; scale != 0 {
				v *= scale
			}
			if ok && c.takes(v, r.note) {
				r.cells[i].Value = v
			} else if ok {
				r.cells[i].Text = "no reading: " + t
			} else if c.doubt {
				var e evidence
				if e.add(t); e.tells() != unknownDecimal {
					return Row{}, &markError{c.Name, t}
				}
			}
		}
	}
	return row, nil
}

// timestamp is the time as it is written.
func (p *plan) timestamp(fields []string) string {
	if p.time >= len(fields) {
		return ""
	}
	if p.parts != nil {
		return joined(fields, p.parts)
	}
	t := strings.TrimSpace(fields[p.time])
	if p.timeOf >= 0 && p.timeOf < len(fields) && p.clock.unit == excel {
		day, ok := plainNumber(t)
		part, okPart := plainNumber(strings.TrimSpace(fields[p.timeOf]))
		if ok && okPart {
			return strconv.FormatFloat(day+part, 'f', -1, 64)
		}
	} else if p.timeOf >= 0 && p.timeOf < len(fields) {
		t += " " + strings.TrimSpace(fields[p.timeOf])
	}
	return t
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
	"github.com/kubeedge/edge-anomaly/cmd/adctl/internal/account"
	"github.com/kubeedge/edge-anomaly/pkg/dataset/input"
)

// judging says what the rows of a recording are judged by: each column alone, all of them together, or both.
type judging struct {
	alone    *admethod.ADMethodConfig // nil for none
	together *admethod.ADMethodConfig // nil for none
	model    string                   // file of the group's
	dataType string                   // of readings that are judged alone; "" for what the columns have
	unranked bool                     // only incidents are of interest, no scores
	columns  []input.Column
	index    []int // of the columns, among the cells of a row
	members  []int // of the columns, those that are judged together
}

// at is the same judging at another threshold, for incidents alone.
func (j judging) at(threshold float64) judging {
	j.unranked = true
	for _, c := range []**admethod.ADMethodConfig{&j.alone, &j.together} {
		if *c != nil {
			other := **c
			other.Threshold = threshold
			*c = &other
		}
	}
	return j
}

// jury judges rows. It is not safe for concurrent use.
type jury struct {
	judging
	session *replay.Session // nil where no column is judged alone
	series  map[string][]*column
	order   []*column
	group   *replay.Group // nil for none
	names   []string      // of the columns
	members []string      // names of those that are judged together
	grouped int           // rows that they were judged in
	cells   []input.Cell
	waiting []pendingRow
	said    []account.Said
	row     account.Row // the last one
	book    account.Book
}

// column is one that is judged alone, in one series.
type column struct {
	name   string
	series string
	stream *replay.Stream
	ahead  []replay.Outcome // of rows that wait for the group
	taken  int              // of ahead
	judged int
}

// pendingRow is a row that is not judged yet.
type pendingRow struct {
	at      time.Time
	series  string
	columns []*column
	lacks   []bool // columns without a reading; nil for none
}

func newJury(ctx context.Context, j judging) (*jury, error) {
	d := &jury{judging: j, series: make(map[string][]*column)}
	for _, c := range j.columns {
		d.names = append(d.names, c.Name)
	}
	var members []replay.Member
	for _, i := range j.members {
		c := &j.columns[i]
		members, d.members = append(members, replay.Member{Name: c.Name, Text: c.Text, Unit: c.Unit}), append(d.members, c.Name)
	}
	var err error
	if j.alone != nil {
		if d.session, err = replay.OpenSession(ctx, nil); err != nil {
			return nil, err
		}
	}
	if j.together != nil {
		d.group, err = replay.OpenGroup(ctx, replay.GroupOptions{Config: *j.together, Members: members, Model: j.model})
	}
	if err != nil {
		return nil, errors.Join(err, d.close(ctx))
	}
	return d, nil
}

func (d *jury) close(ctx context.Context) (err error) {
	ctx = context.WithoutCancel(ctx)
	if d.session != nil {
		err = d.session.Close(ctx)
	}
	if d.group != nil {
		err = errors.Join(err, d.group.Close(ctx))
	}
	return err
}

// mostSeries bounds how many series a file may be split into.
const mostSeries = 10_000

// of are the columns of a series.
func (d *jury) of(row *input.Row) ([]*column, error) {
	series := row.Series
	if all, ok := d.series[series]; ok || d.session == nil {
		return all, nil
	}
	if len(d.series) == mostSeries {
		return nil, fmt.Errorf("more than %d series: --series-columns says which columns tell them apart", mostSeries)
	}
	var all []*column
	for i, name := range d.names {
		key := name
		if series != "" {
			key = series + "/" + name
		}
		dataType := d.dataType
		if dataType == "" {
			if dataType = "double"; d.columns[i].Text || row.States {
				dataType = "string"
			}
		}
		c := &column{name: name, series: series}
		var err error
		if c.stream, err = d.session.Add(key, *d.alone, admethod.Meta{DataType: dataType, Unit: d.columns[i].Unit}); err != nil {
			return nil, err
		}
		if d.unranked {
			if of, ok := c.stream.Detector().(interface{ Unranked() }); ok {
				of.Unranked()
			}
		}
		all = append(all, c)
	}
	d.series[series], d.order = all, append(d.order, all...)
	return all, nil
}

// room is how many rows may be observed between two drains.
func (d *jury) room() int { return max(replay.MaxBatch/max(len(d.names), 1), 1) }

// observe takes a row.
func (d *jury) observe(row *input.Row) error {
	columns, err := d.of(row)
	if err != nil {
		return err
	}
	p := pendingRow{at: row.At, series: row.Series, columns: columns}
	wide := len(d.names) > 1
	for i, c := range columns {
		cell := &row.Cells[d.index[i]]
		if wide && cell.Missing { // of a table: a reading that was not made
			if p.lacks == nil {
				p.lacks = make([]bool, len(columns))
			}
			p.lacks[i] = true
			continue
		}
		switch {
		case cell.Value == cell.Value:
			if d.dataType == "string" {
				c.stream.ObserveAny(row.At, cell.Text)
			} else {
				c.stream.Observe(row.At, cell.Value)
			}
		case cell.Text == "":
			c.stream.ObserveAny(row.At, nil)
		default:
			c.stream.ObserveAny(row.At, cell.Text)
		}
	}
	if d.group != nil {
		d.cells = d.cells[:0]
		for _, i := range d.judging.members {
			d.cells = append(d.cells, row.Cells[d.index[i]])
		}
		d.group.Observe(row.At, d.cells)
	}
	d.waiting = append(d.waiting, p)
	return nil
}

// together is what tells the group from a column among those that blame.
const together = "\x00group"

// drain hands what became of rows to each, in their order. A last row that lacks readings may be kept for the next one,
// unless this is the last.
func (d *jury) drain(ctx context.Context, last bool, each func(*account.Row)) error {
	n := len(d.waiting)
	var groups []replay.RowOutcome
	if d.group != nil {
		var err error
		if groups, err = d.group.Drain(ctx, last); err != nil {
			return err
		}
		n = len(groups)
	}
	if d.session != nil {
		if err := d.session.Flush(ctx); err != nil {
			return err
		}
		for _, c := range d.order {
			done, err := c.stream.Outcomes()
			if err != nil {
				return err
			}
			if d.group == nil { // all of them are taken before the next reading
				c.ahead = done
			} else {
				c.ahead = append(c.ahead, done...)
			}
		}
	}
	for k := range n {
		p := &d.waiting[k]
		d.said = d.said[:0]
		for i, c := range p.columns {
			if p.lacks != nil && p.lacks[i] {
				continue
			}
			o := &c.ahead[c.taken]
			c.taken++
			s := account.Said{By: c.name, Outcome: *o}
			if o.Severity.Anomalous() && len(d.names) > 1 {
				s.Columns = d.names[i : i+1]
			}
			if o.Score == o.Score {
				c.judged++
			}
			d.said = append(d.said, s)
		}
		if groups != nil {
			g := &groups[k]
			if g.Score == g.Score {
				d.grouped++
			}
			d.said = append(d.said, account.Said{By: together, Columns: g.Blamed, Outcome: replay.Outcome{
				Score: g.Score, Onset: g.Onset, Severity: g.Severity, Kind: g.Kind, Expected: g.Expected, Lower: g.Lower, Upper: g.Upper, Incident: g.Incident, Message: g.Message,
			}})
		}
		d.row = d.book.Merge(p.series, p.at, d.said)
		each(&d.row)
	}
	for _, c := range d.order {
		if d.group == nil {
			c.ahead, c.taken = nil, 0
		} else {
			c.ahead, c.taken = append(c.ahead[:0], c.ahead[c.taken:]...), 0
		}
	}
	d.waiting = append(d.waiting[:0], d.waiting[n:]...)
	return nil
}

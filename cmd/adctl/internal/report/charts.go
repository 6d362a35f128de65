// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"strconv"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
)

// part returns a part of the recording between two times.
func (r *Run) part(from, to time.Time) *part {
	return &part{bins: r.bins, from: r.bins.index(from), to: r.bins.index(to) + 1, broken: 8 * r.bins.spacing()}
}

// values is the range of a chart of readings: that of the readings, and of the band as far as it is near.
func (r *Run) values(p *part, member int) (lo, hi float64) {
	var e, band extent
	for i := p.from; i < p.to; i++ {
		e.join(r.bins.readings[member][i])
		if len(r.bins.readings) == 1 {
			band.add(r.bins.bins[i].lower.value())
			band.add(r.bins.bins[i].upper.value())
		}
	}
	if band.some && e.some {
		const near = 0.5
		room := near * max(e.hi-e.lo, math.Abs(e.hi)*0.02)
		band.lo, band.hi = max(band.lo, e.lo-room), min(band.hi, e.hi+room)
		if band.lo <= band.hi {
			e.join(band)
		}
	}
	return padded(e)
}

func (r *Run) valueTicks(member int, lo, hi float64, most int) (marks []tick) {
	names := r.categories[member].names
	if len(names) == 0 {
		return ticks(lo, hi, most)
	}
	for i, name := range names {
		if v := float64(i); v >= lo && v <= hi && i < 8 {
			marks = append(marks, tick{v, clip(name, 10)})
		}
	}
	return marks
}

func clip(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return text
}

// chart is what the page draws, by the code of the page for operators. A number that is not known is null.
type chart struct {
	Kind    string     `json:"kind"` // readings, score or cost
	Title   string     `json:"title"`
	Height  int        `json:"height"`
	X       string     `json:"x"`                 // what its axes show
	Count   string     `json:"count,omitempty"`   // of numbers that are no times: row or second
	Offsets [][2]int64 `json:"offsets,omitempty"` // of the clock, see wallClock
	Y       string     `json:"y"`
	From    float64    `json:"from"`            // of the first bin, in seconds since 1970
	Each    number7    `json:"each,omitempty"`  // seconds of a bin
	Bins    []int      `json:"bins,omitempty"`  // numbers of those that are drawn; -1 breaks a line
	Columns []column   `json:"columns"`         // of readings: greatest, least, expected, lower, upper; of costs: rarity, cost
	Spans   []span     `json:"spans,omitempty"` // in bins
	Names   []string   `json:"names,omitempty"` // of states
	Low     number7    `json:"low"`             // of the axis
	High    number7    `json:"high"`
	Marks   []mark     `json:"marks,omitempty"` // of rarity
	Line    *number7   `json:"line,omitempty"`  // the threshold, as a rarity
	Whole   bool       `json:"whole,omitempty"` // all of the recording
	_       struct{}   // keyed literals only: fields may be added
}

type column []number7

// number7 is a number of seven digits in JSON, enough for a chart.
type number7 float64

// MarshalJSON implements [json.Marshaler].
func (n number7) MarshalJSON() ([]byte, error) {
	v := float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, v, 'g', 7, 64), nil
}

type span struct {
	From  number7 `json:"from"`
	To    number7 `json:"to"`
	Class string  `json:"class"` // warning, critical or truth
}

type mark struct {
	At   number7 `json:"at"`
	Text string  `json:"text"`
}

// mostColumns are drawn of the whole recording, and of a part of it; of groups, which have many charts, fewer.
const (
	mostColumns  = 4000
	groupColumns = 1000
	partColumns  = 400
)

// over begins a chart of a part, and calls each with the bins that are one column in it.
func (p *part) over(c *chart, most int, each func(from, to int)) {
	c.From, c.Each = float64(p.bins.from)/1e9, number7(time.Duration(p.bins.width).Seconds())
	per, last := max(1, (p.to-p.from+most-1)/most), -1
	for i := p.from; i < p.to; i += per {
		newest := -1
		for k := i; k < min(i+per, p.to); k++ {
			if p.bins.bins[k].rows > 0 {
				newest = k
			}
		}
		if newest < 0 {
			continue
		}
		if last >= 0 && i-last > p.broken {
			c.Bins = append(c.Bins, -1)
			for k := range c.Columns {
				c.Columns[k] = append(c.Columns[k], number7(math.NaN()))
			}
		}
		last = newest
		c.Bins = append(c.Bins, i+(min(per, p.to-i)-1)/2)
		each(i, min(i+per, p.to))
	}
}

// spansOf adds runs of bins.
func (p *part) spansOf(c *chart, class string, holds func(i int) bool) {
	p.runs(float64(p.to-p.from)/500, holds, func(from, to float64) {
		c.Spans = append(c.Spans, span{number7(from), number7(to), class})
	})
}

// readingsChart shows a member's readings, with the band that was expected where there is one; alerts are shaded, and
// labels are in a strip below.
func (r *Run) readingsChart(p *part, member, height, most int) *chart {
	c := &chart{Kind: "readings", Title: "Readings of " + r.memberName(member), Height: height, Count: r.info.Counts.String(), Offsets: r.clock.offsets, X: r.info.Axis(), Y: r.axisTitle(member), Names: r.categories[member].names}
	low, high := r.values(p, member)
	c.Low, c.High = number7(low), number7(high)
	c.Columns = make([]column, 5)
	p.over(c, most, func(from, to int) {
		var e extent
		var expected, lower, upper mean
		for k := from; k < to; k++ {
			e.join(r.bins.readings[member][k])
			if len(r.bins.readings) == 1 {
				b := &r.bins.bins[k]
				expected.join(b.expected)
				lower.join(b.lower)
				upper.join(b.upper)
			}
		}
		if !e.some {
			e.lo, e.hi = math.NaN(), math.NaN()
		}
		for k, v := range [...]float64{e.hi, e.lo, expected.value(), lower.value(), upper.value()} {
			if k > 2 && !math.IsNaN(v) { // bands may reach further
				v = min(max(v, low), high)
			}
			c.Columns[k] = append(c.Columns[k], number7(v))
		}
	})
	for _, severity := range alerting {
		p.spansOf(c, severity.String(), func(i int) bool { return p.bins.anomalous(i, member, severity) })
	}
	if r.info.Labelled {
		p.spansOf(c, "truth", func(i int) bool { return p.bins.bins[i].labelled })
	}
	return c
}

// scoreChart shows the scores, and the threshold that they were judged by.
func (r *Run) scoreChart(p *part, height, most int) *chart {
	threshold := number7(verdict.Rarity(r.info.Threshold))
	c := &chart{Kind: "score", Title: "Scores of the detector, and the threshold", Height: height, Count: r.info.Counts.String(), Offsets: r.clock.offsets, X: r.info.Axis(), Y: "score, 0 … 1", High: verdict.Rarest * 1.03, Line: &threshold, Columns: make([]column, 1)}
	for _, t := range scoreTicks() {
		c.Marks = append(c.Marks, mark{number7(t.at), t.text})
	}
	p.over(c, most, func(from, to int) {
		var e extent
		for k := from; k < to; k++ {
			if b := &p.bins.bins[k]; b.rows > 0 && !math.IsNaN(b.score) {
				e.add(verdict.Rarity(b.score))
			}
		}
		if !e.some {
			e.hi = math.NaN()
		}
		c.Columns[0] = append(c.Columns[0], number7(e.hi))
	})
	for _, severity := range alerting {
		p.spansOf(c, severity.String(), func(i int) bool { return p.bins.anomalous(i, -1, severity) })
	}
	return c
}

// costChart shows one cost of each threshold as steps.
func (r *Run) costChart(u curve, height int, tried []Cost) *chart {
	high, _ := u.axis(tried)
	this := number7(verdict.Rarity(r.info.Threshold))
	c := &chart{Kind: "cost", Title: u.name + " for each threshold", Height: height, X: "threshold", Y: u.name, High: number7(high), Line: &this, Columns: make([]column, 2)}
	left, right := verdict.Rarity(tried[0].Threshold), min(verdict.Rarity(tried[len(tried)-1].Threshold), verdict.Rarest)
	c.Marks = append(c.Marks, mark{number7(left), number(tried[0].Threshold)})
	for _, t := range scoreTicks() {
		if t.at > left && t.at <= right {
			c.Marks = append(c.Marks, mark{number7(t.at), t.text})
		}
	}
	for k := range tried {
		c.Columns[0], c.Columns[1] = append(c.Columns[0], number7(verdict.Rarity(tried[k].Threshold))), append(c.Columns[1], number7(u.of(&tried[k])))
	}
	return c
}

func (r *Run) memberName(i int) string {
	if i < len(r.info.Members) {
		return r.info.Members[i]
	}
	return "reading"
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strings"
	"time"
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

// readingsChart shows a member's readings, with the band that was expected where there is one; alerts are shaded, and
// in strips below, those of the labels and of the alerts can be compared.
func (r *Run) readingsChart(p *part, member int, width, height float64, marks int) *chart {
	name := r.memberName(member)
	c := &chart{Width: width, Height: height, Title: "Readings of " + name}
	strips := 1.0
	if r.info.Labelled {
		strips = 2
	}
	plot := height - topRoom - bottomRoom - strips*(stripH+5)
	f := p.frame(c, topRoom, plot)
	f.low, f.high = r.values(p, member)
	from, to := p.span()
	p.alerts(f, member, f.y0, f.h, "shade ")
	if r.info.Labelled {
		p.spans(f, "shade truth", f.y0, f.h, 1, func(i int) bool { return p.bins.bins[i].labelled })
	}
	// The marks of time belong under the strips.
	f.axes(nil, r.valueTicks(member, f.low, f.high, max(2, int(plot/30))))
	bottom := f.y0 + f.h + strips*(stripH+5)
	timeMarks(f, timeTicks(from, to, marks), bottom)
	f.titles("time"+r.info.Zone(), r.axisTitle(member), height-4)
	if len(r.bins.readings) == 1 {
		c.path("band", p.band(f))
		c.path("expected", p.curve(f, func(b *bin) mean { return b.expected }))
	}
	c.path("envelope", p.envelope(f, member))
	c.path("reading", p.readings(f, member))
	y := f.y0 + f.h + 5
	if r.info.Labelled {
		c.text("mark", "end", f.x0-6, y+stripH, "labels")
		c.add(shape{Class: "strip", X: f.x0, Y: y, W: f.w, H: stripH})
		p.spans(f, "solid truth", y, stripH, 2, func(i int) bool { return p.bins.bins[i].labelled })
		y += stripH + 5
	}
	c.text("mark", "end", f.x0-6, y+stripH, "alerts")
	c.add(shape{Class: "strip", X: f.x0, Y: y, W: f.w, H: stripH})
	p.alerts(f, member, y, stripH, "solid ")
	return c
}

func timeMarks(f *frame, marks []tick, bottom float64) {
	for _, t := range marks {
		x := f.x(t.at)
		anchor := "middle"
		if x > f.x0+f.w-40 {
			anchor = "end"
		}
		f.chart.path("grid", fmt.Sprintf("M%.1f %.1fV%.1f", x, f.y0, bottom))
		f.chart.text("mark", anchor, x, bottom+16, t.text)
	}
}

// scoreChart shows the scores, and the threshold that they were judged by.
func (r *Run) scoreChart(p *part, width, height float64, marks int) *chart {
	c := &chart{Width: width, Height: height, Title: "Scores of the detector, and the threshold"}
	f := p.frame(c, topRoom, height-topRoom-bottomRoom)
	f.high = rarest * 1.03
	from, to := p.span()
	p.alerts(f, -1, f.y0, f.h, "shade ")
	f.axes(timeTicks(from, to, marks), scoreTicks())
	f.titles("time"+r.info.Zone(), "score, 0 … 1", height-4)
	var b strings.Builder
	previous, begun := 0.0, false
	p.columns(f, func(x float64, from, to int, broken bool) {
		var e extent
		for k := from; k < to; k++ {
			if b := &p.bins.bins[k]; b.rows > 0 && !math.IsNaN(b.score) {
				e.add(rarity(b.score))
			}
		}
		if e.some {
			line(&b, f, x, e, !begun || broken, &previous)
			begun = true
		}
	})
	c.path("score", b.String())
	y := f.y(rarity(r.info.Threshold))
	c.path("threshold", fmt.Sprintf("M%.1f %.1fh%.1f", f.x0, y, f.w))
	c.text("note", "end", f.x0+f.w-4, y-4, "threshold "+number(r.info.Threshold))
	return c
}

// costChart shows one cost of each threshold as steps.
func (r *Run) costChart(u curve, width, height float64, tried []Cost) *chart {
	c := &chart{Width: width, Height: height, Title: u.name + " for each threshold"}
	f := &frame{chart: c, x0: leftRoom - 26, y0: topRoom, w: width - leftRoom + 26 - rightRoom - 14, h: height - topRoom - bottomRoom, // half of the last mark is outside
		left: rarity(tried[0].Threshold), right: min(rarity(tried[len(tried)-1].Threshold), rarest)}
	high, costs := u.axis(tried)
	f.high = high
	var marks []tick
	for _, t := range scoreTicks() {
		if t.at >= f.left && t.at <= f.right {
			marks = append(marks, t)
		}
	}
	f.axes(append([]tick{{f.left, number(tried[0].Threshold)}}, marks...), costs)
	f.titles("threshold", u.name, height-4)
	x := f.x(rarity(r.info.Threshold))
	c.path("threshold", fmt.Sprintf("M%.1f %.1fv%.1f", x, f.y0, f.h))
	c.text("note", "start", x+4, f.y0+11, "this run: "+number(r.info.Threshold))
	var b strings.Builder
	pen := "M"
	for k := range tried {
		v, x := u.of(&tried[k]), f.x(rarity(tried[k].Threshold))
		switch {
		case math.IsNaN(v):
			pen = "M"
			continue
		case pen == "M":
			fmt.Fprintf(&b, "M%.1f %.1f", x, f.y(v))
		default:
			fmt.Fprintf(&b, "H%.1fV%.1f", x, f.y(v))
		}
		pen = ""
	}
	c.path("cost", b.String())
	return c
}

func (r *Run) memberName(i int) string {
	if i < len(r.info.Members) {
		return r.info.Members[i]
	}
	return "reading"
}

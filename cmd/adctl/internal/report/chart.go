// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/driver"
)

// chart is an SVG picture, in the terms of the template that writes it. Numbers are pixels.
type chart struct {
	Width, Height float64
	Title         string // for those who do not see it
	Shapes        []shape
}

// shape is one element: a rectangle, a path, or a text.
type shape struct {
	Class      string
	X, Y, W, H float64
	D          string // of a path
	Text       string // of a text
	Anchor     string
	Tip        string // shown where the pointer rests
}

// The frame of charts.
const (
	pageWidth  = 1080
	leftRoom   = 78
	rightRoom  = 14
	topRoom    = 24
	bottomRoom = 40
	stripH     = 9
)

// frame maps units to the pixels of a plot.
type frame struct {
	chart                  *chart
	x0, y0, w, h           float64 // of the plot
	left, right, low, high float64 // units
}

func (f *frame) x(v float64) float64 {
	if f.right <= f.left {
		return f.x0
	}
	return f.x0 + f.w*(v-f.left)/(f.right-f.left)
}

// y is kept within the plot: bands may reach further.
func (f *frame) y(v float64) float64 {
	share := v/2 - f.low/2 // halved: the numbers may be at the very ends
	if r := f.high/2 - f.low/2; r > 0 {
		share /= r
	}
	return f.y0 + f.h*(1-min(max(share, 0), 1))
}

func (c *chart) add(s shape) { c.Shapes = append(c.Shapes, s) }

func (c *chart) text(class, anchor string, x, y float64, text string) {
	c.add(shape{Class: class, Anchor: anchor, X: x, Y: y, Text: text})
}

func (c *chart) path(class, d string) {
	if d != "" {
		c.add(shape{Class: class, D: d})
	}
}

// titles names the axes: that of the values over it, that of times or thresholds under its end.
func (f *frame) titles(x, y string, bottom float64) {
	f.chart.text("title", "start", max(f.x0-leftRoom+6, 2), f.y0-8, y)
	f.chart.text("title", "end", f.x0+f.w, bottom, x)
}

// axes draws the grid and its marks.
func (f *frame) axes(xs, ys []tick) {
	for _, t := range ys {
		y := f.y(t.at)
		f.chart.path("grid", fmt.Sprintf("M%.1f %.1fh%.1f", f.x0, y, f.w))
		f.chart.text("mark", "end", f.x0-6, y+4, t.text)
	}
	bottom := f.y0 + f.h
	for _, t := range xs {
		x := f.x(t.at)
		f.chart.path("grid", fmt.Sprintf("M%.1f %.1fv%.1f", x, f.y0, f.h))
		f.chart.text("mark", "middle", x, bottom+17, t.text)
	}
	f.chart.path("axis", fmt.Sprintf("M%.1f %.1fv%.1fh%.1f", f.x0, f.y0, f.h, f.w))
}

// part is a part of the recording: bins from … to, the latter not included.
type part struct {
	bins     *bins
	from, to int
	broken   int // bins without rows after which a line is broken
}

func (p *part) span() (from, to time.Time) { return p.bins.at(p.from), p.bins.at(p.to) }

func (p *part) frame(c *chart, top, height float64) *frame {
	from, to := p.span()
	return &frame{chart: c, x0: leftRoom, y0: top, w: c.Width - leftRoom - rightRoom, h: height,
		left: float64(from.UnixNano()), right: float64(to.UnixNano())}
}

// columns joins the bins that fall on the same pixel, and calls each with the middle of them in units of the axis.
// Nothing between two calls is told by broken.
func (p *part) columns(f *frame, each func(x float64, from, to int, broken bool)) {
	per := max(1, int(math.Ceil(float64(p.to-p.from)/f.w)))
	last := -1
	for i := p.from; i < p.to; i += per {
		end := min(i+per, p.to)
		rows := 0
		newest := i
		for k := i; k < end; k++ {
			if p.bins.bins[k].rows > 0 {
				rows += p.bins.bins[k].rows
				newest = k
			}
		}
		if rows == 0 {
			continue
		}
		middle := float64(i) + float64(min(per, p.to-i))/2
		each(f.x(float64(p.bins.from)+middle*float64(p.bins.width)), i, end, last >= 0 && i-last > p.broken)
		last = newest
	}
}

// line draws values that are least and greatest in a column, all of which are on the line.
func line(b *strings.Builder, f *frame, x float64, e extent, first bool, previous *float64) {
	a, z := f.y(e.lo), f.y(e.hi)
	if !first && math.Abs(*previous-z) < math.Abs(*previous-a) {
		a, z = z, a
	}
	if first {
		fmt.Fprintf(b, "M%.1f %.1f", x, a)
	} else {
		fmt.Fprintf(b, "L%.1f %.1f", x, a)
	}
	if first && a == z {
		b.WriteString("h.1") // a lone reading is seen too
	}
	if a != z {
		fmt.Fprintf(b, "V%.1f", z)
	}
	*previous = z
}

// coarse reports whether columns are so far apart that a line up and down between their extremes would look like a
// signal of its own. An envelope is drawn then.
func (p *part) coarse(f *frame, member int) bool {
	const far = 2.5 // pixels
	if f.w/float64(max(p.to-p.from, 1)) < far {
		return false
	}
	wide, all := 0, 0
	for i := p.from; i < p.to; i++ {
		if e := p.bins.readings[member][i]; e.some {
			all++
			if e.lo < e.hi {
				wide++
			}
		}
	}
	return 2*wide > all
}

// envelope fills what lies between the extremes of each column; it is empty where they are drawn as a line.
func (p *part) envelope(f *frame, member int) string {
	if !p.coarse(f, member) {
		return ""
	}
	return p.area(f, func(from, to int) (e extent) {
		for k := from; k < to; k++ {
			e.join(p.bins.readings[member][k])
		}
		return e
	})
}

func (p *part) readings(f *frame, member int) string {
	if p.coarse(f, member) {
		return ""
	}
	var b strings.Builder
	previous, begun := 0.0, false
	p.columns(f, func(x float64, from, to int, broken bool) {
		var e extent
		for k := from; k < to; k++ {
			e.join(p.bins.readings[member][k])
		}
		if !e.some {
			return
		}
		line(&b, f, x, e, !begun || broken, &previous)
		begun = true
	})
	return b.String()
}

// curve draws the mean of something in each column.
func (p *part) curve(f *frame, of func(*bin) mean) string {
	var b strings.Builder
	pen := "M"
	p.columns(f, func(x float64, from, to int, broken bool) {
		var m mean
		for k := from; k < to; k++ {
			m.join(of(&p.bins.bins[k]))
		}
		if m.n == 0 || broken {
			pen = "M"
		}
		if m.n > 0 {
			fmt.Fprintf(&b, "%s%.1f %.1f", pen, x, f.y(m.value()))
			pen = "L"
		}
	})
	return b.String()
}

// band fills what lies between the limits; where there is one of them only, up to the edge.
func (p *part) band(f *frame) string {
	return p.area(f, func(from, to int) (e extent) {
		var lower, upper mean
		for k := from; k < to; k++ {
			lower.join(p.bins.bins[k].lower)
			upper.join(p.bins.bins[k].upper)
		}
		if lower.n+upper.n == 0 {
			return e
		}
		e = extent{lo: f.low, hi: f.high, some: true}
		if upper.n > 0 {
			e.hi = upper.value()
		}
		if lower.n > 0 {
			e.lo = lower.value()
		}
		return e
	})
}

// area fills what lies between the ends of extents.
func (p *part) area(f *frame, of func(from, to int) extent) string {
	var b, up, back strings.Builder
	var lows []string
	end := func() {
		if up.Len() == 0 {
			return
		}
		for i := range lows {
			back.WriteString("L" + lows[len(lows)-1-i])
		}
		b.WriteString("M" + up.String()[1:] + back.String() + "Z")
		up.Reset()
		back.Reset()
		lows = lows[:0]
	}
	p.columns(f, func(x float64, from, to int, broken bool) {
		e := of(from, to)
		if broken || !e.some {
			end()
		}
		if e.some {
			fmt.Fprintf(&up, "L%.1f %.1f", x, f.y(e.hi))
			lows = append(lows, fmt.Sprintf("%.1f %.1f", x, f.y(e.lo)))
		}
	})
	end()
	return b.String()
}

// spans draws what holds for runs of bins.
func (p *part) spans(f *frame, class string, y, h, least float64, holds func(i int) bool) {
	begin, until := -1, -1
	draw := func() {
		if begin < 0 {
			return
		}
		x := f.x(float64(p.bins.from) + float64(begin)*float64(p.bins.width))
		w := f.x(float64(p.bins.from)+float64(until)*float64(p.bins.width)) - x
		if w < least { // seen, however short
			x, w = x-(least-w)/2, least
		}
		f.chart.add(shape{Class: class, X: x, Y: y, W: w, H: h})
		begin = -1
	}
	for i := p.from; i < p.to; i++ {
		if p.bins.bins[i].rows == 0 {
			continue
		}
		if !holds(i) {
			draw()
			continue
		}
		if begin < 0 || i-until > p.broken {
			draw()
			begin = i
		}
		until = i + 1
	}
	draw()
}

// anomalous reports whether a bin has an alert of that severity; of one member, whether that is blamed, or nobody is. A
// member below 0 is all of them.
func (b *bins) anomalous(i, member int, severity driver.Severity) bool {
	if b.bins[i].severity != severity {
		return false
	}
	if member < 0 || b.blamed[member][i] {
		return true
	}
	for m := range b.blamed {
		if b.blamed[m][i] {
			return false
		}
	}
	return true
}

var alerting = [...]driver.Severity{driver.Warning, driver.Critical}

// alerts draws what is anomalous.
func (p *part) alerts(f *frame, member int, y, h float64, class string) {
	for _, severity := range alerting {
		p.spans(f, class+severity.String(), y, h, 2, func(i int) bool { return p.bins.anomalous(i, member, severity) })
	}
}

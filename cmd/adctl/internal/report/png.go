// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"github.com/kubeedge/edge-anomaly/admethod/verdict"
	"github.com/kubeedge/edge-anomaly/driver"
)

// The colours of the picture are those of the page on white.
var (
	readingColor   = color.NRGBA{0x00, 0x63, 0xa8, 0xff}
	bandColor      = color.NRGBA{0x00, 0x72, 0xb2, 0x2c}
	criticalColor  = color.NRGBA{0xc8, 0x50, 0x0a, 0xff}
	warningColor   = color.NRGBA{0xd9, 0x90, 0x00, 0xff}
	truthColor     = color.NRGBA{0x9b, 0x3f, 0x86, 0xff}
	scoreColor     = color.NRGBA{0x3f, 0x4a, 0x56, 0xff}
	gridColor      = color.NRGBA{0xe6, 0xe9, 0xed, 0xff}
	thresholdColor = color.NRGBA{0x1b, 0x1f, 0x24, 0xff}
)

// The picture, in points of 1/72 inch.
const (
	pictureWidth  = 820
	panelHeight   = 150
	costHeight    = 130
	panelGap      = 8
	legendHeight  = 18
	dotsPerInch   = 144
	picturedMost  = 8    // members
	pictureLabels = 0.07 // height of a strip as a share of the panel
)

// PNG writes a picture: the readings of the first members, the scores, and what each threshold costs.
func (r *Run) PNG(w io.Writer) error {
	var panels []*plot.Plot
	heights := []float64{}
	p := r.part(r.first, r.last)
	if r.rows > 0 {
		order := r.byBlame()
		for _, m := range order[:min(len(order), picturedMost)] {
			panels, heights = append(panels, r.readingsPlot(p, m)), append(heights, panelHeight)
		}
		panels, heights = append(panels, r.scorePlot(p)), append(heights, panelHeight)
	}
	costs := r.costPlots()
	height := float64(2*panelGap + legendHeight)
	if len(costs) > 0 {
		height += costHeight
	}
	for _, h := range heights {
		height += h + panelGap
	}
	canvas := vgimg.NewWith(vgimg.UseWH(pictureWidth, vg.Length(height)), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(color.White))
	all := draw.New(canvas)
	top := vg.Length(height - panelGap)
	r.legend(all, top)
	top -= legendHeight
	if len(panels) > 0 {
		for i, c := range alignedPanels(panels, all, top, heights) {
			panels[i].Draw(c)
			top = min(top, c.Min.Y-panelGap)
		}
	}
	for i, c := range costs {
		width := float64(pictureWidth) / float64(len(costs))
		x := vg.Length(float64(i) * width)
		c.Draw(draw.Canvas{Canvas: all.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x + panelGap, Y: top - costHeight}, Max: vg.Point{X: x + vg.Length(width) - panelGap, Y: top},
		}})
	}
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(w)
	return err
}

// legend says what the colours mean, in a line at the top.
func (r *Run) legend(c draw.Canvas, top vg.Length) {
	type entry struct {
		name  string
		color color.NRGBA
		line  bool
	}
	entries := []entry{{"readings", readingColor, true}}
	if len(r.bins.readings) == 1 {
		entries = append(entries, entry{"expected band", bandColor, false})
	}
	entries = append(entries, entry{"warning", warningColor, false}, entry{"critical", criticalColor, false})
	if r.info.Labelled {
		entries = append(entries, entry{"labelled as anomalous", truthColor, false})
	}
	entries = append(entries, entry{"score", scoreColor, true}, entry{"threshold", thresholdColor, true})
	style := newPlot("").X.Tick.Label
	style.Font.Size = 8
	style.XAlign, style.YAlign = text.XLeft, text.YCenter
	const swatch, gap = 14, 5
	x, y := vg.Length(panelGap*2), top-legendHeight/2
	for _, e := range entries {
		if e.line {
			c.StrokeLine2(draw.LineStyle{Color: e.color, Width: 1.6}, x, y, x+swatch, y)
		} else {
			c.FillPolygon(e.color, []vg.Point{{X: x, Y: y - 4}, {X: x + swatch, Y: y - 4}, {X: x + swatch, Y: y + 4}, {X: x, Y: y + 4}})
		}
		x += swatch + gap
		c.FillText(style, vg.Point{X: x, Y: y}, e.name)
		x += style.Width(e.name) + 3*gap
	}
}

// alignedPanels are the canvases of panels whose plots begin and end at the same pixel.
func alignedPanels(panels []*plot.Plot, all draw.Canvas, top vg.Length, heights []float64) []draw.Canvas {
	canvases := make([]draw.Canvas, len(panels))
	left, right := vg.Length(0), all.Max.X
	for i, p := range panels {
		bottom := top - vg.Length(heights[i])
		canvases[i] = draw.Canvas{Canvas: all.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: panelGap, Y: bottom}, Max: vg.Point{X: all.Max.X - panelGap, Y: top},
		}}
		data := p.DataCanvas(canvases[i])
		left, right = max(left, data.Min.X), min(right, data.Max.X)
		top = bottom - panelGap
	}
	for i, p := range panels {
		data := p.DataCanvas(canvases[i])
		canvases[i] = draw.Crop(canvases[i], left-data.Min.X, right-data.Max.X, 0, 0)
	}
	return canvases
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 9
	p.Title.TextStyle.XAlign = text.XCenter
	p.Title.TextStyle.Font.Variant = "Sans" // as the page
	for _, a := range [...]*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font.Size, a.Tick.Label.Font.Variant = 7, "Sans"
		a.Label.TextStyle.Font.Variant = "Sans"
		a.Label.TextStyle.Font.Size = 8
		a.Color = scoreColor
		a.Tick.Color = scoreColor
		a.Padding = 0
	}
	g := plotter.NewGrid()
	g.Horizontal.Color, g.Vertical.Color = gridColor, gridColor
	p.Add(g)
	return p
}

func marks(ts []tick) plot.ConstantTicks {
	var out plot.ConstantTicks
	for _, t := range ts {
		out = append(out, plot.Tick{Value: t.at, Label: t.text})
	}
	return out
}

func (r *Run) timeAxis(p *part, to *plot.Plot) {
	from, until := p.span()
	to.X.Min, to.X.Max = float64(from.UnixNano()), float64(until.UnixNano())
	to.X.Tick.Marker = marks(r.clock.ticks(from, until, 8))
}

// area adds a filled shape.
func area(p *plot.Plot, c color.Color, points plotter.XYs) {
	if a, err := plotter.NewPolygon(points); err == nil {
		a.Color, a.Width = c, 0
		p.Add(a)
	}
}

// strokeMost is the most points that are drawn at once: the time that the canvas takes grows with their square.
const strokeMost = 64

// stroke adds a line.
func stroke(p *plot.Plot, c color.Color, width vg.Length, dashed bool, points plotter.XYs) {
	for len(points) > 0 {
		n := min(len(points), strokeMost)
		l, err := plotter.NewLine(points[:n])
		if err != nil {
			return
		}
		l.Color, l.Width = c, width
		if dashed {
			l.Dashes = []vg.Length{4, 3}
		}
		p.Add(l)
		if n == len(points) {
			return
		}
		points = points[n-1:] // the next begins where this one ends
	}
}

// times calls draw with the begin and the end, in nanoseconds, of each run of bins of which holds says yes.
func (p *part) times(holds func(i int) bool, draw func(from, to float64)) {
	const least = 1.0 / 500 // of the picture
	at := func(bin float64) float64 { return float64(p.bins.from) + bin*float64(p.bins.width) }
	p.runs(least*float64(p.to-p.from), holds, func(from, to float64) { draw(at(from), at(to)) })
}

func (r *Run) readingsPlot(part *part, member int) *plot.Plot {
	p := newPlot(r.memberName(member))
	if len(r.bins.readings) == 1 {
		p.Title.Text = clip(r.info.Input, 60) + ", " + r.info.Detector
	}
	lo, hi := r.values(part, member)
	room := (hi - lo) * 2.7 * pictureLabels
	r.timeAxis(part, p)
	p.Y.Min, p.Y.Max = lo-room, hi
	strip := (hi - lo) * pictureLabels
	named := append(r.valueTicks(member, lo, hi, 4), tick{lo - room + strip/2, "alerts"})
	if r.info.Labelled {
		named = append(named, tick{lo - room + 1.8*strip, "labels"})
	}
	p.Y.Tick.Marker = marks(named)
	p.X.Label.Text, p.Y.Label.Text = r.info.Axis(), r.axisTitle(member)
	box := func(c color.Color, x0, x1, y0, y1 float64) {
		area(p, c, plotter.XYs{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
	}
	for _, severity := range alerting {
		solid := warningColor
		if severity == driver.Critical {
			solid = criticalColor
		}
		part.times(func(i int) bool { return r.bins.anomalous(i, member, severity) }, func(x0, x1 float64) {
			shade := solid
			shade.A = 0x30
			box(shade, x0, x1, lo, hi)
			box(solid, x0, x1, lo-room, lo-room+strip)
		})
	}
	part.times(func(i int) bool { return r.bins.bins[i].labelled }, func(x0, x1 float64) {
		box(truthColor, x0, x1, lo-room+1.3*strip, lo-room+2.3*strip)
	})
	if len(r.bins.readings) == 1 {
		r.bandPlot(p, part, lo, hi)
	}
	var points plotter.XYs
	end := func() {
		if len(points) > 0 {
			stroke(p, readingColor, 0.8, false, points)
		}
		points = nil
	}
	last := -1
	for i := part.from; i < part.to; i++ {
		e := r.bins.readings[member][i]
		if !e.some {
			continue
		}
		if last >= 0 && i-last > part.broken {
			end()
		}
		last = i
		x := float64(r.bins.at(i).UnixNano())
		points = append(points, plotter.XY{X: x, Y: e.lo})
		if e.hi != e.lo {
			points = append(points, plotter.XY{X: x, Y: e.hi})
		}
	}
	end()
	return p
}

func (r *Run) bandPlot(p *plot.Plot, part *part, lo, hi float64) {
	var up, down plotter.XYs
	end := func() {
		for i := range down {
			up = append(up, down[len(down)-1-i])
		}
		if len(up) > 2 {
			area(p, bandColor, up)
		}
		up, down = nil, nil
	}
	within := func(v, otherwise float64) float64 {
		if math.IsNaN(v) {
			return otherwise
		}
		return min(max(v, lo), hi)
	}
	for i := part.from; i < part.to; i++ {
		b := &r.bins.bins[i]
		if b.rows == 0 {
			continue
		}
		if b.lower.n+b.upper.n == 0 {
			end()
			continue
		}
		x := float64(r.bins.at(i).UnixNano())
		up = append(up, plotter.XY{X: x, Y: within(b.upper.value(), hi)})
		down = append(down, plotter.XY{X: x, Y: within(b.lower.value(), lo)})
	}
	end()
}

func (r *Run) scorePlot(part *part) *plot.Plot {
	p := newPlot("Scores")
	r.timeAxis(part, p)
	p.X.Label.Text, p.Y.Label.Text = r.info.Axis(), "score, 0 … 1"
	p.Y.Min, p.Y.Max = 0, verdict.Rarest*1.03
	p.Y.Tick.Marker = marks(scoreTicks())
	var points plotter.XYs
	for i := part.from; i < part.to; i++ {
		if s := r.bins.bins[i].score; r.bins.bins[i].rows > 0 && !math.IsNaN(s) {
			points = append(points, plotter.XY{X: float64(r.bins.at(i).UnixNano()), Y: verdict.Rarity(s)})
		}
	}
	if len(points) > 0 {
		stroke(p, scoreColor, 0.7, false, points)
	}
	y := verdict.Rarity(r.info.Threshold)
	stroke(p, thresholdColor, 0.9, true, plotter.XYs{{X: p.X.Min, Y: y}, {X: p.X.Max, Y: y}})
	return p
}

func (r *Run) costPlots() (plots []*plot.Plot) {
	tried := r.tried
	if len(tried) == 0 {
		return nil
	}
	for _, u := range r.curves() {
		p := newPlot(u.name + " by threshold")
		p.X.Label.Text, p.Y.Label.Text = "threshold", u.name
		p.X.Min, p.X.Max = verdict.Rarity(tried[0].Threshold), verdict.Rarity(max(tried[len(tried)-1].Threshold, r.info.Threshold))
		p.X.Tick.Marker = marks(scoreTicks()[1:])
		p.Y.Min = 0
		var axis []tick
		p.Y.Max, axis = u.axis(tried)
		p.Y.Tick.Marker = marks(axis)
		for _, points := range steps(tried, u.of) {
			stroke(p, readingColor, 1.4, false, points)
		}
		x := verdict.Rarity(r.info.Threshold)
		stroke(p, thresholdColor, 0.9, true, plotter.XYs{{X: x, Y: 0}, {X: x, Y: p.Y.Max}})
		plots = append(plots, p)
	}
	return plots
}

// steps are the lines of a cost: between two thresholds nothing was tried, so it stays what it is at the lower one. Where
// there is none the line is broken.
func steps(tried []Cost, of func(*Cost) float64) (lines []plotter.XYs) {
	var line plotter.XYs
	end := func() {
		if len(line) > 0 {
			lines, line = append(lines, line), nil
		}
	}
	for k := range tried {
		x, v := verdict.Rarity(tried[k].Threshold), of(&tried[k])
		if math.IsNaN(v) {
			end()
			continue
		}
		if n := len(line); n > 0 {
			line = append(line, plotter.XY{X: x, Y: line[n-1].Y})
		}
		line = append(line, plotter.XY{X: x, Y: v})
	}
	end()
	return lines
}

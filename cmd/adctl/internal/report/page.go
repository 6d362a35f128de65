// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubeedge/edge-anomaly/admethod/replay"
)

//go:embed page.html
var pageText string

// The template escapes every text for where it stands, those within SVG included.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"px": func(v float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") },
}).Parse(pageText))

// What a report shows at most.
const (
	mostMembers  = 24
	mostListed   = 100
	mostCloseups = 8
)

type page struct {
	Info
	From, To, Span string
	Figures        []figure
	Charts         []named
	MoreMembers    int
	Each           string // the span of time of which extremes are shown; "" where all readings are
	Score          *chart
	Closeups       []named
	CostCharts     []named
	CostWords      []string
	CostRows       []costRow
	Alerts         []alertRow
	MoreAlerts     int
	Faults         []faultRow
	Groups         bool
	Forecast       bool
}

type figure struct{ Value, Name, Class string }

type named struct {
	Name, Note string
	Chart      *chart
}

type costRow struct {
	Threshold, PerDay, Alerts, False, Found, Missed, Delay string
	This, Best                                             bool
}

type alertRow struct {
	Begin, End, Kind, Severity, Score, Readings, Blamed, Verdict string
}

type faultRow struct {
	Begin, End, Delay string
	Found             bool
}

// HTML writes the report: one page that needs nothing from anywhere else.
func (r *Run) HTML(w io.Writer) error { return pageTemplate.Execute(w, r.page()) }

func (r *Run) page() *page {
	p := &page{
		Info: r.info, From: stamp(r.first), To: stamp(r.last), Span: duration(r.last.Sub(r.first)), Groups: len(r.bins.readings) > 1,
	}
	p.Figures = r.figures()
	if r.rows == 0 {
		return p
	}
	whole := r.part(r.first, r.last)
	height := 330.0
	if p.Groups {
		height = 170
	}
	order := r.byBlame()
	for _, m := range order[:min(len(order), mostMembers)] {
		p.Charts = append(p.Charts, named{Name: r.memberName(m), Chart: r.readingsChart(whole, m, pageWidth, height, 8)})
	}
	p.MoreMembers = len(r.bins.readings) - len(p.Charts)
	for i := range r.bins.bins[:r.bins.n] {
		b := &r.bins.bins[i]
		p.Forecast = p.Forecast || len(r.bins.readings) == 1 && b.lower.n+b.upper.n+b.expected.n > 0
		if b.rows > 2 {
			p.Each = duration(time.Duration(r.bins.width))
		}
	}
	p.Score = r.scoreChart(whole, pageWidth, 190, 8)
	p.Closeups = r.closeups()
	r.showCosts(p)
	worst := r.worst(mostListed)
	for _, i := range worst {
		p.Alerts = append(p.Alerts, r.alertRow(i))
	}
	p.MoreAlerts = len(r.incidents.Done) - len(worst)
	for i := range r.truth.Faults {
		f := &r.truth.Faults[i]
		row := faultRow{Begin: stamp(f.Begin), End: stamp(f.End), Found: f.Found}
		if f.Found {
			row.Delay = duration(f.Delay)
		}
		if p.Faults = append(p.Faults, row); len(p.Faults) == mostListed {
			break
		}
	}
	return p
}

func (r *Run) figures() []figure {
	figures := []figure{
		{fmt.Sprint(r.rows), "readings", ""}, {fmt.Sprint(r.judged), "judged", ""},
		{fmt.Sprint(len(r.incidents.Done)), "incidents", ""},
		{number(round(float64(len(r.incidents.Done)) / r.days())), "incidents a day", ""},
	}
	if r.rows == 0 || !r.info.Labelled {
		return figures
	}
	found, class := r.truth.Found(), "good"
	if found < len(r.truth.Faults) {
		class = "bad"
	}
	falseClass := "good"
	if r.truth.False() > 0 {
		falseClass = "bad"
	}
	figures = append(figures,
		figure{fmt.Sprintf("%d of %d", found, len(r.truth.Faults)), "faults found", class},
		figure{fmt.Sprint(r.truth.False()), "false alarms", falseClass})
	if found > 0 {
		figures = append(figures, figure{duration(r.truth.Delay()), "median delay", ""})
	}
	return figures
}

// round keeps three digits.
func round(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}

func (r *Run) alertRow(i int) alertRow {
	a := &r.incidents.Done[i]
	row := alertRow{
		Begin: stamp(a.Start), End: stamp(a.End), Kind: string(a.Kind), Severity: a.Severity.String(), Score: "–",
		Readings: fmt.Sprint(a.Readings), Blamed: r.blame(i),
	}
	if !math.IsNaN(a.Score) {
		row.Score = fmt.Sprintf("%.4f", a.Score)
	}
	if r.info.Labelled {
		row.Verdict = "false alarm"
		if slices.ContainsFunc(r.truth.Faults, func(f replay.Fault) bool { return overlap(a, &f) }) {
			row.Verdict = "right"
		}
	}
	return row
}

func overlap(a *replay.Incident, f *replay.Fault) bool {
	return !a.Start.After(f.End) && !a.End.Before(f.Begin)
}

// closeups show the worst alerts and what was missed, at a larger scale.
func (r *Run) closeups() (shown []named) {
	var parts []*part
	member := func(name string) int { return max(slices.Index(r.info.Members, name), 0) }
	add := func(name, note string, m int, from, to time.Time) {
		const context = 40 // readings before and after, at least
		pad := max(to.Sub(from), context*time.Duration(r.bins.spacing())*time.Duration(r.bins.width))
		p := r.part(from.Add(-pad), to.Add(pad))
		seen := slices.ContainsFunc(parts, func(o *part) bool { return o.from <= r.bins.index(from) && o.to > r.bins.index(to) })
		if p.to-p.from < r.bins.n*3/4 && (!seen || m > 0) { // else it is no larger, or there already
			parts = append(parts, p)
			shown = append(shown, named{Name: name, Note: note, Chart: r.readingsChart(p, m, pageWidth/2-12, 200, 4)})
		}
	}
	missed := 0
	for i := range r.truth.Faults {
		if f := &r.truth.Faults[i]; !f.Found && missed < mostCloseups/2 {
			missed++
			add("missed", stamp(f.Begin), 0, f.Begin, f.End)
		}
	}
	for _, i := range r.worst(mostCloseups - missed) {
		a, note := &r.incidents.Done[i], ""
		if b := r.blame(i); b != "" {
			note = b + ", "
		}
		add(string(a.Kind), note+stamp(a.Start), member(r.blame(i)), a.Start, a.End)
	}
	return shown
}

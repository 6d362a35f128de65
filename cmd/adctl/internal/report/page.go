// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	operators "github.com/kubeedge/edge-anomaly/admethod/page"
	"github.com/kubeedge/edge-anomaly/admethod/replay"
)

//go:embed page.html
var pageText string

//go:embed report.js
var script string

// The template escapes every text for where it stands.
var pageTemplate = template.Must(template.New("page").Parse(pageText))

// drawing is what draws the charts: the code of the page for operators, and what puts it to work.
type drawing struct {
	Library, Script template.JS
	Style           template.CSS
	Policy          string // lets these scripts run, and no other
}

var drawn = sync.OnceValue(func() drawing {
	var text [3]string
	for i, name := range [...]string{"uplot.js", "chart.js", "uplot.css"} {
		data, err := operators.Asset(name)
		if err != nil {
			panic(err) // it is embedded
		}
		text[i] = string(data)
	}
	text[1] += script
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return drawing{
		template.JS(text[0]), template.JS(text[1]), template.CSS(text[2]), //nolint:gosec // they are our own
		"default-src 'none'; style-src 'unsafe-inline'; script-src " + hash(text[0]) + " " + hash(text[1]),
	}
})

// What a report shows at most.
const (
	mostMembers  = 24
	mostListed   = 100
	mostCloseups = 8
)

type page struct {
	Info
	drawing
	AllCharts      []*chart // those below point into it
	From, To, Span string
	Per            string // what rates are told of
	Figures        []figure
	Charts         []named
	MoreMembers    int
	Each           string // the span of time of which extremes are shown; "" where all readings are
	Score          named
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
	Chart      int // its number among all
	Title      string
	Height     int
}

// add keeps a chart.
func (p *page) add(name, note string, c *chart) named {
	p.AllCharts = append(p.AllCharts, c)
	return named{name, note, len(p.AllCharts) - 1, c.Title, c.Height}
}

type costRow struct {
	Threshold, PerDay, Alerts, False, Found, Missed, Delay string
	This, Best                                             bool
}

type alertRow struct {
	Begin, End, Kind, Severity, Score, Readings, Blamed, Verdict, Why string
}

type faultRow struct {
	Begin, End, Delay string
	Found             bool
}

// HTML writes the report: one page that needs nothing from anywhere else.
func (r *Run) HTML(w io.Writer) error { return pageTemplate.Execute(w, r.page()) }

func (r *Run) page() *page {
	p := &page{
		drawing: drawn(), AllCharts: []*chart{},
		Info: r.info, From: r.clock.stamp(r.first), To: r.clock.stamp(r.last), Span: r.span(), Groups: len(r.bins.readings) > 1,
	}
	p.Figures = r.figures()
	p.Per, _ = r.per()
	if r.rows == 0 {
		return p
	}
	whole := r.part(r.first, r.last)
	height, columns := 330, mostColumns
	if p.Groups {
		height, columns = 170, groupColumns
	}
	order := r.byBlame()
	for _, m := range order[:min(len(order), mostMembers)] {
		c := r.readingsChart(whole, m, height, columns)
		c.Whole = true
		p.Charts = append(p.Charts, p.add(r.memberName(m), "", c))
	}
	p.MoreMembers = len(r.bins.readings) - len(p.Charts)
	for i := range r.bins.bins[:r.bins.n] {
		b := &r.bins.bins[i]
		p.Forecast = p.Forecast || len(r.bins.readings) == 1 && b.lower.n+b.upper.n+b.expected.n > 0
		if b.rows > 2 {
			p.Each = duration(time.Duration(r.bins.width))
		}
	}
	scores := r.scoreChart(whole, 190, columns)
	scores.Whole = true
	p.Score = p.add("", "", scores)
	p.Closeups = r.closeups(p)
	r.showCosts(p)
	worst := r.worst(mostListed)
	for _, i := range worst {
		p.Alerts = append(p.Alerts, r.alertRow(i))
	}
	p.MoreAlerts = len(r.incidents.Done) - len(worst)
	for i := range r.truth.Faults {
		f := &r.truth.Faults[i]
		row := faultRow{Begin: r.clock.stamp(f.Begin), End: r.clock.stamp(f.End), Found: f.Found}
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
	per, much := r.per()
	figures := []figure{
		{fmt.Sprint(r.rows), "readings", ""}, {fmt.Sprint(r.judged), "judged", ""},
		{fmt.Sprint(len(r.incidents.Done)), "incidents", ""},
		{number(round(float64(len(r.incidents.Done)) / much)), "incidents " + per, ""},
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
		Begin: r.clock.stamp(a.Start), End: r.clock.stamp(a.End), Kind: string(a.Kind), Severity: a.Severity.String(), Score: "–",
		Readings: fmt.Sprint(a.Readings), Blamed: r.blame(i), Why: r.why[a.ID],
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
func (r *Run) closeups(on *page) (shown []named) {
	var parts []*part
	member := func(name string) int { return max(slices.Index(r.info.Members, name), 0) }
	add := func(name, note string, m int, from, to time.Time) {
		const context = 40 // readings before and after, at least
		pad := max(to.Sub(from), context*time.Duration(r.bins.spacing())*time.Duration(r.bins.width))
		p := r.part(from.Add(-pad), to.Add(pad))
		seen := slices.ContainsFunc(parts, func(o *part) bool { return o.from <= r.bins.index(from) && o.to > r.bins.index(to) })
		if p.to-p.from < r.bins.n*3/4 && (!seen || m > 0) { // else it is no larger, or there already
			parts = append(parts, p)
			shown = append(shown, on.add(name, note, r.readingsChart(p, m, 200, partColumns)))
		}
	}
	missed := 0
	for i := range r.truth.Faults {
		if f := &r.truth.Faults[i]; !f.Found && missed < mostCloseups/2 {
			missed++
			add("missed", r.clock.stamp(f.Begin), 0, f.Begin, f.End)
		}
	}
	for _, i := range r.worst(mostCloseups - missed) {
		a, note := &r.incidents.Done[i], ""
		if b := r.blame(i); b != "" {
			note = b + ", "
		}
		add(string(a.Kind), note+r.clock.stamp(a.Start), member(r.blame(i)), a.Start, a.End)
	}
	return shown
}

// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"image/png"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/kubeedge/edge-anomaly/driver"
)

var start = time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)

// reading is one a minute; a score from 0.95 on is a warning.
func reading(i int, value, score float64, label bool) *Row {
	r := &Row{
		At: start.Add(time.Duration(i) * time.Minute), Values: []Value{{Number: value}}, Score: score, Severity: driver.Normal,
		Expected: 10, Lower: 8, Upper: 12, Label: label,
	}
	if score >= 0.95 {
		r.Severity, r.Kind = driver.Warning, driver.KindSpike
	}
	return r
}

// in makes a row part of the incident that began with the given one.
func in(r *Row, first int) *Row {
	r.Incident = driver.Incident{
		ID: uint64(first), Phase: driver.Lasts, Start: start.Add(time.Duration(first) * time.Minute),
		Severity: r.Severity, Score: r.Score, Kind: r.Kind,
	}
	return r
}

func single(labelled bool) *Run {
	return New(Info{Input: "week.csv", Detector: "auto", Threshold: 0.95, Members: []string{"value"}, Labelled: labelled})
}

// week has two faults, of which one is found, and a false alarm.
func week() *Run {
	r := single(true)
	for i := range 2000 {
		value, score, label := 10+math.Sin(float64(i)/100), 0.1, false
		switch {
		case i >= 500 && i < 520:
			value, label = 14, true
			if i >= 505 {
				score = 0.999
			}
		case i >= 1000 && i < 1050:
			label = true
		case i == 1500:
			score = 0.96
		}
		row := reading(i, value, score, label)
		switch {
		case i >= 505 && i < 520:
			in(row, 505)
		case i == 1500:
			in(row, 1500)
		}
		r.Add(row)
	}
	r.Tried([]Cost{{Threshold: 0.9, Alerts: 5, False: 3, Found: 2}, {Threshold: 0.99, Alerts: 1, Found: 1}}, false)
	return r
}

func rendered(t testing.TB, r *Run) (page string, root *html.Node) {
	t.Helper()
	var b bytes.Buffer
	if err := r.HTML(&b); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), root
}

// elements are the names and classes of all elements, in order.
func elements(root *html.Node) (all []string) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n.Data+"."+attribute(n, "class"))
		}
	}
	return all
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func texts(root *html.Node) string {
	var b strings.Builder
	for n := range root.Descendants() {
		if n.Type == html.TextNode {
			b.WriteString(strings.Join(strings.Fields(n.Data), " ") + "\n")
		}
	}
	return b.String()
}

// charts are what the page draws.
func charts(t testing.TB, root *html.Node) (all []chart) {
	t.Helper()
	for n := range root.Descendants() {
		if attribute(n, "id") == "charts" {
			if err := json.Unmarshal([]byte(n.FirstChild.Data), &all); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

// count is how many spans of a class the charts of a kind have.
func count(all []chart, class string) (n int) {
	for i := range all {
		for _, s := range all[i].Spans {
			if all[i].Kind == "readings" && s.Class == class {
				n++
			}
		}
	}
	return n
}

// withoutScripts is the page but for its code, which is the same in each, and its style.
func withoutScripts(page string) string {
	return regexp.MustCompile(`(?s)<script.*?</script>|<style.*?</style>`).ReplaceAllString(page, "")
}

func TestPageShowsWhatWasFound(t *testing.T) {
	page, root := rendered(t, week())
	all, text := charts(t, root), texts(root)
	// Two faults and two alerts in the whole chart; close-ups of what was missed, found and false have one each.
	if n := count(all, "truth"); n != 4 {
		t.Errorf("%d labels are drawn, want 4", n)
	}
	if n := count(all, "warning"); n != 4 {
		t.Errorf("%d alerts are drawn, want 4", n)
	}
	places := 0
	for _, e := range elements(root) {
		if e == "div.chart" {
			places++
		}
	}
	kinds := make(map[string]int)
	for i := range all {
		c := &all[i]
		kinds[c.Kind]++
		for _, column := range c.Columns {
			if c.Bins != nil && len(column) != len(c.Bins) || len(column) == 0 {
				t.Errorf("%s has %d numbers at %d places", c.Title, len(column), len(c.Bins))
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"readings": 4, "score": 1, "cost": 3}, kinds); diff != "" || places != len(all) {
		t.Errorf("%d places for %d charts: %s", places, len(all), diff)
	}
	for _, want := range []string{"Backtest of week.csv", "1 of 2", "false alarm", "Faults missed", "missed", "5 min 00 s", "this run"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, never := range []string{"NaN", "Inf", "http:", "https:", "url(", "@import", "-0<", "<svg"} {
		if strings.Contains(withoutScripts(page), never) {
			t.Errorf("the page has %q", never)
		}
	}
	for _, never := range []string{"src=", "import(", "fetch(", "XMLHttpRequest"} {
		if strings.Contains(page, never) {
			t.Errorf("the page asks others: %q", never)
		}
	}
}

// The page lets its own scripts run, by their checksums, and no other.
func TestPolicy(t *testing.T) {
	_, root := rendered(t, week())
	policy, hashes := "", 0
	for n := range root.Descendants() {
		if attribute(n, "http-equiv") == "Content-Security-Policy" {
			policy = attribute(n, "content")
		}
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "script" && attribute(n, "type") != "application/json" {
			sum := sha256.Sum256([]byte(n.FirstChild.Data))
			if hashes++; !strings.Contains(policy, base64.StdEncoding.EncodeToString(sum[:])) {
				t.Errorf("a script of %d bytes may not run by %s", len(n.FirstChild.Data), policy)
			}
		}
	}
	if _, scripts, _ := strings.Cut(policy, "script-src"); hashes != 2 || strings.Contains(scripts, "unsafe") {
		t.Errorf("%d scripts by %s", hashes, policy)
	}
}

func TestPageWithoutLabels(t *testing.T) {
	r := single(false)
	for i := range 100 {
		r.Add(reading(i, 10, 0.5, false))
	}
	r.Tried([]Cost{{Threshold: 0.5, Alerts: 1}}, false)
	_, root := rendered(t, r)
	text := texts(root)
	for _, want := range []string{"Incidents a day", "no label of a fault", "None."} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Faults missed") {
		t.Error("faults are missed, of which there are none")
	}
}

func TestPageOfAGroupBlames(t *testing.T) {
	r := New(Info{Input: "room.csv", Detector: "bayesnet", Threshold: 0.95, Members: []string{"lamp", "lux"}})
	nan := math.NaN()
	for i := range 300 {
		row := reading(i, nan, 0.2, false)
		row.Values = []Value{{Number: nan, Text: [...]string{"OFF", "ON"}[i/50%2]}, {Number: float64(i / 50 % 2)}}
		row.Expected, row.Lower, row.Upper = nan, nan, nan
		if i >= 200 && i < 220 {
			row.Score, row.Severity, row.Kind, row.Blamed = 1, driver.Critical, driver.KindCorrelation, []string{"lux"}
			in(row, 200)
		}
		r.Add(row)
	}
	_, root := rendered(t, r)
	text := texts(root)
	for _, want := range []string{"ON", "OFF", "Blamed most", "lux, 2026-03-01 03:20:00"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	// The alert is in the chart of lux alone, and in its close-up.
	if n := count(charts(t, root), "critical"); n != 2 {
		t.Errorf("%d alerts are drawn, want 2", n)
	}
}

func TestPageOfNothing(t *testing.T) {
	_, root := rendered(t, single(true))
	if text := texts(root); !strings.Contains(text, "no reading") {
		t.Error(text)
	}
	if err := single(true).PNG(new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}

// FuzzPage: whatever names and labels are, they are text and no part of the page.
func FuzzPage(f *testing.F) {
	for _, name := range []string{
		`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</text></svg><b>`, `{{.}}`, "a\x00b", "<!--", `' style='`, `]]>`, "", "ü\xff",
	} {
		f.Add(name)
	}
	draw := func(t testing.TB, name string) *html.Node {
		r := New(Info{Input: name, Detector: name, Model: "m" + name, Threshold: 0.95, Settings: []string{name}, Members: []string{name, "b" + name}, Labelled: true})
		for i := range 60 {
			row := reading(i, 0, 0.1, false)
			row.Values = []Value{{Number: math.NaN(), Text: "t" + name}, {Number: float64(i)}}
			if i > 50 {
				row.Score, row.Severity, row.Kind, row.Blamed, row.Label = 1, driver.Critical, driver.Kind("k"+name), []string{"b" + name}, true
				in(row, 51)
			}
			r.Add(row)
		}
		_, root := rendered(t, r)
		return root
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 1000 {
			return
		}
		if diff := cmp.Diff(elements(draw(t, "plain")), elements(draw(t, name))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", name, diff)
		}
	})
}

func TestPNG(t *testing.T) {
	var b bytes.Buffer
	if err := week().PNG(&b); err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint32]bool)
	for y := range picture.Bounds().Dy() {
		for x := range picture.Bounds().Dx() {
			r, g, b, _ := picture.At(x, y).RGBA()
			seen[r>>8<<16|g>>8<<8|b>>8] = true
		}
	}
	for what, c := range map[string]uint32{"readings": 0x0063a8, "alerts": 0xd99000, "labels": 0x9b3f86} {
		if !seen[c] {
			t.Errorf("no pixel has the colour of %s", what)
		}
	}
}

// However long the recording, what is kept is bounded, and a single extreme reading is in it.
func TestBinsKeepExtremes(t *testing.T) {
	r := single(false)
	const n = 100_000
	for i := range n {
		v, score := 10+math.Sin(float64(i)/1000), 0.1
		switch i {
		case 23_456:
			v = 99
		case 60_001:
			v, score = -50, 0.9999
		}
		r.Add(reading(i, v, score, false))
	}
	if r.bins.n > maxBins || r.bins.n < maxBins/3 {
		t.Errorf("%d bins", r.bins.n)
	}
	var e extent
	rows, worst := 0, 0.0
	for i := range r.bins.n {
		e.join(r.bins.readings[0][i])
		rows += r.bins.bins[i].rows
		worst = max(worst, r.bins.bins[i].score)
	}
	if e.lo != -50 || e.hi != 99 || rows != n || worst != 0.9999 {
		t.Errorf("extent %+v, %d rows, worst score %v", e, rows, worst)
	}
	at := start.Add(23_456 * time.Minute)
	if got := r.bins.readings[0][r.bins.index(at)]; got.hi != 99 {
		t.Errorf("the spike is not where it was: %+v", got)
	}
	page, root := rendered(t, r)
	if len(page) > 1<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	// Both extremes are in the chart of the whole.
	whole := charts(t, root)[0]
	if least, greatest := slices.Min(whole.Columns[1]), slices.Max(whole.Columns[0]); least != -50 || greatest != 99 {
		t.Errorf("the chart is of %v to %v", least, greatest)
	}
}

func TestBinsTakeTimesInAnyOrder(t *testing.T) {
	r := single(false)
	for _, at := range []time.Time{start, time.Unix(0, math.MaxInt64), start.Add(-time.Hour), time.Unix(0, math.MinInt64), start, time.Unix(0, 0)} {
		row := reading(0, 1, 0.5, false)
		row.At = at
		r.Add(row)
	}
	rendered(t, r)
	for _, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.NaN(), 0, 5e-324} {
		r.Add(reading(1, v, 0.5, false))
	}
	if page, _ := rendered(t, r); strings.Contains(withoutScripts(page), "NaN") || strings.Contains(withoutScripts(page), "Inf") {
		t.Error("numbers that are none")
	}
	if err := r.PNG(new(bytes.Buffer)); err != nil {
		t.Error(err)
	}
}

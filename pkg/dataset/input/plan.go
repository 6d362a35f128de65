// Copyright The edge-anomaly Authors.
// SPDX-License-Identifier: Apache-2.0

package input

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/kubeedge/edge-anomaly/pkg/dataset"
)

// Column is a column of readings.
type Column struct {
	Name string
	Text bool   // its readings are texts
	Unit string // that stands behind its numbers; "" for none

	at     int
	style  style
	scales map[string]float64 // of units that differ by a prefix; nil where one is
	doubt  bool               // which style it is cannot be told
	code   float64            // that stands for no reading; NaN for none known

	read      int // numbers so far, and the range that they are in
	low, high float64
}

// plan is what is known of the columns.
type plan struct {
	time     int
	timeOf   int // second column of the time, -1 for none
	clock    *clock
	columns  []Column
	series   []int // columns that tell series apart
	label    int   // -1 for none
	parts    []int // columns of year, month, day and so on that are the time; nil for none
	quality  int   // column that says which readings are good, -1 for none
	aside    []int // columns that would say it, and do not
	textual  int   // column with the text of a reading where its value is empty, -1 for none
	negative bool  // labels are −1 for what is anomalous

	states map[string]bool // series that were met, and whether they are of texts in a column of numbers
}

// Usual names, in order of precedence.
var (
	timeNames = []string{
		"timestamp", "time", "datetime", "date_time", "_time", "ts", "last_changed", "last_updated", "date", "zeitstempel", "zeit", "datum",
		"event_time", "created_at", "recorded_at", "timestring", "sourcetimestamp", "horodatage", "fecha", "时间", "时间戳",
	}
	clockNames  = []string{"time", "zeit", "uhrzeit", "hour", "heure", "hora", "clock"}
	valueNames  = []string{"value", "_value", "state", "wert", "reading", "valeur", "valor", "varvalue", "payload", "数值"}
	seriesNames = []string{
		"namespace", "device", "property", "entity_id", "entity", "statistic_id", "tag", "tagname", "tag_name", "point", "point_id", "pointname",
		"sensor", "sensor_id", "sensorname", "device_id", "deviceid", "device_name", "name", "metric", "variable", "signal", "series", "topic",
		"channel", "_measurement", "_field", "host", "machine", "varname", "nodeid", "itemid", "item", "entity name", "entityname", "entity_name", "tag name",
		"point name", "channel name", "device name", "sensor name", "station", "station_id", "location", "asset", "equipment", "meter", "meter_id", "node",
		"parameter", "messstelle", "messstelle_id", "kanal", "file",
	}
	ignored = []string{"result", "table", "_start", "_stop"} // of InfluxDB
)

// Reserved reports whether a column of that name, in capitals or not, is taken for something else than readings: the time,
// labels, or what tells series apart. Tables that are to be read again name their columns otherwise.
func Reserved(column string) bool {
	column = strings.TrimSpace(column)
	if dataset.Truth(column) {
		return true
	}
	for _, names := range [][]string{timeNames, clockNames, seriesNames, ignored} {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, column) }) {
			return true
		}
	}
	return false
}

// mostly is the share of the readings of a column that are numbers from which it is one of numbers.
const mostly = 0.5

// newPlan finds the columns from a header, nil where there is none, and some rows. keys are the columns that the format
// itself tells series apart by.
func newPlan(header []string, rows [][]string, separator byte, keys []string, o *Options, note func(format string, args ...any)) (*plan, error) {
	width := len(header)
	for _, row := range rows {
		width = max(width, len(row))
	}
	if width < 2 {
		return nil, fmt.Errorf("got %d columns, want at least two, a time and a reading, separated by comma, semicolon, tab or bar; --time-column none counts the rows of readings alone", width)
	}
	names := distinct(header, width)
	nameless := func(column int) bool { return column >= len(header) || header[column] == "" }
	p := &plan{timeOf: -1, label: -1, textual: -1, quality: -1}
	cells := func(column int) []string { return cellsOf(rows, column) }
	if err := p.findTime(names, header != nil, cells, o); err != nil {
		return nil, err
	}
	switch p.clock.counts {
	case Rows:
		if header == nil {
			note("no column is a time: the rows are counted by the first one; where seconds are said, rows are meant")
			break
		}
		note("no column is a time: the rows are counted by column %q; where seconds are said, rows are meant", names[p.time])
	case Seconds:
		note("column %q holds small numbers: they are taken as %s from a start that the file does not tell", names[p.time], p.clock.unitName())
	}
	p.findLabel(names, cells)
	p.findQuality(names, cells, o, note)
	if err := p.findSeries(names, header != nil, cells, keys, o); err != nil {
		return nil, err
	}
	if o.Series == nil && header != nil && o.Columns == nil && !o.Texts {
		p.findKeys(names, rows, note)
	}
	if err := p.findReadings(names, header, cells, separator, o, note); err != nil {
		return nil, err
	}
	if o.Value == "" && o.Columns == nil {
		p.columns = slices.DeleteFunc(p.columns, func(c Column) bool { // what a delimiter at the end of each line makes
			hollow := nameless(c.at) && len(cells(c.at)) == 0 && len(p.columns) > 1
			if hollow {
				note("column %d has no name and no reading: left out", c.at+1)
			}
			return hollow
		})
	}
	p.findStates(rows, note)
	return p, nil
}

// distinct are the names of columns: those without a name, and those of readings that share it with one before, are named
// by their place.
func distinct(header []string, width int) []string {
	names := slices.Clone(header)
	for i := range width {
		switch {
		case i >= len(names):
			names = append(names, fmt.Sprintf("column %d", i+1))
		case names[i] == "":
			names[i] = fmt.Sprintf("column %d", i+1)
		case slices.Contains(names[:i], names[i]) && !Reserved(names[i]):
			names[i] = fmt.Sprintf("%s (column %d)", names[i], i+1)
		}
	}
	if header == nil {
		names[0] = "timestamp"
		if width == 2 {
			names[1] = "value"
		}
	}
	return names
}

// cellsOf are the cells of a column that hold something.
func cellsOf(rows [][]string, column int) (cells []string) {
	for _, row := range rows {
		if column < len(row) {
			if c := strings.TrimSpace(row[column]); c != "" {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

func index(names []string, name string) int {
	return slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), name) })
}

func (p *plan) findLabel(names []string, cells func(int) []string) {
	for _, name := range [...]string{"anomaly", "is_anomaly", "label", "outlier", "is_outlier", "ground_truth", "gt", "anomalie", "anomalia", "anomalía", "is_fault", "attack", "normal/attack", "异常", "标签"} {
		i := index(names, name)
		if i < 0 || i == p.time {
			continue
		}
		labels := cells(i)
		if !truth(labels) {
			continue
		}
		p.label, p.negative = i, slices.ContainsFunc(labels, func(l string) bool { v, ok := plainNumber(l); return ok && v == -1 })
		return
	}
}

// truth reports whether cells may label rows: numbers that are measured do not.
func truth(labels []string) bool {
	for _, l := range labels {
		if absent(l) || slices.Contains(numericLabels[:], l) {
			continue
		}
		if _, is := plainNumber(l); is {
			return false
		}
	}
	return true
}

var numericLabels = [...]string{"0", "1", "-1", "+1", "0.0", "1.0", "-1.0", "2", "3"} // 2 and 3 are classes of faults

// anomalous is the meaning of a label.
func (p *plan) anomalous(label string) bool {
	if p.negative {
		v, ok := plainNumber(strings.TrimSpace(label))
		return ok && v < 0
	}
	return dataset.Anomalous(label)
}

func (p *plan) taken(i int) bool {
	return i == p.time || i == p.timeOf || i == p.label || i == p.quality || slices.Contains(p.aside, i) || slices.Contains(p.parts, i) || slices.Contains(p.series, i)
}

// mostUnits is how many units a column of numbers may have: identifiers begin with digits too.
const mostUnits = 16

// numbers is the share of cells that are numbers, among those that hold a reading.
func numbers(cells []string, s style) float64 {
	all, n := 0, 0
	var units []string
	for _, c := range cells {
		if absent(c) {
			continue
		}
		all++
		if _, unit, ok := s.parse(c); ok {
			n++
			if len(units) <= mostUnits && !slices.Contains(units, unit) {
				units = append(units, unit)
			}
		}
	}
	if all == 0 || len(units) > mostUnits {
		return 0
	}
	return float64(n) / float64(all)
}

func (p *plan) findReadings(names, header []string, cells func(int) []string, separator byte, o *Options, note func(string, ...any)) error {
	wanted := o.Columns
	if o.Value != "" {
		wanted = []string{o.Value}
	}
	if o.Optional && o.Value == "" {
		wanted = slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return !slices.Contains(names, name) })
		if len(wanted) == 0 {
			return fmt.Errorf("want %q, none of which is among the columns %q", o.Columns, names)
		}
	}
	for _, name := range wanted {
		i := slices.Index(names, name)
		switch {
		case i < 0 || header == nil:
			return fmt.Errorf("no column %q among %q", name, names)
		case i == p.time || i == p.timeOf:
			return fmt.Errorf("column %q is the time", name)
		case slices.Contains(names[i+1:], name):
			return fmt.Errorf("column %q is there twice", name)
		}
	}
	if len(p.series) > 0 && wanted == nil { // a long file: one reading a row, whatever columns it has beside
		for _, usual := range valueNames {
			if i := index(names, usual); i >= 0 && !p.taken(i) {
				wanted = []string{names[i]}
				break
			}
		}
	}
	marks, err := p.marksOf(names, cells, separator, o)
	if err != nil {
		return err
	}
	var texts []Column
	for i, name := range names {
		if wanted != nil && !slices.Contains(wanted, name) || wanted == nil && (p.taken(i) || dataset.Truth(name) && (i == p.label || truth(cells(i))) || slices.Contains(ignored, name)) {
			continue
		}
		all := cells(i)
		c := Column{Name: name, at: i}
		c.style, c.doubt = marks.style(all)
		if c.code = codeOf(all, c.style); !math.IsNaN(c.code) {
			note("column %q: %v is far from all other readings and comes again and again: it counts as none", name, c.code)
		}
		switch {
		case wanted == nil && i < len(header) && counts(header[i], all):
			continue
		case len(all) == 0 || numbers(all, c.style) >= mostly || !slices.ContainsFunc(all, func(c string) bool { return !absent(c) }):
			units := unitsIn(all, c.style)
			c.Unit = units[0]
			if base, scales := scalesOf(units); len(units) > 1 && scales != nil {
				c.Unit, c.scales = base, scales
				note("column %q has numbers with different units (%s): they are taken in %s", name, examples(units), base)
			} else if len(units) > 1 && len(p.series) == 0 {
				note("column %q has numbers with different units (%s): they are taken as they stand", name, examples(units))
			}
			if c.doubt {
				note("%s", doubted(&c, all))
			}
			p.columns = append(p.columns, c)
		default:
			c.Text = true
			texts = append(texts, c)
		}
	}
	if o.Texts || wanted != nil || len(p.columns) == 0 {
		p.columns = append(p.columns, texts...)
		slices.SortFunc(p.columns, func(a, b Column) int { return a.at - b.at })
	}
	for _, c := range texts {
		what := "left out"
		if slices.ContainsFunc(p.columns, func(o Column) bool { return o.at == c.at }) {
			what = "its readings are states"
		}
		note("column %q is of texts (%s): %s", c.Name, examples(cells(c.at)), what)
	}
	if wanted != nil && o.Columns != nil { // in the order that was asked for
		slices.SortFunc(p.columns, func(a, b Column) int { return slices.Index(wanted, a.Name) - slices.Index(wanted, b.Name) })
	}
	if len(p.columns) == 0 {
		return fmt.Errorf("no column of readings beside the time among %q", names)
	}
	if i := index(names, "text"); i >= 0 && len(p.series) > 0 && len(p.columns) == 1 && strings.EqualFold(p.columns[0].Name, "value") {
		p.textual = i
		if p.columns[0].Text = len(cells(p.columns[0].at)) == 0; p.columns[0].Text {
			note("column \"value\" is empty: the readings are the texts of column \"text\" (%s)", examples(cells(i)))
		}
	}
	return nil
}

// counts reports whether a column only numbers the rows, as data frames write their index.
func counts(name string, cells []string) bool {
	if !slices.Contains(numberNames, strings.ToLower(name)) || len(cells) == 0 {
		return false
	}
	start, ok := plainNumber(cells[0])
	for i, c := range cells {
		if v, is := plainNumber(c); !is || v != start+float64(i) {
			return false
		}
	}
	return ok
}

// examples are up to three different cells.
func examples(cells []string) string {
	var seen []string
	for _, c := range cells {
		if q := fmt.Sprintf("%q", clip(c)); !slices.Contains(seen, q) {
			if seen = append(seen, q); len(seen) == 3 {
				break
			}
		}
	}
	return strings.Join(seen, ", ")
}
